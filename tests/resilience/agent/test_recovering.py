"""An agent's own states: saved as time passes, restored on order, and what goes wrong is reported."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.orders import AgentOrders
from resilience.agent.recovering import AgentRecovery
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing
from resilience.recovery.restoring import NotRestoredError
from resilience.testing import FakeClock


class Desk:
    """The recovery of an agent, its orders, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.told, self.news = FakeClock(), list[tuple[str, str, str]](), 0
        self.asked = threading.Semaphore(0)
        saved = CheckpointManager(folder, clock=self.clock)
        self.recovery = AgentRecovery(saved, self.clock, lambda error, *what: self.told.append((str(error), *what)), self._news)
        self.orders = AgentOrders(lambda *_: "", self._news, lambda: self.recovery)
        self.memory: list[int] = []

    def _news(self) -> None:
        self.news += 1

    def snapshot(self) -> list[int]:
        self.asked.release()
        return list(self.memory)

    def remember(self, state: Any) -> None:
        self.memory = list(state)

    def saved(self) -> int:
        return len(self.recovery.checkpoint_manager.checkpoints())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "checkpoints")
    yield one
    one.recovery.close()


def test_what_has_changed_is_saved_every_five_minutes(desk: Desk) -> None:
    desk.recovery.register_snapshotter("memory", desk.snapshot)
    assert desk.recovery.look() == 300.0
    desk.clock.advance(299)
    assert desk.recovery.look() == 1.0
    desk.clock.advance(1)
    assert desk.recovery.look() == 300.0
    assert desk.saved() == 1
    desk.clock.advance(300)
    desk.recovery.look()
    assert desk.saved() == 1
    desk.memory.append(1)
    desk.clock.advance(300)
    desk.recovery.look()
    assert desk.saved() == 2
    assert desk.recovery.checkpoint_manager.checkpoints()[0].metadata == {"made": "automatically"}


def test_another_interval_holds_at_once_also_for_the_thread_that_waits(desk: Desk) -> None:
    desk.recovery.register_snapshotter("memory", desk.snapshot)
    desk.clock.advance(20)
    desk.recovery.configure(Checkpointing(auto_checkpoint_interval=20.0))
    assert desk.asked.acquire(timeout=20)


def test_without_a_snapshotter_there_is_no_thread(desk: Desk) -> None:
    desk.recovery.save([1], "memory")
    desk.recovery.register_recovery_handler("memory", desk.remember)
    assert desk.recovery._thread is None


def test_a_restorer_is_told_of_as_what_this_process_can_do(desk: Desk) -> None:
    desk.recovery.register_recovery_handler("memory", desk.remember)
    desk.recovery.register_recovery_handler("session_*", desk.remember)
    assert desk.news == 2
    assert desk.orders.reports()[2:] == [
        "restore:memory", "rollback_version:memory", "restore:session_*", "rollback_version:session_*",
    ]  # fmt: skip


def test_an_order_restores_and_says_what_it_did(desk: Desk) -> None:
    desk.recovery.register_recovery_handler("memory", desk.remember)
    first = desk.recovery.save([1], "memory")
    desk.recovery.save([2], "memory", "session")
    assert first is not None
    said = desk.orders._obey("restore", "memory", {"checkpoint": first.id})
    assert said == f"memory is as it was at 2026-01-01 00:00:00 UTC ({first.id}), and was looked at"
    assert desk.memory == [1]
    desk.orders._obey("restore", "memory", {"level": "session"})
    assert desk.memory == [2]
    desk.orders._obey("restore", "memory", {"level": "component"})
    assert desk.memory == [1]
    desk.clock.advance(1)
    desk.recovery.save([3], "memory")
    desk.orders._obey("rollback_version", "memory", {})
    assert desk.memory == [3]


def test_an_order_that_cannot_be_obeyed_fails(desk: Desk) -> None:
    with pytest.raises(NotRestoredError, match="nothing here can restore memory"):
        desk.orders._obey("restore", "memory", {})
    with pytest.raises(LookupError, match="nothing here can restore memory"):
        AgentOrders(lambda *_: "", lambda: None)._obey("restore", "memory", {})


def test_a_healer_of_ones_own_goes_before_the_restorer(desk: Desk) -> None:
    """Who has registered both wants the healer to roll back, and the restorer to restore."""
    desk.recovery.register_recovery_handler("memory", desk.remember)
    desk.orders.register("rollback_version", "memory", lambda: "my own way")
    assert desk.orders._obey("rollback_version", "memory", {}) == "my own way"


def test_a_damaged_checkpoint_is_reported(desk: Desk) -> None:
    desk.recovery.register_recovery_handler("memory", desk.remember)
    desk.recovery.save([1], "memory")
    saved = desk.recovery.save([2], "memory")
    assert saved is not None
    [path] = desk.recovery.checkpoint_manager.folder.rglob(f"{saved.id}.checkpoint")
    path.write_bytes(b"broken")
    desk.recovery.restore("memory")
    assert desk.memory == [1]
    [(said, component, what)] = desk.told
    assert (component, what) == ("checkpoints", "load")
    assert "is damaged" in said


def test_a_report_that_fails_ends_nothing(tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no reports today")

    clock = FakeClock()
    recovery = AgentRecovery(CheckpointManager(tmp_path / "c", clock=clock), clock, fails, lambda: None)
    recovery.register_snapshotter("broken", lambda: {}["x"])
    clock.advance(300)
    assert recovery.look() == 300.0
    recovery.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_to_its_parent_what_both_have(desk: Desk) -> None:
    desk.recovery.register_snapshotter("memory", desk.snapshot)
    if (child := os.fork()) == 0:
        desk.recovery.begin_anew()
        is_alone = desk.recovery._thread is None
        desk.recovery.register_snapshotter("own", desk.snapshot)
        os._exit(0 if is_alone and desk.recovery._thread is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_after_close_no_thread_begins(desk: Desk) -> None:
    desk.recovery.close()
    desk.recovery.register_snapshotter("memory", desk.snapshot)
    assert desk.recovery._thread is None


def test_in_a_forked_child_no_critical_call_of_its_parent_is_under_way(desk: Desk) -> None:
    def shared() -> set[str]:
        return set(desk.recovery.before(["memory"], "pay", desk.snapshot).shared)

    assert [shared(), shared()] == [set(), {"memory"}]
    desk.recovery.begin_anew()
    assert shared() == set()
