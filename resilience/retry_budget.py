"""How many retries a service bears, over all callers: an outage must not become a storm (§4)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from resilience.clock import Clock, SystemClock
from resilience.policies import RetryBudget
from resilience.sliding_window import Tally


class Budget:
    """A bucket of tokens that all callers of a service share; see ``RetryBudget`` for what fills it.

    Args:
        calls: tells how many first calls there were, where somebody counts them already; else ``called`` counts.
    """

    def __init__(self, policy: RetryBudget, *, clock: Clock | None = None, calls: Callable[[], int] | None = None) -> None:
        self.policy = policy.sound()
        self._now_s = (clock or SystemClock()).monotonic
        self._tally = Tally()
        self.called = self._tally.tick
        self._calls = calls or (lambda: self._tally.value)
        self._lock = threading.Lock()
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
            return True

    def configure(self, policy: RetryBudget) -> None:
        """Takes another policy; what is in the bucket stays, as far as it fits."""
        self.policy = policy.sound()
