"""Orders as an agent's process obeys them: which are for it, and what it tells of what it can do."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.orders import AgentOrders
from resilience.agent.recovering import AgentRecovery
from resilience.recovery.checkpoints import CheckpointManager
from resilience.testing import FakeClock


class Desk:
    """The orders of one process; the last one of each test is ``garbage_collect``, so that all before it are over."""

    def __init__(self, folder: Path) -> None:
        clock = FakeClock()
        self.answered = threading.Event()
        self.recovery = AgentRecovery(CheckpointManager(folder, clock=clock), clock, lambda *_: None, lambda: None)
        self.recovery.register_recovery_handler("session_*", lambda _: None)
        self.recovery.save([1], "session_7", "session")
        self.recovery.save([1], "memory")
        self.orders = AgentOrders(lambda *_: "", self._news, lambda: self.recovery)

    def _news(self) -> None:
        if any(one["id"] == "last" for one in self.orders._answers):
            self.answered.set()

    def answers(self, *orders: dict[str, Any]) -> dict[str, bool]:
        given = [{"id": str(number), "parameters": {}, **one} for number, one in enumerate(orders)]
        self.orders.take([*given, {"id": "last", "action": "garbage_collect", "component": "*", "parameters": {}}])
        assert self.answered.wait(10)
        return {one["id"]: one["done"] for one in self.orders.take_answers() if one["id"] != "last"}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_process_that_cannot_restore_something_leaves_the_answer_to_one_that_can(desk: Desk) -> None:
    """Orders reach all processes of a name; the first "I cannot" would otherwise decide for the one that can."""
    restore = {"action": "restore", "component": "memory"}
    assert desk.answers(restore, {**restore, "component": "session_7"}) == {"1": True}
    other = AgentOrders(lambda *_: "", lambda: None)
    assert not other._is_for_this_process(restore)


def test_an_order_for_other_processes_is_not_obeyed(desk: Desk) -> None:
    restore = {"action": "restore", "component": "session_7"}
    reset = {"action": "reset_connections", "component": "db"}
    said = desk.answers(
        {**restore, "pids": [os.getpid() + 1]}, {**restore, "pids": [os.getpid()]}, {**reset, "pids": []}, {**reset, "pids": [os.getpid()]}
    )
    assert said == {"1": True, "3": False}


def test_an_order_of_healing_that_cannot_be_obeyed_is_answered_as_ever(desk: Desk) -> None:
    assert desk.answers({"action": "clear_cache", "component": "db"}) == {"0": False}


def test_what_winclaw_is_not_told_of_for_want_of_room_is_logged_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(98):
        desk.recovery.register_recovery_handler(f"m{number}", lambda _: None)
    with caplog.at_level(logging.WARNING, "winclaw.agent"):
        assert len(desk.orders.reports()) == 200
        assert caplog.messages == []
        desk.recovery.register_recovery_handler("one more", lambda _: None)
        desk.orders.reports()
        assert len(desk.orders.reports()) == 200
    [said] = caplog.messages
    assert said.startswith("WinClaw is not told of 2 of this process's healers, from restore:one more on")
