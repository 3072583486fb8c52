"""The document's own way (§9.2), mended: nothing is done twice, a failure is said, and what failed is not active any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from resilience.testing import immediate_retries
from resilience.transactions.file import TransactionError
from resilience.transactions.prepared import Transaction
from resilience.transactions.steps import CompensationFailedError
from tests.resilience.transactions.transacting import World


async def prepared(world: World, transaction: Transaction, *whats: Any) -> Transaction:
    for number, what in enumerate(whats):
        if number % 2:
            transaction.add_operation(world.add, world.remove, what=what)
        else:
            await transaction.add_operation(world.add_later, world.remove_later, what)
    return transaction


@pytest.fixture(params=["of a manager", "alone"])
def make(request: pytest.FixtureRequest, world: World) -> Any:
    return world.manager.begin_transaction if request.param == "of a manager" else Transaction


def test_what_is_executed_is_done_once_and_can_be_taken_back_once(world: World, make: Any) -> None:
    live = object()

    async def main() -> None:
        transaction = await prepared(world, make("t"), 1, 2, live)
        assert await transaction.execute() is True
        assert await transaction.execute() is True
        assert (world.there, transaction.completed, transaction.error) == ([1, 2, live], True, None)
        with pytest.raises(RuntimeError, match="is over"):
            transaction.add_operation(world.add, world.remove, 4)
        await transaction.rollback()
        await transaction.rollback()
        assert await transaction.execute() is False, "it is not done any more"
        assert world.log[3:] == [f"remove {live}", "remove 2", "remove 1"]
        assert transaction.rolled_back

    asyncio.run(main())


def test_what_fails_is_taken_back_newest_first_and_its_cause_is_kept(world: World, make: Any) -> None:
    error = world.fails["add 3"] = ValueError("no")

    async def main() -> None:
        transaction = await prepared(world, make("t"), 1, 2, 3, 4)
        assert await transaction.execute() is False
        assert await transaction.execute() is False
        assert (transaction.error, transaction.completed, transaction.rolled_back, transaction.left) == (error, False, True, ())
        await transaction.rollback()
        assert world.log == ["add 1", "add 2", "add 3", "remove 2", "remove 1"]

    asyncio.run(main())


def test_what_cannot_be_taken_back_is_said(world: World, make: Any) -> None:
    world.fails |= {"add 3": ValueError("no"), "remove 1": ConnectionError("down")}

    async def main() -> None:
        transaction = await prepared(world, make("t"), 1, 2, 3)
        assert await transaction.execute() is False
        assert [(left.number, left.why) for left in transaction.left] == [(1, "ConnectionError: down")]
        assert transaction.error is not None
        assert "step 1" in transaction.error.__notes__[0]
        other = await prepared(world, make("t"), 1)
        await other.execute()
        with pytest.raises(CompensationFailedError, match="step 1"):
            await other.rollback()

    with immediate_retries():
        asyncio.run(main())


def test_a_cancellation_takes_back_and_is_raised(world: World, make: Any) -> None:
    async def main() -> None:
        transaction = await prepared(world, make("t"), 1, 2)
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await asyncio.Event().wait()

        transaction.add_operation(wait, lambda _: None)
        task = asyncio.ensure_future(transaction.execute())
        await waiting.wait()
        with pytest.raises(RuntimeError, match="is being executed"):
            await transaction.rollback()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (world.there, transaction.rolled_back) == ([], True)
        assert [(left.number, left.in_doubt) for left in transaction.left] == [(3, True)], "nobody knows of the one that was cancelled"

    asyncio.run(main())


def leaves_once(world: World) -> Any:
    """Takes back, but for the first time, when it exits."""
    times: list[Any] = []

    def remove(what: Any) -> None:
        times.append(what)
        if len(times) == 1:
            raise SystemExit(3)
        world.remove(what)

    return remove


def test_an_exit_while_it_is_taken_back_is_raised_when_all_is_done(world: World, make: Any) -> None:
    async def main() -> None:
        failing = await prepared(world, make("t"), 1)
        failing.add_operation(world.add, leaves_once(world), 2)
        failing.add_operation(int, print, "no number")
        done = await prepared(world, make("u"), 3)
        done.add_operation(world.add, leaves_once(world), 4)
        assert await done.execute()
        for ends, there in ((failing.execute, [3, 4]), (done.rollback, [])):
            try:
                await ends()
            except SystemExit:
                assert world.there == there
            else:
                raise AssertionError
        assert (failing.rolled_back, failing.left, done.left) == (True, (), ())
        assert isinstance(failing.error, SystemExit)
        assert isinstance(failing.error.__cause__, ValueError)

    with immediate_retries():
        asyncio.run(main())


def test_what_cannot_be_taken_back_is_known_also_where_that_is_cancelled(world: World) -> None:
    undoing = asyncio.Event()

    async def remove(what: Any) -> None:
        undoing.set()
        await asyncio.sleep(0)
        raise ConnectionError("down")

    async def main() -> None:
        transaction = Transaction("t")
        transaction.add_operation(world.add, remove, 1)
        await transaction.execute()
        task = asyncio.ensure_future(transaction.rollback())
        await undoing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(left.number, left.why) for left in transaction.left] == [(1, "ConnectionError: down")]

    with immediate_retries():
        asyncio.run(main())


def test_given_up_before_it_is_executed_it_does_nothing(world: World, make: Any) -> None:
    async def main() -> None:
        transaction = await prepared(world, make("t"), 1)
        await transaction.rollback()
        assert await transaction.execute() is False

    asyncio.run(main())
    assert world.log == []


def test_commit_executes_what_is_active_and_a_second_one_finds_nothing(world: World) -> None:
    async def main() -> None:
        manager = world.manager
        await prepared(world, manager.begin_transaction("t"), 1)
        assert list(manager.active_transactions) == ["t"]
        assert await manager.commit("t") is True
        for _ in range(2):
            with pytest.raises(ValueError, match="Transaction t not found"):
                await manager.commit("t")
        world.fails["add 2"] = ValueError()
        await prepared(world, manager.begin_transaction("t"), 2)
        assert await manager.commit("t") is False
        assert manager.active_transactions == {}
        await prepared(world, manager.begin_transaction("t"), 3)
        await manager.rollback("t")
        await manager.rollback("t")
        assert manager.active_transactions == {}

    asyncio.run(main())
    assert world.there == [1]


def test_a_name_is_active_once(world: World) -> None:
    async def main() -> None:
        manager = world.manager
        waiting, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            waiting.set()
            await go_on.wait()

        first = await prepared(world, manager.begin_transaction("t"), 1)
        first.add_operation(wait, lambda _: None)
        with pytest.raises(ValueError, match="a transaction 't' is active already; commit it or roll it back first"):
            manager.begin_transaction("t")
        task = asyncio.ensure_future(manager.commit("t"))
        await waiting.wait()
        for other in (manager.commit, manager.rollback):
            with pytest.raises(RuntimeError, match="is being executed"):
                await other("t")
        assert manager.active_transactions == {"t": first}
        go_on.set()
        assert await task is True
        assert manager.active_transactions == {}
        await first.rollback()

    asyncio.run(main())
    assert world.log == ["add 1", "remove 1"]


def test_it_is_journalled_and_registered_compensations_outlive_the_process(world: World) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend(world.manager.unfinished())
        seen.append([(step.name, step.undo, step.registered, step.kept) for _, steps in world.manager._ground.file.open_ones() for step in steps])

    async def main() -> None:
        transaction = world.manager.begin_transaction("t")
        transaction.add_operation(world.add, world.remove, 1)
        transaction.add_operation(world.add, print, 2)
        transaction.add_operation(look, lambda _: None)
        assert await transaction.execute()

    asyncio.run(main())
    assert seen[0].transaction == "t"
    assert seen[1][:2] == [("World.add", "remove", True, "1"), ("World.add", "print", False, "null")]


def test_where_the_disk_refuses_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world = World(tmp_path / "file")

    async def main() -> None:
        transaction = await prepared(world, world.manager.begin_transaction("t"), 1)
        assert await transaction.execute() is False
        assert isinstance(transaction.error, TransactionError)

    asyncio.run(main())
    assert world.log == []
