"""What dead processes left: who undoes it, when, with what, and what is said where nobody can."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience import locked
from resilience.clock import SystemClock
from resilience.testing import immediate_retries
from resilience.transactions.file import TransactionBusyError, unfinished_in
from resilience.transactions.ground import GRACE_S
from resilience.transactions.manager import TransactionManager
from resilience.transactions.steps import CompensationFailedError
from tests.resilience.transactions.transacting import NoThread, World


def left_behind(world: World, body: Any, name: str = "t", key: str | None = None) -> TransactionManager:
    """Runs ``body(tx)`` in a process that dies then: its lock goes, and nothing is written any more."""
    process = world.process()
    tx = process.transaction(name, key).__enter__()
    with contextlib.suppress(DiesError):
        body(tx)
    held = process._ground.owners._held
    assert held is not None
    held.close()
    process._ground.file.close()
    return process


class DiesError(BaseException):
    """The process ends here."""


def dies_in_its_third(world: World, **chosen: Any) -> Any:
    """Two steps that are done, and one in which the process dies, whose key is *third*."""

    def die(what: int) -> None:
        world.add(what)
        raise GeneratorExit  # nothing is written of it, as of a process that is gone

    def body(tx: Any) -> None:
        tx.do(world.add, 1, undo=world.remove)
        tx.do(world.add, 2, undo=world.remove)
        tx._run._ground.file.record = _once(tx._run._ground.file.record)
        with contextlib.suppress(GeneratorExit):
            tx.do(die, 3, key="third", **chosen)

    return body


def _once(record: Any) -> Any:
    """``record``, which works once more."""
    calls: list[Any] = []

    def only_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            return record(*args)
        raise DiesError

    return only_once


def test_what_a_dead_process_left_is_undone_by_the_next_newest_first(world: World) -> None:
    left_behind(world, dies_in_its_third(world), "send-report")
    [seen] = unfinished_in(world.folder)
    assert (seen.state, [left.number for left in seen.left]) == ("abandoned", [2, 1])
    world.manager.look()
    assert world.log[-2:] == ["remove 2", "remove 1"]
    assert world.manager.unfinished() == []
    assert world.reported == []


def test_what_a_live_process_has_under_way_is_left_to_it(world: World) -> None:
    other = world.process()
    with other.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        world.manager.look()
        assert world.manager.resume() == other.resume() == []
        other.look()
        assert world.there == [1]
        [seen] = world.manager.unfinished()
        with pytest.raises(ValueError, match="under way in another process"):
            world.manager.dismiss(seen.id)
        with pytest.raises(ValueError, match="is under way"):
            other.dismiss(seen.id)
    other.close()


def test_it_waits_until_all_its_compensations_are_registered(world: World) -> None:
    """Undoing half of them would be out of order; nobody is told before there was time to register them."""
    undone: list[Any] = []
    process = world.process()
    process.compensation("recall")(undone.append)
    tx = process.transaction("t").__enter__()
    tx.do(world.add, 1, undo=world.remove)
    tx.do(world.add, 2, undo=undone.append)
    assert process._ground.owners._held is not None
    process._ground.owners._held.close()
    process._ground.file.close()
    world.manager.look()
    world.clock.advance(GRACE_S - 1)
    world.manager.look()
    [seen] = world.manager.resume()
    assert (seen.undone, [(left.number, left.why) for left in seen.left]) == ((), [(2, "recall is not registered in this process")])
    assert world.reported == []
    world.clock.advance(2)
    for _ in range(3):
        world.manager.look()
    late = world.process()
    world.clock.advance(GRACE_S + 1)
    late.look()
    [(error, component, _)] = world.reported
    assert component == "t"
    assert "recall is not registered" in str(error)
    assert unfinished_in(world.folder)[0].state == "left"
    late.compensation("recall")(lambda what: undone.append(f"recalled {what}"))
    late.look()
    assert undone == ["recalled 2"]
    assert (world.there, world.manager.unfinished(), len(world.reported)) == ([2], [], 1)
    late.close()


@pytest.mark.parametrize("happened", [True, False])
def test_a_step_in_which_the_process_died_is_asked_after(world: World, happened: bool) -> None:
    def found(key: str) -> Any:
        assert key == "third"
        if not happened:
            raise LookupError
        return 3

    left_behind(world, dies_in_its_third(world, undo=world.remove))
    if not happened:
        world.there.remove(3)
    world.manager.compensation("remove", found=found)(world.remove)
    [done] = world.manager.resume()
    assert len(done.undone) == 2 + happened
    assert (world.there, done.left) == ([], ())


def test_a_step_of_which_nobody_knows_whether_it_happened_is_left_to_a_person_once(world: World) -> None:
    left_behind(world, dies_in_its_third(world, undo=world.remove), "send-report")
    for _ in range(3):
        world.manager.look()
    assert world.there == [3]
    [(error, *_)] = world.reported
    assert isinstance(error, CompensationFailedError)
    [left] = error.left
    assert (left.number, left.key, left.in_doubt) == (3, "third", True)
    world.manager.close()
    again = world.process()
    again.look()
    assert len(world.reported) == 1, "a start that can do nothing new says nothing new"
    [resumed] = again.resume()
    assert resumed.left == error.left
    assert len(world.reported) == 1
    assert again.dismiss(error.id)
    assert again.unfinished() == []
    assert world.there == [3], "what a person has seen to is not touched"
    again.close()


def test_a_function_that_was_not_registered_is_named_as_lost_and_the_others_run(world: World) -> None:
    def private(what: Any) -> None:
        raise AssertionError

    def body(tx: Any) -> None:
        tx.do(world.add, 1, undo=world.remove)
        tx.do(world.add, 2, undo=private)
        tx.do(world.add, 3, undo=world.remove)

    left_behind(world, body)
    world.manager.look()
    assert world.there == [2]
    [(error, *_)] = world.reported
    assert "private is not registered, and was known to the process that ended only" in str(error)


def test_what_failed_at_one_start_is_tried_again_at_the_next(world: World) -> None:
    left_behind(world, dies_in_its_third(world))
    world.fails["remove 1"] = ConnectionError("down")
    world.manager.look()
    world.manager.look()
    assert len(world.reported) == 1
    world.manager.close()
    second = world.process()
    second.look()
    assert len(world.reported) == 2
    second.close()
    world.fails.clear()
    third = world.process()
    third.look()
    assert world.there == [3]  # which needs no undoing
    assert third.unfinished() == []
    third.close()


def test_of_several_processes_one_undoes(world: World) -> None:
    """A lock is asked who lives, one row says who has it: each step is undone once."""
    for number in range(4):
        left_behind(world, lambda tx, number=number: tx.do(world.add, number, undo=world.remove))
    others = [world.process() for _ in range(4)]
    barrier, done = threading.Barrier(4), list[Any]()

    def resume(manager: TransactionManager) -> None:
        barrier.wait(60)
        done.extend(manager.resume())

    threads = [threading.Thread(target=resume, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(word for word in world.log if word.startswith("remove")) == [f"remove {number}" for number in range(4)]
    assert world.there == []
    for one in others:
        one.close()


def test_a_key_that_a_dead_process_left_is_undone_first_then_begun_anew(world: World) -> None:
    left_behind(world, dies_in_its_third(world), key="k")
    with world.manager.transaction("t", "k") as tx:
        assert world.log[-2:] == ["remove 2", "remove 1"]
        tx.do(world.add, 4, undo=world.remove)
    assert world.there == [3, 4]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_key_that_this_processs_own_thread_is_undoing_is_waited_for(world: World, kind: str) -> None:
    left_behind(world, dies_in_its_third(world), key="k")
    undoing, go_on = threading.Event(), threading.Event()

    def remove(what: Any) -> None:
        undoing.set()
        assert go_on.wait(60)
        world.remove(what)

    world.manager.compensation("remove")(remove)
    thread = threading.Thread(target=world.manager.look)
    thread.start()
    assert undoing.wait(60)
    threading.Timer(0.05, go_on.set).start()

    async def main() -> None:
        async with world.manager.transaction("t", "k") as tx:
            await tx.do(world.add, 4, undo=world.remove)

    if kind == "async":
        asyncio.run(main())
    else:
        with world.manager.transaction("t", "k") as tx:
            tx.do(world.add, 4, undo=world.remove)
    thread.join()
    assert world.log[-3:] == ["remove 2", "remove 1", "add 4"]
    assert world.there == [3, 4]


def test_what_is_taken_up_before_its_block_is_left_is_undone_by_one_alone(world: World) -> None:
    undoing, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def remove(what: Any) -> None:
        if not threads:
            raise ConnectionError
        undoing.set()
        assert go_on.wait(60)
        world.remove(what)

    def report(*_: Any) -> None:
        threads.append(threading.Thread(target=manager.resume))
        threads[0].start()
        assert undoing.wait(60)

    manager = NoThread(world.folder, world.clock, agent="clerk", report=report)
    with pytest.raises(KeyError), manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=remove)
        raise KeyError
    assert manager._ground.resume() == []
    go_on.set()
    threads[0].join()
    assert (world.there, manager.unfinished(), manager._ground.active) == ([], [], set())
    manager.close()


def test_what_is_taken_up_while_it_is_reported_is_undone_by_one_alone(world: World) -> None:
    """Whoever has tried it before does not take it from those who try it now."""
    left_behind(world, lambda tx: tx.do(world.add, 1, undo=world.remove))
    undoing, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def remove(what: Any) -> None:
        if not threads:
            raise ConnectionError
        assert not undoing.is_set()
        undoing.set()
        assert go_on.wait(60)
        world.remove(what)

    def report(*_: Any) -> None:
        threads.append(threading.Thread(target=manager._ground.resume))
        threads[0].start()
        assert undoing.wait(60)

    manager = NoThread(world.folder, world.clock, agent="clerk", report=report)
    manager.compensation("remove")(remove)
    manager.look()
    assert manager.resume() == []
    go_on.set()
    threads[0].join()
    assert (world.log, world.there, manager.unfinished(), manager._ground.active) == (["add 1", "remove 1"], [], [], set())
    manager.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_compensation_that_begins_what_it_undoes_does_not_wait_for_itself(world: World, kind: str) -> None:
    left_behind(world, lambda tx: tx.do(world.add, 1, undo=world.remove), key="k")
    told: list[BaseException] = []

    def remove(what: Any) -> None:
        with pytest.raises(TransactionBusyError) as caught, world.manager.transaction("t", "k"):
            raise AssertionError
        told.append(caught.value)
        world.remove(what)

    async def remove_later(what: Any) -> None:  # in a loop and a thread of its own
        remove(what)

    world.manager.compensation("remove")(remove if kind == "sync" else remove_later)
    world.manager.look()
    assert len(told) == 1
    assert world.there == []


def test_who_lists_what_is_unfinished_makes_nobody_busy(world: World) -> None:
    """Who asks whether a process lives holds the lock of a dead one for a moment; whoever begins looks once more."""
    dead = left_behind(world, lambda tx: tx.do(world.add, 1, undo=world.remove), key="k")
    [path] = world.folder.glob(f"clerk.{dead._ground.owners._me}.alive")
    held = locked.take(path)
    assert held is not None
    sleep = world.clock.sleep

    def listed(seconds: float) -> None:
        sleep(seconds)
        locked.let_go(held)

    world.clock.sleep = listed  # type: ignore[method-assign]
    with world.manager.transaction("t", "k"):
        assert world.there == []


def test_a_key_whose_compensations_are_not_registered_yet_is_refused_and_nothing_of_it_undone(world: World) -> None:
    left_behind(world, dies_in_its_third(world), key="k")
    del world.manager._ground.registered["remove"]
    with pytest.raises(CompensationFailedError, match="not registered in this process"), world.manager.transaction("t", "k"):
        pass
    assert world.there == [1, 2, 3]
    world.manager.compensation("remove")(world.remove)
    with world.manager.transaction("t", "k"):
        pass
    assert world.there == [3]


def test_nothing_grows_without_bound(world: World) -> None:
    for number in range(5):
        left_behind(world, lambda tx: tx.do(world.add, 1, undo=lambda _: None), key=str(number))
    world.manager.look()
    assert len(world.manager.unfinished()) == 5
    assert len(list(world.folder.glob("*.alive"))) == 1, "the locks of the dead are removed"
    (world.folder / "clerk.b.0123456789abcdef.alive").touch()  # another agent's
    process = world.process()
    process._ground.me()
    assert process._ground.owners._held is not None
    process._ground.owners._held.close()
    world.clock.advance(366 * 86_400)
    world.manager.look()
    assert world.manager.unfinished() == []
    assert sorted(path.name for path in world.folder.glob("*.alive")) == sorted([f"clerk.{world.manager._ground.me()}.alive", "clerk.b.0123456789abcdef.alive"])
    world.manager.close()
    assert [path.name for path in world.folder.glob("*.alive")] == ["clerk.b.0123456789abcdef.alive"]


def test_closing_in_the_middle_keeps_the_lock_until_the_process_ends(world: World) -> None:
    other = world.process()
    with world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        world.manager.close()
        assert other.resume() == []
    assert world.there == [1]
    assert other.unfinished() == []
    other.close()
    assert list(world.folder.glob("*.alive")) == [], "with the last block's end"
    assert world.manager._ground.file._file._conn is None


def test_nothing_is_made_on_disk_before_it_is_needed(tmp_path: Path) -> None:
    world = World(tmp_path / "new")
    world.manager.look()
    assert world.manager.resume() == world.manager.unfinished() == []
    world.close()
    assert not (tmp_path / "new").exists()


def test_the_thread_undoes_what_was_left_as_soon_as_it_can(world: World) -> None:
    left_behind(world, dies_in_its_third(world))
    undone = threading.Event()

    async def remove(what: Any) -> None:
        world.remove(what)
        if what == 1:
            undone.set()

    manager = TransactionManager(world.folder, SystemClock(), agent="clerk")
    manager.compensation("remove")(remove)
    assert undone.wait(60)
    assert "winclaw-transactions" in {thread.name for thread in threading.enumerate()}
    manager.close()
    assert manager.unfinished() == []


def test_a_compensation_that_exits_does_not_end_the_thread(world: World, caplog: pytest.LogCaptureFixture) -> None:
    left_behind(world, lambda tx: tx.do(world.add, 1, undo=world.remove))
    left_behind(world, lambda tx: tx.do(world.add, 2, undo=world.remove))
    undone = threading.Event()
    manager = TransactionManager(world.folder, SystemClock(), agent="clerk")

    def remove(what: Any) -> None:
        if what == 2:
            undone.set()
            return
        raise SystemExit

    with immediate_retries():
        manager.compensation("remove")(remove)
        assert _woken_until(manager, undone)
        manager.close()
    assert "an unexpected fault in the transactions" in caplog.text


def _woken_until(manager: TransactionManager, event: threading.Event) -> bool:
    for _ in range(600):
        manager._wake()
        if event.wait(0.1):
            return True
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_transaction_to_its_parent(world: World) -> None:
    with world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=world.remove)
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = _in_child(world, tx)
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        other = world.process()
        assert other.resume() == [], "the parent's lock is held as before"
        other.close()
    with world.manager.transaction("t", "k") as tx:
        assert tx.is_replay


def _in_child(world: World, tx: Any) -> int:
    try:
        tx.do(world.add, 2, undo=world.remove)
    except RuntimeError:
        pass
    else:
        return 2
    tx.__exit__(SystemExit, SystemExit(), None)
    if world.there != [1]:
        return 3
    if world.manager.resume() != []:
        return 4
    try:
        with world.manager.transaction("t", "k"):
            return 5
    except TransactionBusyError:
        pass
    with world.manager.transaction("own") as own:
        own.do(world.add, 3, undo=world.remove)
    return 0


@pytest.mark.parametrize("days", [0, -1, 4000, float("nan")])
def test_an_impossible_time_for_keys_is_refused(tmp_path: Path, days: float) -> None:
    with pytest.raises(ValueError, match="keep_days"):
        TransactionManager(tmp_path, keep_days=days)


def test_a_generator_undoes_nothing(world: World) -> None:
    with pytest.raises(TypeError, match="generator"):

        @world.manager.compensation("x")
        def undo(_: object) -> Iterator[None]:
            yield
