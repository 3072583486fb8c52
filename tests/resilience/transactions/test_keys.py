"""Keys: what happens once, is gone through again, begins anew, or is refused because it is under way. Sync and async."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from resilience.transactions.file import TransactionBusyError
from resilience.transactions.steps import (
    CompensationFailedError,
    ReplayedFailureError,
    StepResultError,
    TransactionReplayError,
)
from tests.resilience.transactions.transacting import Way, World


def test_once_committed_under_its_key_nothing_is_called_again(way: Way, world: World) -> None:
    keys: list[str] = []

    async def body(tx: Any) -> Any:
        keys.append(tx.next_key)
        first = await tx.do(way.add, 1, undo=way.remove)
        async with tx.nested("part") as part:
            return [first, await part.do(lambda: {"a": [2]}), await tx.do(lambda: (3, object()), keep=lambda both: both[0]), tx.is_replay]

    first, part, _, replay = way.run(body, key="2026-11-30")
    assert (first, part, replay) == (1, {"a": [2]}, False)
    assert way.run(body, key="2026-11-30") == [1, {"a": [2]}, 3, True]
    assert world.log == ["add 1"]
    assert keys[0] == keys[1]
    assert way.run(body, key="2026-12-01")[3] is False
    assert world.log == ["add 1", "add 1"]


def test_a_key_is_forgotten_when_its_time_is_over(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        await tx.do(way.add, 1)

    for days, times in ((0, 1), (29, 1), (1.1, 2)):
        world.clock.advance(days * 86_400)
        way.run(body, key="k")
        assert world.log == ["add 1"] * times
    world.clock.advance(31 * 86_400)
    world.manager.look()
    assert world.rows() == (0, 0)


def test_another_step_under_the_same_key_is_a_clear_error(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        await tx.do(way.add, 1)
        with pytest.raises(ValueError):  # noqa: PT011 -- not what is tested
            await tx.do(int, "x")

    async def other(tx: Any) -> None:
        with pytest.raises(TransactionReplayError, match=r"its step 1 was World\.add"):
            await tx.do(abs, 1)
        await tx.do(way.add, 1)
        with pytest.raises(TransactionReplayError, match=r"its step 2 \(int\) had failed then"):
            await tx.do(int, "x")
        with pytest.raises(TransactionReplayError, match="with no step 3, and abs is asked for"):
            await tx.do(abs, 1)

    way.run(body, key="k")
    way.run(other, key="k")


def test_what_failed_and_was_caught_fails_in_each_replay_with_one_class_of_error(way: Way, world: World) -> None:
    """A part of a step that fails, one that fails by itself behind a step, one within another, a step that is undone at once."""
    world.fails["add 3"] = ConnectionError("catering is away, token=geheim")

    async def body(tx: Any) -> Any:
        told: list[BaseException] = []
        keys = [tx.next_key]
        room = await tx.do(way.add, 1, undo=way.remove)
        try:
            async with tx.nested("part") as part, part.nested("part") as inner:
                await inner.do(way.add, 2, undo=way.remove)
                await inner.do(way.add, 3, undo=way.remove)
        except (ConnectionError, ReplayedFailureError) as error:
            told.append(error)
        try:
            async with tx.nested("by itself") as part:
                await part.do(way.add, 4, undo=way.remove)
                if not tx.is_replay:
                    raise KeyError("by itself")
        except (KeyError, ReplayedFailureError) as error:
            told.append(error)
        try:
            await tx.do(way.add, {5}, keep=lambda one: one, undo=lambda _: world.there.remove({5}))
        except (StepResultError, ReplayedFailureError) as error:
            told.append(error)
        keys.append(tx.next_key)
        return room, await tx.do(lambda: 6), keys, told

    room, last, keys, told = way.run(body, key="k")
    assert [type(error) for error in told] == [ConnectionError, KeyError, StepResultError]
    assert world.there == [1]
    calls = list(world.log)
    for _ in range(2):
        room_again, last_again, keys_again, told_again = way.run(body, key="k")
        assert (room_again, last_again, keys_again, world.log) == (room, last, keys, calls)
        assert [type(error) for error in told_again] == [ReplayedFailureError] * 3
        assert [error.was for error in told_again[:2]] == ["ConnectionError: catering is away, token=[redacted]", "KeyError: 'by itself'"]
        assert told_again[2].was.startswith("StepResultError: what the step")
        assert "its step 3 (World.add" in str(told_again[0])
        assert "its part 'by itself' had failed then" in str(told_again[1])


def test_a_part_that_fails_does_not_take_the_key_of_the_next_step(way: Way, world: World) -> None:
    """Whoever was handed it is asked by it; to another one the answer would be that nothing has happened."""
    world.fails["after 1"] = TimeoutError("the answer never came")
    asked: list[str] = []

    def found(key: str) -> Any:
        asked.append(key)
        return 1

    async def body(tx: Any) -> str:
        key = str(tx.next_key)
        with pytest.raises(KeyError):
            async with tx.nested("optional"):
                raise KeyError
        with pytest.raises(TimeoutError):
            await tx.do(way.add, 1, undo=way.remove, found=found)
        return key

    assert [way.run(body, key="k")] == asked
    assert world.there == []


def test_a_part_that_fails_in_another_thread_as_a_step_begins_has_a_number_of_its_own(world: World) -> None:
    def fail(tx: Any) -> None:
        with pytest.raises(KeyError), tx.nested("optional"):
            raise KeyError

    class Undo:
        """Something happens while it is looked for among the compensations."""

        def __call__(self, what: Any) -> None:
            world.remove(what)

        def __eq__(self, other: object) -> bool:
            thread = threading.Thread(target=fail, args=(tx,))
            thread.start()
            thread.join()
            return self is other

        __hash__ = None  # type: ignore[assignment]

    with world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=Undo())
    loaded = world.manager._ground.file.load(tx.id)
    assert loaded is not None
    assert [(step.number, step.name) for step in loaded[1]] == [(1, "optional"), (2, "World.add")]


def test_undone_before_it_starts_anew(way: Way, world: World) -> None:
    keys: set[str] = set()

    async def body(tx: Any) -> None:
        keys.add(tx.next_key)
        await tx.do(way.add, 1, undo=way.remove)
        if len(keys) == 1:
            raise KeyError

    with pytest.raises(KeyError):
        way.run(body, key="k")
    way.run(body, key="k")
    assert world.there == [1]
    assert len(keys) == 2, "what was undone under a key must not be taken for the same again by whoever receives it"


def test_under_way_here_or_elsewhere_it_is_busy(way: Way, world: World) -> None:
    other = world.process()

    async def body(tx: Any) -> None:
        for manager in (world.manager, other):
            with pytest.raises(TransactionBusyError, match="'t' with the key 'k'"), manager.transaction("t", "k"):
                raise AssertionError
            with manager.transaction("t", "another"), manager.transaction("another", "k"), manager.transaction("t"):
                pass

    way.run(body, key="k")
    other.close()


def test_a_key_under_which_something_is_left_is_tried_again_and_refused_until_it_is_seen_to(way: Way, world: World) -> None:
    world.fails["remove 1"] = ConnectionError("down")

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        if world.fails:
            raise KeyError

    with pytest.raises(KeyError):
        way.run(body, key="k")
    with pytest.raises(CompensationFailedError, match="step 1"):
        way.run(body, key="k")
    [one] = world.manager.unfinished()
    assert world.manager.dismiss(one.id)
    assert not world.manager.dismiss(one.id)
    assert world.manager.unfinished() == []
    world.fails.clear()
    way.run(body, key="k")
    assert world.there == [1, 1]
