"""Cancellation and exits: in a step, between steps, while steps are undone. What ran is undone, and it is raised again."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from resilience.transactions.steps import PAUSES_S
from tests.resilience.transactions.transacting import World


def missing(key: str) -> Any:
    raise LookupError(key)


@pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exit_in_the_block_undoes_and_goes_on(world: World, exit_: type[BaseException]) -> None:
    with pytest.raises(exit_), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        raise exit_
    assert world.log == ["add 1", "remove 1"]


def test_a_step_that_was_interrupted_is_asked_after_and_without_found_left_to_a_person(world: World) -> None:
    world.fails["after 2"] = KeyboardInterrupt()
    world.fails["add 3"] = KeyboardInterrupt()
    world.fails["after 4"] = KeyboardInterrupt()
    for what, found, left in ((2, lambda _: 2, 0), (3, missing, 0), (4, None, 1)):
        with pytest.raises(KeyboardInterrupt), world.manager.transaction("t") as tx:
            tx.do(world.add, 1, undo=world.remove)
            tx.do(world.add, what, undo=world.remove, found=found)
        assert len(world.reported) == left
    assert world.there == [4]
    [(error, *_)] = world.reported
    [one] = error.left  # type: ignore[attr-defined]
    assert (one.in_doubt, one.name) == (True, "World.add")
    assert "has no found=" in one.why


def test_an_exit_while_a_step_is_undone_is_raised_after_the_last_one(world: World) -> None:
    """The step is tried again at once; a program that is ended in the middle of undoing would leave half."""
    times: list[Any] = []

    def remove(what: Any) -> None:
        times.append(what)
        if len(times) == 1:
            raise KeyboardInterrupt
        world.remove(what)

    with pytest.raises(KeyboardInterrupt) as caught, world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        tx.do(world.add, 2, undo=remove)
        raise ValueError("first")
    assert isinstance(caught.value.__cause__, ValueError)
    assert times == [2, 2]
    assert world.there == []
    assert world.manager.unfinished() == []


@pytest.mark.skipif(sys.platform == "win32", reason="there, an exit does not end the waiting for a lock")
def test_an_exit_while_a_coroutine_undoes_does_not_have_it_called_twice_at_once(world: World) -> None:
    main, second, running, most = threading.main_thread().ident or 0, threading.Event(), list[Any](), list[int]()

    def is_waited_for() -> bool:
        names = [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]
        return "start" not in names and names[-1] != "_awaited_elsewhere"

    async def remove(what: Any) -> None:
        running.append(what)
        most.append(len(running))
        if len(most) == 1:
            while not is_waited_for():
                pass
            signal.pthread_kill(main, signal.SIGINT)
            second.wait(0.2)
        second.set()
        running.remove(what)

    with pytest.raises(KeyboardInterrupt), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=remove)
        raise ValueError
    assert most == [1, 1], "it is tried again, for what it did is not known to be on disk"
    assert world.manager.unfinished() == []


class Interrupting:
    """Raises Ctrl-C in the n-th write from now on, before it or after it."""

    def __init__(self, world: World, number: int, *, after: bool) -> None:
        self.left = number
        file = world.manager._ground.file._file
        do = file.do

        def counted(work: Any, *, writes: bool = True) -> Any:
            self.left -= writes
            is_now = writes and self.left == 0
            if is_now and not after:
                raise KeyboardInterrupt("second")
            result = do(work, writes=writes)
            if is_now:
                raise KeyboardInterrupt("second")
            return result

        file.do = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [KeyboardInterrupt("first"), ValueError("first")])
def test_an_exit_in_the_writing_between_two_compensations_does_not_end_the_undoing(
    world: World, number: int, after: bool, first: BaseException
) -> None:
    """Whichever write it hits: one behind each step, and the end."""
    with pytest.raises(KeyboardInterrupt) as caught, world.manager.transaction("t", "k") as tx:
        for what in "abc":
            tx.do(world.add, what, undo=world.remove)
        Interrupting(world, number, after=after)
        raise first
    assert str(caught.value) == ("first" if isinstance(first, KeyboardInterrupt) else "second")
    assert world.log[3:] == ["remove c", "remove b", "remove a"]
    assert (world.there, world.manager.unfinished(), world.manager._ground.active) == ([], [], set())
    with world.manager.transaction("t", "k") as tx:
        assert not tx.is_replay


@pytest.mark.parametrize("after", [False, True])
def test_an_exit_where_the_end_is_committed_or_begun_leaves_nothing_that_nobody_can_take(world: World, after: bool) -> None:
    with pytest.raises(KeyboardInterrupt), world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=world.remove)
        Interrupting(world, 1, after=after)
    assert world.there == []
    Interrupting(world, 1, after=after)
    with pytest.raises(KeyboardInterrupt), world.manager.transaction("t", "k") as tx:
        raise AssertionError
    assert world.manager._ground.active == set()
    assert [one.left for one in world.manager.resume()] == [()] * after
    assert world.manager.unfinished() == []


def test_whatever_comes_before_a_block_is_left_it_is_not_under_way_for_as_long_as_the_process_lives(world: World) -> None:
    block = world.manager.transaction("t")
    tx = block.__enter__()
    tx.do(world.add, 1, undo=world.remove)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    tx.__class__ = type("Interrupted", (type(tx),), {"__exit__": interrupted})
    with pytest.raises(KeyboardInterrupt):
        block.__exit__(ValueError, ValueError(), None)
    world.manager.look()
    assert world.there == []
    assert world.manager.unfinished() == []


@pytest.mark.parametrize("error", [None, ValueError("mine")])
@pytest.mark.parametrize("where", ["before its steps are the whole's or undone", "as it is over"])
def test_an_exit_in_the_moment_in_which_a_part_is_left_forgets_no_step_of_it(world: World, where: str, error: Exception | None) -> None:
    with pytest.raises(KeyboardInterrupt), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        with tx.nested("part") as part:
            part.do(world.add, 2, undo=world.remove)
            owner, name = (part._scope, "end") if where == "as it is over" else (part._run, "_end")

            def interrupted(*_: Any) -> None:
                delattr(owner, name)
                raise KeyboardInterrupt

            setattr(owner, name, interrupted)
            if error is not None:
                raise error
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert (world.manager.unfinished(), world.manager._ground.active) == ([], set())


def test_an_exit_while_what_a_part_has_left_is_noted_is_raised_and_all_else_is_committed(world: World) -> None:
    world.fails["remove 2"] = ConnectionError("down")
    with pytest.raises(KeyboardInterrupt, match="second"), world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=world.remove)
        with pytest.raises(KeyError), tx.nested("part") as part:
            part.do(world.add, 2, undo=world.remove)
            raise KeyError
        Interrupting(world, 2, after=False)
    assert world.manager._ground.active == set()
    with world.manager.transaction("t", "k") as tx:
        assert tx.is_replay
        assert tx.do(world.add, 1) == 1
    assert len(world.reported) == 1


def test_what_an_error_in_the_undoing_itself_leaves_can_be_resumed(world: World) -> None:
    """A defect, that is: in any case nobody has to end the process for it."""
    note = world.manager._ground.note

    def defect(*_: Any) -> None:
        world.manager._ground.note = note  # type: ignore[method-assign]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        tx.do(world.add, 2, undo=world.remove)
        world.manager._ground.note = defect  # type: ignore[method-assign]
        raise KeyError
    world.there.append(2)  # that it was undone stands nowhere, so it is undone again
    [resumed] = world.manager.resume()
    assert (resumed.left, world.there) == ((), [])


def run(body: Callable[[], Coroutine[Any, Any, Any]], world: World, *cancel_when: asyncio.Event | Callable[[], bool]) -> BaseException | None:
    """Runs ``body`` as a task that is cancelled each time one of ``cancel_when`` is so; returns what it raised."""

    async def main() -> BaseException | None:
        task = asyncio.ensure_future(body())
        for when in cancel_when:
            while not (when.is_set() if isinstance(when, asyncio.Event) else when()):
                await world.clock.run(0.25)
            task.cancel()
            await world.clock.run(0)
        while not task.done():
            await world.clock.run(0.25)
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    return asyncio.run(main())


@pytest.mark.parametrize("found", [None, missing], ids=["nobody knows", "it can be asked after"])
def test_a_cancellation_in_a_step_undoes_those_before_it(world: World, found: Any) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add_later, 1, undo=world.remove_later)
            await tx.do(world.add_later, 2, undo=world.remove)
            await tx.do(wait, undo=world.remove_later, found=found)

    assert isinstance(run(body, world, waiting), asyncio.CancelledError)
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert len(world.reported) == (found is None)


def test_a_cancellation_between_steps_undoes_them(world: World) -> None:
    waiting = asyncio.Event()

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add_later, 1, undo=world.remove_later)
            waiting.set()
            await asyncio.Event().wait()

    assert isinstance(run(body, world, waiting), asyncio.CancelledError)
    assert world.there == []
    assert world.reported == []


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_no_cancellation_stops_a_compensation_and_it_is_raised_afterwards(world: World, error: type[BaseException]) -> None:
    """However often: in the call, and in the pause before the next try."""
    undoing, go_on, tries = asyncio.Event(), asyncio.Event(), 0

    async def remove(what: Any) -> None:
        nonlocal tries
        tries += 1
        undoing.set()
        if tries == 1:
            raise ConnectionError
        await go_on.wait()
        world.remove(what)

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add_later, 1, undo=world.remove_later)
            await tx.do(world.add_later, 2, undo=remove)
            raise error

    def in_the_second_try() -> bool:
        return tries == 2

    def again() -> bool:
        go_on.set()
        return True

    assert isinstance(run(body, world, undoing, undoing, in_the_second_try, again), asyncio.CancelledError)
    assert tries == 2
    assert world.clock.monotonic() >= PAUSES_S[0]
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert world.manager.unfinished() == []


def test_a_time_limit_around_a_transaction_undoes_it(world: World) -> None:
    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                async with world.manager.transaction("t") as tx:
                    await tx.do(world.add_later, 1, undo=world.remove_later)
                    await asyncio.Event().wait()

    assert run(body, world) is None
    assert world.log == ["add 1", "remove 1"]


def test_a_step_that_another_task_has_under_way_is_waited_for_and_undone_first(world: World) -> None:
    """As gather leaves it: the block is over, and the step still runs."""
    go_on = asyncio.Event()

    async def slow() -> Any:
        await go_on.wait()
        return world.add(2)

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add_later, 1, undo=world.remove_later)
            task = asyncio.ensure_future(tx.do(slow, undo=world.remove_later))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.02, go_on.set)
            raise ValueError
        await task

    assert isinstance(run(body, world), ValueError)
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]


def test_a_step_that_another_thread_has_under_way_is_waited_for_and_undone_first(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Any:
        begun.set()
        assert go_on.wait(60)
        return world.add(2)

    with pytest.raises(ValueError, match="mine"), world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        thread = threading.Thread(target=tx.do, args=(slow,), kwargs={"undo": world.remove})
        thread.start()
        assert begun.wait(60)
        threading.Timer(0.02, go_on.set).start()
        raise ValueError("mine")
    thread.join()
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]


@pytest.mark.parametrize("error", [None, ValueError("mine")])
def test_an_exit_while_a_step_in_another_thread_is_waited_for_undoes_and_is_raised(world: World, error: Exception | None) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Idle(threading.Event):
        """Ctrl-C comes twice to whoever waits for it."""

        exits = 2

        def wait(self, timeout: float | None = None) -> bool:
            self.exits -= 1
            if self.exits >= 0:
                raise KeyboardInterrupt
            go_on.set()
            return super().wait(timeout)

    def slow() -> Any:
        begun.set()
        assert go_on.wait(60)
        return world.add(2)

    with pytest.raises(KeyboardInterrupt) as caught, world.manager.transaction("t") as tx:
        tx._run._idle = Idle()
        tx.do(world.add, 1, undo=world.remove)
        thread = threading.Thread(target=tx.do, args=(slow,), kwargs={"undo": world.remove})
        thread.start()
        assert begun.wait(60)
        if error is not None:
            raise error
    thread.join()
    assert caught.value.__cause__ is error
    assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
    assert world.manager.unfinished() == []


@pytest.mark.parametrize("how", ["cancelled", "thrown away"])
def test_a_block_that_is_ended_while_it_waits_for_a_step_of_another_task_is_undone(world: World, how: str) -> None:
    go_on = asyncio.Event()
    opened: list[Any] = []

    async def slow() -> Any:
        await go_on.wait()
        return world.add(2)

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            opened.append(tx)
            await tx.do(world.add, 1, undo=world.remove)
            opened.append(asyncio.ensure_future(tx.do(slow, undo=world.remove)))
            await asyncio.sleep(0)

    def is_left() -> bool:
        return len(opened) == 2 and not opened[0]._scope.is_open

    async def thrown_away() -> None:
        coroutine = body()
        while not is_left():
            coroutine.send(None)
            await asyncio.sleep(0)
        coroutine.close()
        opened[1].cancel()

    if how == "cancelled":
        assert isinstance(run(body, world, is_left, lambda: go_on.set() is None), asyncio.CancelledError)
        assert world.log == ["add 1", "add 2", "remove 2", "remove 1"]
        assert world.manager.unfinished() == []
    else:
        asyncio.run(thrown_away())
        assert world.log == ["add 1", "remove 1"]
        assert len(world.reported) == 1, "of the step that is under way nobody can say whether it happens"


@pytest.mark.parametrize("where", ["between steps", "in a step"])
def test_a_coroutine_that_is_thrown_away_undoes_without_its_loop(world: World, where: str) -> None:
    class Never:
        def __await__(self) -> Iterator[None]:
            yield

    async def never() -> None:
        await Never()

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add, 1, undo=world.remove)
            if where == "in a step":
                await tx.do(never, undo=world.remove_later, found=missing)
            await never()

    coroutine = body()
    coroutine.send(None)
    coroutine.close()
    assert world.log == ["add 1", "remove 1"]
    assert world.reported == []
    assert world.manager.unfinished() == []


def test_exits_of_a_compensation_do_not_end_the_event_loop_before_the_rest_is_undone(world: World) -> None:
    async def leave(_: Any) -> None:
        raise SystemExit(3)

    async def body() -> None:
        async with world.manager.transaction("t") as tx:
            await tx.do(world.add_later, 1, undo=world.remove_later)
            await tx.do(world.add_later, 2, undo=leave)
            raise ValueError

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        tasks.append(asyncio.ensure_future(body()))
        while not tasks[0].done():
            await world.clock.run(0.25)

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert isinstance(tasks[0].exception(), SystemExit)  # looked at, so asyncio complains of nothing when it is collected
    assert world.there == [2]
    assert len(world.reported) == 1


def test_a_cancellation_while_it_undoes_what_was_left_of_its_key_begins_nothing(world: World) -> None:
    world.fails["remove 1"] = ConnectionError("down")
    with pytest.raises(ValueError, match="mine"), world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=world.remove)
        raise ValueError("mine")
    world.fails.clear()
    undoing, go_on = asyncio.Event(), asyncio.Event()

    async def remove(what: Any) -> None:
        undoing.set()
        await go_on.wait()
        world.there.remove(what)

    world.manager.compensation("remove")(remove)
    world.manager._ground._lives.clear()  # as if another process had left it

    async def body() -> None:
        async with world.manager.transaction("t", "k"):
            raise AssertionError

    def again() -> bool:
        go_on.set()
        return True

    assert isinstance(run(body, world, undoing, again), asyncio.CancelledError)
    assert world.there == []
    assert world.manager.unfinished() == []
    assert world.manager._ground.active == set()
