"""A transaction that runs: what is undone, what its compensations are given, and what the caller gets. Sync and async."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorSeverity
from resilience.transactions.file import TransactionError
from resilience.transactions.steps import (
    MAX_STEPS,
    PAUSES_S,
    CompensationFailedError,
    StepResultError,
)
from tests.resilience.transactions.transacting import Way, World


def test_a_transaction_that_succeeds_leaves_everything_done_and_nothing_in_the_file(way: Way, world: World) -> None:
    async def body(tx: Any) -> Any:
        return [await tx.do(way.add, n, undo=way.remove) for n in range(3)]

    assert way.run(body) == world.there == [0, 1, 2]
    assert world.manager.unfinished() == []
    assert world.rows() == (0, 0)


def test_exactly_the_steps_that_ran_are_undone_newest_first(way: Way, world: World) -> None:
    world.fails["add 3"] = RuntimeError("no")

    async def body(tx: Any) -> None:
        for n in range(5):
            await tx.do(way.add, n, undo=way.remove)

    with pytest.raises(RuntimeError, match="no"):
        way.run(body)
    assert world.log == ["add 0", "add 1", "add 2", "add 3", "remove 2", "remove 1", "remove 0"]
    assert world.there == []
    assert world.rows() == (0, 0)


def test_the_callers_error_stays_the_one_that_was_raised_with_its_cause(way: Way, world: World) -> None:
    cause = ValueError("cause")

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        raise RuntimeError("mine") from cause

    with pytest.raises(RuntimeError, match="mine") as caught:
        way.run(body)
    assert caught.value.__cause__ is cause
    assert not hasattr(caught.value, "__notes__")


def test_a_step_is_on_disk_before_it_is_called(way: Way, world: World) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append([(step.name, step.state, step.undo, step.registered, step.key) for _, steps in world.manager._ground.file.open_ones() for step in steps])

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=world.remove, key="mine")
        await tx.do(look, undo=look)

    way.run(body)
    name = "World.add_later" if way.is_async else "World.add"
    assert seen[0][0] == (name, "done", "remove", True, "mine")
    [second] = seen[0][1:]
    assert second[1:4] == ("begun", second[0], False)


def test_undo_is_given_what_was_kept_as_it_stands_in_the_file(way: Way, world: World) -> None:
    given: list[Any] = []
    live = {"id": 7, "more": ["x"]}

    async def body(tx: Any) -> None:
        await tx.do(lambda: live, undo=given.append)
        await tx.do(lambda: (1, 2), keep=list, undo=given.append)
        raise KeyError

    with pytest.raises(KeyError):
        way.run(body)
    assert given == [[1, 2], live]
    assert given[1] is not live


def test_a_step_without_undo_needs_no_result_that_can_be_kept(way: Way, world: World) -> None:
    async def body(tx: Any) -> Any:
        return await tx.do(object), await tx.do(object, keep=lambda one: one)

    assert None not in way.run(body)


def test_a_result_that_cannot_be_kept_is_an_error_after_the_step_is_undone_with_what_it_gave(way: Way, world: World) -> None:
    given: list[Any] = []
    result = object()

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        with pytest.raises(StepResultError, match=r"result is a builtins.object.*keep="):
            await tx.do(lambda: result, undo=given.append)
        assert given == [result]

    way.run(body)
    assert world.there == [1]
    assert world.rows() == (0, 0)


def test_a_result_that_is_too_large_is_an_error_that_says_so(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        await tx.do(lambda: "x" * 300_000, undo=lambda _: None)

    with pytest.raises(StepResultError, match=r"300\.0 kB as JSON, and 256 kB is the limit"):
        way.run(body)


def test_where_keep_fails_the_compensation_is_asked_and_without_found_the_step_is_left(way: Way, world: World) -> None:
    """Its result is at hand, but not what undo takes: nobody guesses."""
    undone: list[Any] = []

    async def body(tx: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            await tx.do(lambda: 0, keep=lambda n: 1 / n, undo=undone.append, found=lambda key: f"of {key}", key="a")
        await tx.do(lambda: 0, keep=lambda n: 1 / n, undo=undone.append, key="b")

    with pytest.raises(ZeroDivisionError) as caught:
        way.run(body)
    assert undone == ["of a"]
    [note] = caught.value.__notes__
    assert "it happened, but what to keep of it is not known" in note
    [[error, *_]] = world.reported
    assert [left.key for left in error.left] == ["b"]  # type: ignore[attr-defined]


def test_a_step_that_raises_has_not_happened_unless_found_knows_better(way: Way, world: World) -> None:
    asked: list[str] = []

    def found(key: str) -> Any:
        asked.append(key)
        if "no" in key:
            raise LookupError
        return 2

    world.fails["after 2"] = TimeoutError("the answer never came")
    world.fails["add 3"] = ConnectionError("refused")

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        with pytest.raises(TimeoutError):
            await tx.do(way.add, 2, undo=way.remove, found=found, key="yes")
        assert world.there == [1]
        with pytest.raises(ConnectionError):
            await tx.do(way.add, 3, undo=way.remove, found=found, key="no")

    way.run(body)
    assert asked == ["yes", "no"]
    assert world.log == ["add 1", "add 2", "remove 2", "add 3"]


def test_a_step_may_raise_what_no_generator_may(world: World) -> None:
    end = StopIteration("the last one")

    def step() -> None:
        raise end

    with world.manager.transaction("t") as tx:
        with pytest.raises(StopIteration) as caught:
            tx.do(step)
        with pytest.raises(RuntimeError, match="generator raised"):
            tx.do(next, (next(iter(())) for _ in "x"))
    assert caught.value is end


# Compensations that fail


def test_a_compensation_that_fails_is_tried_again_after_growing_pauses(way: Way, world: World) -> None:
    moments: list[float] = []

    def remove(what: Any) -> None:
        moments.append(world.clock.monotonic())
        if len(moments) < 3:
            raise ConnectionError

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=remove)
        raise KeyError

    with pytest.raises(KeyError) as caught:
        way.run(body)
    assert [later - earlier for earlier, later in itertools.pairwise(moments)] == list(PAUSES_S[:2])
    assert not hasattr(caught.value, "__notes__")
    assert world.reported == []


def test_what_cannot_be_undone_holds_nothing_else_up_and_is_named_everywhere(way: Way, world: World) -> None:
    """In the file, in the report, in a note on the error that the caller gets."""
    world.fails["remove 1"] = ConnectionError("down")

    async def body(tx: Any) -> None:
        for n in range(3):
            await tx.do(way.add, n, undo=way.remove, key=f"key-{n}")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        way.run(body, "send-report")
    assert world.there == [1]
    assert world.log.count("remove 1") == len(PAUSES_S) + 1
    [note] = caught.value.__notes__
    assert "step 2" in note
    assert "key-1" in note
    [(error, component, operation)] = world.reported
    assert (component, operation) == ("send-report", "compensate")
    assert isinstance(error, CompensationFailedError)
    assert [(left.number, left.key, left.kept, left.in_doubt, left.why) for left in error.left] == [(2, "key-1", "1", False, "ConnectionError: down")]
    assert isinstance(error.__cause__, ConnectionError)
    [unfinished] = world.manager.unfinished()
    assert (unfinished.agent, unfinished.transaction, unfinished.state, unfinished.id) == ("clerk", "send-report", "left", error.id)
    assert unfinished.left == error.left


def test_a_failed_compensation_is_critical_by_its_class_alone(world: World) -> None:
    verdict = ErrorClassifier().verdict(CompensationFailedError("x"))
    assert (verdict.severity, verdict.is_transient) == (ErrorSeverity.CRITICAL, False)
    error = CompensationFailedError("x")
    error.__cause__ = ConnectionError("down")
    assert ErrorClassifier().verdict(error).severity is ErrorSeverity.CRITICAL


def test_what_is_left_is_tried_again_when_asked_for_also_by_functions_that_are_not_registered(way: Way, world: World) -> None:
    world.fails["remove 1"] = ConnectionError("down")
    private = functools.partial(way.remove)

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=private)
        raise KeyError

    with pytest.raises(KeyError):
        way.run(body)
    [failed] = world.manager.resume()
    assert [left.number for left in failed.left] == [1]
    world.fails.clear()
    world.manager.look()  # by itself only at the next start
    assert world.there == [1]
    [done] = world.manager.resume()
    assert (done.transaction, done.left, world.there, world.rows()) == ("t", (), [], (0, 0))
    assert len(done.undone) == 1
    assert world.manager.resume() == []


# Parts


def test_a_part_that_fails_is_undone_alone_and_the_rest_goes_on(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        with pytest.raises(KeyError):
            async with tx.nested("part") as part:
                assert part.name == "part"
                await part.do(way.add, 2, undo=way.remove)
                await part.do(way.add, 3, undo=way.remove)
                raise KeyError
        await tx.do(way.add, 4, undo=way.remove)

    way.run(body)
    assert world.log == ["add 1", "add 2", "add 3", "remove 3", "remove 2", "add 4"]
    assert world.there == [1, 4]


def test_a_part_that_succeeds_is_undone_with_the_whole(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        async with tx.nested("part") as part:
            await part.do(way.add, 2, undo=way.remove)
            async with part.nested("inner") as inner:
                await inner.do(way.add, 3, undo=way.remove)
        await tx.do(way.add, 4, undo=way.remove)
        raise KeyError

    with pytest.raises(KeyError):
        way.run(body)
    assert world.log[4:] == ["remove 4", "remove 3", "remove 2", "remove 1"]


def test_a_part_knows_its_own_steps_from_those_of_the_whole(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        with pytest.raises(KeyError):
            async with tx.nested("part") as part:
                await part.do(way.add, 1, undo=way.remove)
                await tx.do(way.add, 2, undo=way.remove)
                raise KeyError
        assert world.there == [2]

    way.run(body)
    assert world.there == [2]


def test_what_a_part_leaves_undone_is_reported_once_when_the_whole_succeeds(way: Way, world: World) -> None:
    """And a later pass undoes that step alone, for all the others are committed."""
    world.fails["remove 2"] = ConnectionError("down")

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        with pytest.raises(KeyError) as caught:
            async with tx.nested("part") as part:
                await part.do(way.add, 2, undo=way.remove)
                raise KeyError
        assert "step 2" in caught.value.__notes__[0]
        await tx.do(way.add, 3, undo=way.remove)

    way.run(body, key="k")
    assert world.there == [1, 2, 3]
    assert len(world.reported) == 1
    world.fails.clear()
    [done] = world.manager.resume()
    assert (done.left, world.there) == ((), [1, 3])

    async def again(tx: Any) -> None:
        assert tx.is_replay

    way.run(again, key="k")


# What is refused


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0", "\ud800"])
def test_a_name_or_key_that_is_none_is_refused(world: World, name: str) -> None:
    for asked in ({"name": name}, {"name": "t", "key": name}):
        with pytest.raises(ValueError, match=r"characters|half a character"):
            world.manager.transaction(**asked)
    with pytest.raises(ValueError, match=r"characters|half a character"):
        world.manager.compensation(name)
    with world.manager.transaction("t") as tx, pytest.raises(ValueError, match=r"characters|half a character"):
        tx.do(world.add, 1, key=name)
    assert world.log == []


def test_a_coroutine_function_needs_async_with(world: World) -> None:
    with world.manager.transaction("t") as tx, pytest.raises(TypeError, match="async with"):
        tx.do(world.add_later, 1)


def test_two_steps_at_once_are_refused(way: Way, world: World) -> None:
    async def body(tx: Any) -> None:
        raw = getattr(tx, "raw", tx)

        def inside() -> Any:
            return raw.do(world.add, 1)

        with pytest.raises(RuntimeError, match="one after another"):
            await tx.do(inside)

    way.run(body)
    assert world.log == []


def test_a_block_that_is_over_takes_no_steps(way: Way, world: World) -> None:
    kept: list[Any] = []

    async def body(tx: Any) -> None:
        async with tx.nested("part") as part:
            kept.append(part)
        with pytest.raises(RuntimeError, match="is over"):
            await part.do(way.add, 1)
        with pytest.raises(RuntimeError, match="is over"):
            part.nested("inner")

    way.run(body)


def test_a_block_runs_once(world: World) -> None:
    block = world.manager.transaction("t")
    with block:
        pass
    with pytest.raises(RuntimeError, match="has run"), block:
        pass
    with world.manager.transaction("t") as tx:
        part = tx.nested("part")
        with part:
            pass
        with pytest.raises(RuntimeError, match="entered before"), part:
            pass


def test_a_block_that_is_begun_within_itself_is_refused_and_its_steps_are_not_forgotten(world: World) -> None:
    async def main() -> None:
        async with (block := world.manager.transaction("t")) as tx:
            await tx.do(world.add, 2, undo=world.remove)
            async with block:
                raise AssertionError

    with pytest.raises(RuntimeError, match="has run"), (block := world.manager.transaction("t")) as tx:
        tx.do(world.add, 1, undo=world.remove)
        with block:
            raise AssertionError
    with pytest.raises(RuntimeError, match="has run"):
        asyncio.run(main())
    assert world.log == ["add 1", "remove 1", "add 2", "remove 2"]
    assert world.rows() == (0, 0)


def test_no_transaction_has_steps_without_end(world: World) -> None:
    with world.manager.transaction("t") as tx:
        tx._run._count = MAX_STEPS - 1
        tx.do(world.add, 1)
        with pytest.raises(RuntimeError, match="no further one"):
            tx.do(world.add, 2)
    assert world.there == [1]


def test_when_closed_nothing_begins(world: World) -> None:
    with world.manager.transaction("t") as tx:
        world.manager.close()
        with pytest.raises(TransactionError, match="closed"):
            tx.do(world.add, 1)
    with pytest.raises(TransactionError, match="closed"), world.manager.transaction("t"):
        pass
    assert world.log == []
