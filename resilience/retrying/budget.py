"""How many retries a service bears, over all callers: an outage must not become a storm (§4)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from resilience.clock import Clock, SystemClock
from resilience.policies import RetryBudget


class Budget:
    """A bucket of tokens that all callers of a service share; see ``RetryBudget`` for what fills it.

    Args:
        tries: tells how many calls there were, retries too.
    """

    def __init__(self, policy: RetryBudget, tries: Callable[[], int], *, clock: Clock | None = None) -> None:
        self.policy = policy.sound()
        self._now_s = (clock or SystemClock()).monotonic
        self._tries = tries
        self._lock = threading.RLock()  # a coroutine that the garbage collector ends may give back while its thread is in here
        self._taken = 0
        self._tokens, self._seen, self._filled_s = policy.burst, tries(), self._now_s()

    def take(self) -> bool:
        """Whether another try may be made; if so, its token is taken."""
        policy = self.policy
        if not policy.enabled:
            return True
        with self._lock:
            now_s = self._now_s()
            # A retry that is under way, or was refused, is taken but not counted.
            first_calls = max(self._tries() - self._taken - self._seen, 0)
            self._tokens += (now_s - self._filled_s) * policy.per_second + first_calls * policy.per_call
            self._tokens = min(self._tokens, policy.burst)
            self._filled_s, self._seen = now_s, self._seen + first_calls
            if self._tokens < 1:
                return False
            self._tokens -= 1
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Gives back a token that was taken for a try that is not made."""
        if self.policy.enabled:
            with self._lock:
                self._tokens = min(self._tokens + 1, self.policy.burst)
                self._taken -= 1

    def configure(self, policy: RetryBudget) -> None:
        """Takes another policy; what is in the bucket stays, as far as it fits."""
        self.policy = policy.sound()
