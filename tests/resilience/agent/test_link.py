"""What goes up to the tray, what comes down, and what happens where it refuses, is not there, or is not itself."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.client import Agent, connect
from resilience.agent.link import Link
from resilience.agent.spool import Spool
from resilience.clock import SystemClock
from resilience.degradation.levels import DegradationLevel
from tests.resilience.agent.conftest import FakeTray, wait_for_level


def test_one_report_that_the_tray_refuses_does_not_hold_up_the_others(folder: Path, tray: FakeTray, agent: Agent) -> None:
    tray.answer = lambda reports: 422 if any("bad" in report["message"] for report in reports) else 200
    for word in ("good 1", "bad", "good 2", "good 3"):
        agent.report(RuntimeError(word), "x")
    assert agent.flush(10)
    assert sorted(report["message"] for report in tray.reports) == ["good 1", "good 2", "good 3"]
    assert b'"bad"' in (folder / "spool" / "refused.jsonl").read_bytes()


def test_what_the_tray_cannot_store_now_is_sent_again(tray: FakeTray, agent: Agent) -> None:
    answers = iter([503, 500, 200])
    tray.answer = lambda _: next(answers, 200)
    agent.report(RuntimeError("x"), "x")
    assert agent.flush(10)
    assert len(tray.reports) == 1


def test_without_a_tray_everything_is_allowed_and_waits_on_disk(folder: Path, agent: Agent) -> None:
    @agent.protect("gpt-5.2")
    def ask() -> str:
        return "answer"

    assert ask() == "answer"
    agent.report(RuntimeError("x"), "x")
    assert not agent.flush(0.05)
    assert len(list((folder / "spool").glob("*.spool"))) == 1


def test_an_endpoint_that_is_not_on_this_machine_gets_nothing(folder: Path, tray: FakeTray) -> None:
    """Nobody who can write one file may have errors sent elsewhere."""
    port = tray.server.server_port
    (folder / "endpoint.json").write_text(json.dumps({"url": f"http://localhost.evil.example:{port}", "token": "secret"}))
    agent = connect("tester", folder=folder)
    agent.report(RuntimeError("x"), "x")
    assert not agent.flush(0.05)
    agent.close()
    assert tray.reports == []


def test_it_says_that_it_is_alive_and_goodbye(tray: FakeTray, folder: Path) -> None:
    agent = connect("tester", folder=folder)
    wait_for_level(agent, DegradationLevel.FULL)
    agent.report(RuntimeError("x"), "x")
    agent.flush(10)
    agent.close()
    assert tray.beats[0] == {"agent": "tester", "pid": os.getpid(), "leaving": False}
    assert tray.beats[-1]["leaving"] is True


@pytest.mark.parametrize(("status", "times"), [(422, 1), (503, 2)])
def test_news_that_winclaw_will_never_take_are_told_once_and_the_agent_lives(folder: Path, status: int, times: int) -> None:
    """They were put back and told again, and every heartbeat with them was refused: the agent was lost for good."""
    beats: list[dict[str, Any]] = []

    class Up:
        def ask(self, _method: str, _path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            beats.append(body)
            return (status, {}) if "orders" in body else (200, {})

    agent = connect("tester", folder=folder)
    agent._link.stop()
    agent._link._up = Up()  # type: ignore[assignment]
    agent.orders.give_back([{"id": "1", "done": True, "what": "odd"}])
    agent._link._beat(leaving=False)
    agent._link._beat(leaving=False)
    agent.close()
    assert sum("orders" in beat for beat in beats) == times
    assert ("orders" in beats[-1]) == (status == 503)


def test_a_state_that_could_not_be_taken_over_is_asked_for_again(folder: Path) -> None:
    """It was held for known; the level of before stayed in force until the next one came."""
    asked: list[str] = []
    taken: list[int] = []

    class Down:
        def ask(self, _method: str, path: str) -> tuple[int, dict[str, Any]]:
            asked.append(path.rpartition("version=")[2])
            if len(asked) == 3:
                link._stopping.set()
            return 200, {"state": {"version": 7}, "policy": {"heartbeat_s": 5}}

        def close(self) -> None:
            """Nothing is open."""

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    def take_over(answer: dict[str, Any]) -> None:
        taken.append(answer["state"]["version"])
        if len(taken) == 1:
            raise RuntimeError("it stumbles")

    folder.mkdir()
    link = Link("a", folder, Spool(folder), SystemClock(), take_over, dict, lambda _: None, lambda: None)
    link._down, link._stopping = Down(), Stopping()  # type: ignore[assignment]
    link._listen()
    assert asked == ["-1", "-1", "7"]
    assert taken == [7, 7]
