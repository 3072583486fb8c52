"""Services whose calls fail or take their time as they are told, and what was reported of them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from resilience import ErrorContext
from resilience.executor import Resilience
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock

QUICK = RetryConfig(max_retries=2, base_delay=1, jitter=False)
REFUSED = ConnectionRefusedError(111, "refused")


class Backend:
    """A service that gives the outcomes in order, and the last one for ever."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.calls = list(outcomes), 0

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if outcome is not Ellipsis else (args, kwargs)

    async def ask_later(self, *args: Any, **kwargs: Any) -> Any:
        return self.ask(*args, **kwargs)


class Reports(list[tuple[Exception, str, str, int]]):
    """What was reported."""

    def __init__(self, resilience: Callable[[], Resilience]) -> None:
        super().__init__()
        self.resilience = resilience

    def __call__(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        self.append((error, service, operation, retries))
        return self.resilience().classifier.classify(error, {"component": service, "operation": operation})


async def finish(clock: FakeClock, work: Any) -> Any:
    task = asyncio.ensure_future(work)
    for _ in range(1000):
        await clock.run(0.5)
        if task.done():
            break
    return task.result()


def slow(clock: FakeClock, *seconds: float) -> tuple[list[float], Callable[[], Any]]:
    began: list[float] = []

    async def ask() -> str:
        began.append(clock.monotonic())
        await clock.asleep(seconds[min(len(began), len(seconds)) - 1])
        return "answer"

    return began, ask
