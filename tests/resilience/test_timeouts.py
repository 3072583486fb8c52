"""Time limits of many calls."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.testing import FakeClock
from resilience.timeouts import TimeLimits


async def limited(limits: TimeLimits, seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
    limit = limits.begin(seconds, limits._clock.monotonic())
    try:
        result = await work()
    except BaseException as error:
        if limit.finish(error):
            raise TimeoutError from error
        raise
    limit.finish(None)
    return result


@settings(deadline=None)  # of a machine that does much else, time says nothing
@given(st.floats(0.01, 1000), st.floats(0.0, 100))
def test_a_limit_ends_not_early_and_hardly_late(seconds: float, begins: float) -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)

    async def scene() -> float:
        clock.advance(begins)
        task = asyncio.create_task(limited(limits, seconds, lambda: clock.asleep(1e9)))
        await clock.run(seconds * 0.999)
        assert not task.done()
        await clock.run(seconds * 0.04)
        with pytest.raises(TimeoutError):
            await task
        return clock.monotonic()

    asyncio.run(scene())


def test_what_is_over_in_time_is_not_touched() -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)

    async def work() -> int:
        await clock.asleep(1)
        return 7

    async def scene() -> None:
        task = asyncio.create_task(limited(limits, 5, work))
        await clock.run(1)
        assert await task == 7
        await clock.run(100)

    asyncio.run(scene())


def test_cancelling_from_outside_stays_cancelling() -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)

    async def scene() -> None:
        task = asyncio.create_task(limited(limits, 5, lambda: clock.asleep(100)))
        await clock.run(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())


def test_cancelling_in_the_same_moment_stays_cancelling() -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)

    async def scene() -> None:
        limit = None
        came_from_limit: list[bool] = []

        async def work() -> None:
            await clock.asleep(100)

        async def run() -> None:
            nonlocal limit
            limit = limits.begin(5, clock.monotonic())
            try:
                await work()
            except asyncio.CancelledError as error:
                came_from_limit.append(limit.finish(error))
                raise

        task = asyncio.create_task(run())
        await clock.run(1)
        assert limit is not None
        limit.expire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert came_from_limit == [False]

    asyncio.run(scene())


def test_limits_nest_and_the_inner_error_is_no_outer_one() -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)

    async def inner() -> str:
        try:
            await limited(limits, 2, lambda: clock.asleep(100))
        except TimeoutError:
            await clock.asleep(1)
        return "caught"

    async def scene() -> None:
        task = asyncio.create_task(limited(limits, 50, inner))
        await clock.run(10)
        assert await task == "caught"

    asyncio.run(scene())


def test_ten_thousand_limits_need_few_timers() -> None:
    clock = FakeClock()
    limits = TimeLimits(clock)
    timers: list[float] = []
    call_later = clock.call_later
    clock.call_later = lambda seconds, *rest: (timers.append(seconds), call_later(seconds, *rest))  # type: ignore[method-assign]

    async def work() -> None:
        await clock.asleep(1)

    async def scene() -> None:
        tasks = [asyncio.create_task(limited(limits, 60, work)) for _ in range(10_000)]
        await clock.run(1)
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert len(timers) == 1


def test_nothing_is_kept_of_a_loop_that_is_gone() -> None:
    limits = TimeLimits()

    async def work() -> None:
        """Over at once."""

    for _ in range(3):
        asyncio.run(limited(limits, 60, work))
    gc.collect()
    assert len(limits._wheels) == 0
