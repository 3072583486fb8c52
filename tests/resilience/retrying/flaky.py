"""A call that fails and goes well as it is told, for tests."""

from __future__ import annotations

from typing import Any

from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock

REFUSED = ConnectionRefusedError(111, "refused")
PLAIN = RetryConfig(max_retries=3, base_delay=1, jitter=False)


class Flaky:
    """Gives the outcomes in order, and the last one for ever; counts its calls."""

    def __init__(self, clock: FakeClock, *outcomes: Any) -> None:
        self.clock, self.outcomes, self.calls = clock, list(outcomes), 0
        self.at: list[float] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        self.at.append(self.clock.monotonic())
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if outcome is not Ellipsis else (args, kwargs)

    async def later(self, *args: Any, **kwargs: Any) -> Any:
        return self(*args, **kwargs)
