"""A second call beside one that is slow."""

from __future__ import annotations

import asyncio

from resilience.executor import Resilience
from resilience.testing import FakeClock
from tests.resilience.calls import REFUSED, finish, slow


def test_a_second_call_helps_out_a_slow_one(resilience: Resilience, clock: FakeClock) -> None:
    began, ask = slow(clock, 100, 1)

    async def scene() -> float:
        task = asyncio.create_task(resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())
        await clock.run(7)
        assert await task == "answer"
        return clock.monotonic()

    asyncio.run(scene())
    assert began == [0, 5]
    assert resilience.bulkheads.get_all_metrics()["gpt-5.2"]["running"] == 0


def test_a_quick_call_is_not_made_twice(resilience: Resilience, clock: FakeClock) -> None:
    began, ask = slow(clock, 1)
    assert asyncio.run(finish(clock, resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())) == "answer"
    assert began == [0]


def test_if_the_second_fails_the_first_may_still_answer(resilience: Resilience, clock: FakeClock) -> None:
    calls = 0

    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise REFUSED
        await clock.asleep(10)
        return "answer"

    assert asyncio.run(finish(clock, resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())) == "answer"
    assert calls == 2
