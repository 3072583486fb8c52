"""Calls that wait until their service is healed."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

import pytest

from resilience.healing.waiting import EndedHeals
from resilience.testing import FakeClock


def ended(number: int, outcome: str = "healed", **about: str) -> dict[str, Any]:
    return {"id": number, "component": "store", "root_cause": "disk", "target": "server", **about, "outcome": outcome}


def heals(*known: dict[str, Any], told: bool = True) -> EndedHeals:
    one = EndedHeals(lambda: told, FakeClock())
    one.take(known)
    return one


@pytest.mark.parametrize("service", ["store", "disk", "server"])
def test_a_heal_counts_for_what_failed_for_its_cause_and_for_what_was_mended(service: str) -> None:
    world = heals()
    wait = world.begin(service)
    world.take([ended(1)])
    assert wait.wait(60)


@pytest.mark.parametrize(
    ("after", "healed"),
    [
        ([ended(3)], False),  # it had ended before the call failed
        ([ended(4)], True),
        ([ended(4, component="mail", root_cause="mail", target="mail")], False),
        ([ended(4, "failed")], False),
        ([ended(4, "failed"), ended(5)], True),  # the next action has helped
    ],
)
def test_only_a_heal_that_ends_after_the_call_has_failed_counts(after: list[dict[str, Any]], healed: bool) -> None:
    world = heals(ended(3))
    wait = world.begin("store")
    world.take(after)
    assert wait.wait(0.001) is healed


def test_a_heal_that_began_before_one_that_has_ended_counts_all_the_same() -> None:
    """Heals of several services run at once, and end in any order."""
    world = heals(ended(7, component="mail", root_cause="mail", target="mail"))
    wait = world.begin("store")
    world.take([ended(7, component="mail", root_cause="mail", target="mail"), ended(6)])
    assert wait.wait(0.001)


def test_a_waiter_whose_loop_was_closed_keeps_nobody_else_from_hearing() -> None:
    world, woken = heals(), list[int]()
    waiting = [world.begin("store") for _ in range(5)]
    for number, one in enumerate(waiting):
        one.wake = functools.partial(woken.append, number)
        assert world.enter(one)
    closed = asyncio.new_event_loop()
    closed.close()
    waiting[2].wake = lambda: closed.call_soon_threadsafe(print)
    world.take([ended(1)])
    assert sorted(woken) == [0, 1, 3, 4]
    assert waiting[2] not in world._waiting


@pytest.mark.parametrize("outcome", ["escalated", "rejected", "expired", "interrupted"])
def test_where_only_a_person_could_help_nobody_waits_on(outcome: str) -> None:
    world = heals()
    wait = world.begin("store")
    world.take([ended(1, outcome)])
    assert not wait.wait(3600)


def test_where_no_winclaw_is_there_to_heal_nobody_waits() -> None:
    assert not heals(told=False).begin("store").wait(3600)


def test_a_thread_that_waits_goes_on_with_the_heal() -> None:
    world, entered, outcome = heals(), threading.Event(), []
    wait = world.begin("store")

    class Noticed(set[Any]):
        def add(self, one: Any) -> None:
            super().add(one)
            entered.set()

    world._waiting = Noticed()
    thread = threading.Thread(target=lambda: outcome.append(wait.wait(60)))
    thread.start()
    assert entered.wait(10)
    world.take([ended(1, "failed")])
    world.take([ended(1, "failed"), ended(2)])
    thread.join(10)
    assert outcome == [True]
    assert not world._waiting


def test_a_task_that_waits_goes_on_with_the_heal_or_when_its_time_is_up() -> None:
    clock = FakeClock()
    world = EndedHeals(lambda: True, clock)

    async def both() -> tuple[bool, bool]:
        first, second = asyncio.ensure_future(world.begin("store").wait_async(60)), asyncio.ensure_future(world.begin("mail").wait_async(60))
        await asyncio.sleep(0)
        world.take([ended(1)])
        healed = await first
        clock.advance(61)
        return healed, await second

    assert asyncio.run(both()) == (True, False)
    assert not world._waiting


def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    world = heals()

    async def cancelled() -> None:
        task = asyncio.ensure_future(world.begin("store").wait_async(60))
        await asyncio.sleep(0)
        assert len(world._waiting) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not world._waiting
