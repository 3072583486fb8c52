"""How many retries a service bears, over all callers: an outage must not become a storm (§4)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from resilience.circuit.window import Tally
from resilience.clock import Clock, SystemClock
from resilience.policies import RetryBudget


class Budget:
    """A bucket of tokens that all callers of a service share; see ``RetryBudget`` for what fills it.

    Args:
        tries: tells how many calls there were, retries too, where somebody counts them already; else ``called`` counts
            the first ones.
    """

    def __init__(self, policy: RetryBudget, *, clock: Clock | None = None, tries: Callable[[], int] | None = None) -> None:
        self.policy = policy.sound()
        self._now_s = (clock or SystemClock()).monotonic
        self._tally = Tally()
        self.called = self._tally.tick
        self._tries = tries
        self._lock = threading.Lock()
        self._taken = 0
        self._tokens, self._seen, self._filled_s = policy.burst, self._calls(), self._now_s()

    def take(self) -> bool:
        """Whether another try may be made; if so, its token is taken."""
        policy = self.policy
        if not policy.enabled:
            return True
        with self._lock:
            now_s, calls = self._now_s(), self._calls()
            self._tokens += (now_s - self._filled_s) * policy.per_second + (calls - self._seen) * policy.per_call
            self._tokens = min(self._tokens, policy.burst)
            self._filled_s, self._seen = now_s, calls
            if self._tokens < 1:
                return False
            self._tokens -= 1
            self._taken += 1
            return True

    def _calls(self) -> int:
        return self._tally.value if self._tries is None else self._tries() - self._taken

    def configure(self, policy: RetryBudget) -> None:
        """Takes another policy; what is in the bucket stays, as far as it fits."""
        self.policy = policy.sound()
