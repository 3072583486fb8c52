"""A clock that moves when told to, and retries that do not wait."""

from __future__ import annotations

import asyncio

import pytest

from resilience.clock import waits_are_immediate
from resilience.testing import FakeClock, immediate_retries


def test_tasks_that_wait_go_on_in_the_order_of_their_moments() -> None:
    clock, woken = FakeClock(), []

    async def wait(seconds: float) -> None:
        await clock.asleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async def scene() -> None:
        tasks = [asyncio.create_task(wait(seconds)) for seconds in (3, 1, 2)]
        await clock.run(2.5)
        assert woken == [(1, 1.0), (2, 2.0)]
        assert clock.monotonic() == 2.5
        await clock.run(0.5)
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert woken[-1] == (3, 3.0)


def test_a_cancelled_wait_is_forgotten() -> None:
    clock = FakeClock()

    async def scene() -> None:
        task = asyncio.create_task(clock.asleep(1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await clock.run(2)

    asyncio.run(scene())


def test_sleeping_moves_the_clock_and_takes_no_time() -> None:
    clock = FakeClock()
    clock.sleep(3600)
    assert clock.monotonic() == 3600
    with pytest.raises(ValueError, match="0 or more"):
        clock.advance(-1)


def test_who_waited_in_a_loop_that_is_closed_holds_nobody_up() -> None:
    """A test that runs two scenes on one clock leaves the first one's timers behind."""
    clock, called = FakeClock(), []

    async def first() -> None:
        clock.call_later(1, called.append, "first")

    async def second() -> None:
        clock.call_later(2, called.append, "second")
        await clock.run(3)

    asyncio.run(first())
    asyncio.run(second())
    assert called == ["second"]


# Immediate retries.


def test_retries_are_immediate_inside_the_block_only() -> None:
    assert not waits_are_immediate()
    with immediate_retries():
        assert waits_are_immediate()
    assert not waits_are_immediate()


def test_nested_blocks_end_with_the_last() -> None:
    with immediate_retries():
        with immediate_retries():
            assert waits_are_immediate()
        assert waits_are_immediate()
    assert not waits_are_immediate()


def test_pauses_are_back_after_a_block_that_raised() -> None:
    with pytest.raises(ZeroDivisionError), immediate_retries():
        raise ZeroDivisionError
    assert not waits_are_immediate()
