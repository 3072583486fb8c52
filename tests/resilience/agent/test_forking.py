"""A forked child is another agent process: what it hears, what it tells, and what it leaves to its parent."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from resilience.agent.client import Agent, connect
from resilience.agent.spool import Spool
from resilience.degradation.gate import FeatureDisabledError
from resilience.degradation.levels import DegradationLevel
from tests.resilience.agent.conftest import FakeTray


def needs_fork(test: Callable[..., None]) -> Callable[..., None]:
    skip = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
    return pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")(skip(test))


@needs_fork
def test_a_forked_child_reports_too(tray: FakeTray, agent: Agent) -> None:
    def in_child() -> None:
        agent.report(RuntimeError("from the child"), "x")
        os._exit(0 if agent.flush(10) else 1)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    stored = {report["key"]: report["message"] for report in tray.reports}  # what is sent twice is stored once
    assert [*stored.values()] == ["from the child"]


@needs_fork
@pytest.mark.parametrize("level", [DegradationLevel.SAFE_MODE, DegradationLevel.MINIMAL])
def test_a_forked_child_hears_of_each_level_and_says_nothing_of_itself_but_what_it_did(
    tray: FakeTray, agent: Agent, level: DegradationLevel
) -> None:
    """It knew the level at its birth for ever, until it had something to report; a pool's workers went on in Safe Mode."""
    send = agent.protect("gmail_api", retry="none")(lambda: "sent")
    assert agent.loop("nightly").allowed
    with agent.loop("nightly"):
        pass
    agent.orders._answers.append({"id": "the parent's", "done": True, "what": ""})
    agent._enforcement._audit("gmail_api", "the parent's", refused=True)
    agent._link.stop()  # so that nothing of it is told before the fork
    told = len(tray.beats)

    def in_child() -> None:
        heard = threading.Event()
        agent.on_state(lambda state: heard.set() if state["level"] == level.name else None)
        if agent.state["level"] != level.name and not heard.wait(10):
            os._exit(1)
        try:
            send()
        except FeatureDisabledError:
            agent.close()
            os._exit(0)
        os._exit(2)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    tray.set_level(level)
    child.join(20)
    assert child.exitcode == 0
    audits = [audit for beat in tray.beats[told:] for audit in beat["audit"]]
    assert [audit["refused"] for audit in audits] == [1] * (level is DegradationLevel.SAFE_MODE)
    assert {beat["pid"] for beat in tray.beats[told:]} <= {child.pid}


@needs_fork
def test_a_forked_child_leaves_to_its_parent_what_is_its_parents(folder: Path, agent: Agent) -> None:
    """Whatever a thread of the parent's holds at that moment, and whatever it has yet to tell."""
    agent.report(RuntimeError("the parent's"), "x")
    agent.protect("gmail_api")
    agent.resilience.circuits.get_or_create("gmail_api").hold_open(9, "seen by the parent")
    assert agent.loop("nightly").allowed
    agent.orders._answers.append({"id": "1", "done": True, "what": ""})
    agent._enforcement._audit("gmail_api", "send", refused=True)
    held = threading.Event()
    let_go = threading.Event()

    def hold() -> None:
        with agent._making, agent._spool._lock, agent._enforcement._counting, agent.orders._changing, agent.loops._lock:
            held.set()
            let_go.wait(20)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(10)

    def in_child() -> None:
        news = agent._news()
        own = news.keys() <= {"circuits", "healers"} and all(not one["change"] for one in news["circuits"])
        agent.report(RuntimeError("the child's"), "x")
        with agent.loops.loop("nightly"):
            os._exit(0 if own and [b"the child's" in line for line in agent._spool.peek()] == [True] else 1)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join(20)
    let_go.set()
    assert child.exitcode == 0
    assert len(agent._spool.peek()) == 1


def test_an_agent_that_is_closed_is_not_kept_for_the_sake_of_forks(folder: Path) -> None:
    agent = connect("tester", folder=folder)
    agent.close()
    found = weakref.ref(agent)
    del agent
    gc.collect()
    assert found() is None


@needs_fork
def test_the_parents_spool_is_free_when_the_parent_has_died_and_its_child_lives(tmp_path: Path) -> None:
    parent = Spool(tmp_path)
    parent.append({"number": 1})
    (wait, go_on), (hear, say) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_on)
        parent.begin_anew()
        os.write(say, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.read(hear, 1)
    parent.close()
    finder = Spool(tmp_path)
    finder.adopt()
    adopted = finder.waiting
    for end in (go_on, wait, hear, say):
        os.close(end)
    os.waitpid(child, 0)
    finder.close()
    assert adopted
