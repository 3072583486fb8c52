"""Parts that are still open in another task or thread when the block around them ends: nothing of them is forgotten."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.resilience.transactions.transacting import World


async def part(world: World, tx: Any, what: str, go_on: asyncio.Event, error: Exception | None = None, begun: asyncio.Event | None = None) -> None:
    """A part of two steps, which goes on after the first when it may, and then fails or does not."""
    async with tx.nested(what) as mine:
        await mine.do(world.add, what, undo=world.remove)
        if begun is not None:
            begun.set()
        await go_on.wait()
        if error is not None:
            raise error
        await mine.do(world.add, f"more of {what}", undo=world.remove)


@pytest.mark.parametrize("key", [None, "k"])
def test_a_part_that_gather_leaves_open_is_undone_with_the_whole(world: World, key: str | None) -> None:
    """Its sibling fails, and gather cancels nobody; what goes on with the part is told that it is over."""
    go_on, now = asyncio.Event(), asyncio.Event()
    now.set()

    async def main() -> None:
        with pytest.raises(ConnectionError, match="no seat") as caught:
            async with world.manager.transaction("trip", key) as tx:
                await tx.do(world.add, "base", undo=world.remove)
                hotel = asyncio.ensure_future(part(world, tx, "hotel", go_on))
                await asyncio.sleep(0)
                await asyncio.gather(hotel, part(world, tx, "flight", now, ConnectionError("no seat")))
        assert not hasattr(caught.value, "__notes__")
        assert world.log == ["add base", "add hotel", "add flight", "remove flight", "remove hotel", "remove base"]
        go_on.set()
        with pytest.raises(RuntimeError, match="this block of the transaction 'trip' is over; no step was begun"):
            await hotel

    asyncio.run(main())
    assert world.there == []
    assert world.manager.unfinished() == []


@pytest.mark.parametrize("error", [None, ValueError("the part's own"), asyncio.CancelledError()])
def test_the_end_of_a_part_whose_whole_is_over_is_an_error_unless_it_fails_itself(world: World, error: BaseException | None) -> None:
    kept: list[Any] = []

    async def main() -> None:
        with pytest.raises(KeyError):
            async with world.manager.transaction("trip") as tx:
                block = tx.nested("hotel")
                kept.extend([block, tx])
                mine = await block.__aenter__()
                inner = await mine.nested("room").__aenter__()
                await inner.do(world.add, 1, undo=world.remove)
                raise KeyError
        if error is None:
            with pytest.raises(RuntimeError, match="the block around the part 'hotel' of the transaction 'trip' ended before it"):
                await block.__aexit__(None, None, None)
        else:
            await block.__aexit__(type(error), error, None)
        with pytest.raises(RuntimeError, match="can have no part any more"):
            mine.nested("another")

    asyncio.run(main())
    assert world.log == ["add 1", "remove 1"]


@pytest.mark.parametrize("key", [None, "k"])
def test_no_block_succeeds_while_a_part_of_it_is_open(world: World, key: str | None) -> None:
    """Else the part's later failure would undo steps of what is committed, and a crash would forget them."""
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"the block 'trip' ends before 'hotel', a part of it that is open in another task or thread"):
            async with world.manager.transaction("trip", key) as tx:
                task = asyncio.ensure_future(part(world, tx, "hotel", go_on, ConnectionError("late"), begun))
                await begun.wait()
        assert world.there == []
        go_on.set()
        with pytest.raises(ConnectionError, match="late"):
            await task
        async with world.manager.transaction("trip", key) as tx:
            assert not tx.is_replay

    asyncio.run(main())
    assert world.log == ["add hotel", "remove hotel"]
    assert world.manager.unfinished() == []


def test_an_outer_part_that_ends_undoes_its_open_parts_alone(world: World) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        async with world.manager.transaction("trip") as tx:
            await tx.do(world.add, "base", undo=world.remove)
            with pytest.raises(RuntimeError, match="the block 'stay' ends before 'hotel'"):
                async with tx.nested("stay") as stay:
                    task = asyncio.ensure_future(part(world, stay, "hotel", go_on, None, begun))
                    await begun.wait()
            assert world.there == ["base"]
            go_on.set()
            with pytest.raises(RuntimeError, match="is over"):
                await task

    asyncio.run(main())
    assert world.there == ["base"]


def test_a_part_in_another_thread_is_undone_with_the_whole_after_its_step_has_ended(world: World) -> None:
    begun, go_on, told = threading.Event(), threading.Event(), list[BaseException]()

    def slow() -> Any:
        begun.set()
        assert go_on.wait(60)
        return world.add(2)

    def in_thread(tx: Any) -> None:
        try:
            with tx.nested("part") as mine:
                mine.do(world.add, 1, undo=world.remove)
                mine.do(slow, undo=world.remove)
        except RuntimeError as error:
            told.append(error)

    with pytest.raises(ValueError, match="outer"), world.manager.transaction("t") as tx:
        thread = threading.Thread(target=in_thread, args=(tx,))
        thread.start()
        assert begun.wait(60)
        threading.Timer(0.02, go_on.set).start()
        raise ValueError("outer")
    thread.join()
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert "ended before it" in str(told[0])
    assert world.manager.unfinished() == []


def test_a_part_that_is_just_being_undone_in_another_thread_is_waited_for(world: World) -> None:
    """Nothing is undone twice, and what the part leaves is part of the end."""
    undoing, go_on = threading.Event(), threading.Event()

    def remove(what: Any) -> None:
        undoing.set()
        assert go_on.wait(60)
        world.remove(what)

    def in_thread(tx: Any) -> None:
        with pytest.raises(KeyError), tx.nested("part") as mine:
            mine.do(world.add, 2, undo=remove)
            raise KeyError

    with pytest.raises(ValueError, match="outer"), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        thread = threading.Thread(target=in_thread, args=(tx,))
        thread.start()
        assert undoing.wait(60)
        threading.Timer(0.02, go_on.set).start()
        raise ValueError("outer")
    thread.join()
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert world.manager.unfinished() == []


def test_a_step_may_try_a_part_and_fail_without_waiting_for_itself(world: World) -> None:
    with world.manager.transaction("t") as tx:

        def step() -> None:
            with pytest.raises(RuntimeError, match="one after another"), tx.nested("part") as mine:
                mine.do(world.add, 1)

        tx.do(step)
    assert world.log == []
