"""What is said before Safe Mode is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dashboard.present.leaving import leaving_preview
from resilience.config.settings import Settings
from resilience.core.presence import NOBODY, Presence
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, Latch, Wanted, at_first, choose
from resilience.degradation.policy import Loop
from resilience.events import LoopReport
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from tests.dashboard.present.conftest import NOW

LOOPS = {"memory": Loop(tier="basic"), "planning": Loop(tier="core"), "mails": Loop(tier="all"), "tools": Loop(tier="all")}


def safe(waiting: Mapping[str, int] | None = None, agents: Any = NOBODY, **wanted: Any) -> State:
    """The state in Safe Mode, chosen by hand; what the rules want stands in ``wanted``."""
    standing = choose(replace(at_first(NOW), wanted=Wanted(**wanted)), DegradationLevel.SAFE_MODE, actor="you", now=NOW)
    return State(standing=standing, agents=agents, waiting=waiting or {}, settings=Settings(loops=LOOPS))


def agent(name: str, pid: int, alive: bool = True, paused: str = "") -> Presence:
    loops = (LoopReport(loop=paused, state="paused"),) if paused else ()
    return Presence(name=name, alive=alive, pid=pid, version=None, since=NOW, beat_at=NOW, beat_s=0, loops=loops)


def test_it_is_said_whole_in_order() -> None:
    agents = {(one.name, one.pid): one for one in (agent("b", 1), agent("a", 1, paused="planning"), agent("a", 2), agent("gone", 1, alive=False))}
    state = safe({"twilio_api": 1, "gmail_api": 3}, agents)
    assert leaving_preview(state, DegradationLevel.DEGRADED_LLM) == {
        "level": "DEGRADED_LLM",
        "will": [
            "The level becomes Degraded LLM, pinned. Without GPT-5.2; the local model and the core loops go on.",
            "Loops that may run: memory, planning; planning waited for it.",
            "Messages that are sent, little by little: 4 (gmail_api 3, twilio_api 1).",
            "Agents that are told at once: a, b.",
        ],
        "agents": ["a", "b"],
        "loops": ["memory", "planning"],
        "waiting": {"twilio_api": 1, "gmail_api": 3},
    }


def test_handed_back_to_the_rules_it_says_what_they_want_and_what_is_no_longer_held() -> None:
    latch = Latch("security", DegradationLevel.SAFE_MODE, "eleven security errors", NOW)
    said = leaving_preview(safe(latches=(latch,)), None)
    assert said["level"] == "FULL"
    assert said["will"][:2] == [
        "The level becomes Full by the rules. Everything is allowed.",
        "No longer held: eleven security errors",
    ]
    assert leaving_preview(safe(latches=(latch,)), DegradationLevel.FULL)["will"][1].startswith("Loops that may run")
    wanted = leaving_preview(safe(level=DegradationLevel.MINIMAL, rule="disk", cause="the disk is full"), None)
    assert wanted["will"][0].startswith("The level becomes Minimal by the rules. Only the core loop")


@pytest.mark.parametrize(
    ("level", "loops"),
    [
        (DegradationLevel.FULL, "memory, planning, mails, tools"),
        (DegradationLevel.LIMITED_EXTERNAL, "memory, planning"),
        (DegradationLevel.MINIMAL, "memory"),
        (DegradationLevel.SAFE_MODE, "none"),
    ],
)
def test_the_loops_that_may_run_are_those_of_the_level(level: DegradationLevel, loops: str) -> None:
    [said] = [one for one in leaving_preview(safe(agents={("a", 1): agent("a", 1, paused="mails")}), level)["will"] if one.startswith("Loops")]
    waited = "; mails waited for it" if level is DegradationLevel.FULL else ""
    assert said == f"Loops that may run: {loops}{waited}."


@pytest.mark.parametrize(("number", "said"), [(10, ", ".join(f"l{n}" for n in range(10))), (11, "all 11")])
def test_many_loops_are_counted(number: int, said: str) -> None:
    state = safe()
    known = {f"l{n}": Loop(tier="all") for n in range(number)}
    preview = leaving_preview(State(standing=state.standing, settings=Settings(loops=known)), DegradationLevel.FULL)
    assert f"Loops that may run: {said}." in preview["will"]


@pytest.mark.parametrize(
    ("waiting", "level", "said"),
    [
        ({}, DegradationLevel.FULL, "No message waits to be sent."),
        ({"gmail_api": 2}, DegradationLevel.FULL, "Messages that are sent, little by little: 2 (gmail_api 2)."),
        ({"gmail_api": 2}, DegradationLevel.DEGRADED_LLM, "Messages that are sent, little by little: 2 (gmail_api 2)."),
        ({"gmail_api": 2, "twilio_api": 3}, DegradationLevel.LIMITED_EXTERNAL, "Messages that go on waiting: 5."),
        ({"gmail_api": 2}, DegradationLevel.MINIMAL, "Messages that go on waiting: 2."),
    ],
)
def test_what_becomes_of_the_messages(waiting: dict[str, int], level: DegradationLevel, said: str) -> None:
    assert said in leaving_preview(safe(waiting), level)["will"]


def test_the_processes_that_safe_mode_holds_start_again() -> None:
    kept, stopped = Process(command=("x",), in_safe_mode="keep"), Process(command=("x",))
    known = {"a": stopped, "b": stopped, "c": kept, "d": stopped}
    states = {"a": "waiting", "b": "stopped", "c": "waiting", "d": "waiting", "gone": "waiting"}
    told = {name: ProcessStatus(name=name, state=ProcessState(one), since=NOW, why="") for name, one in states.items()}
    state = State(standing=safe().standing, processes=told, settings=Settings(processes=known))
    assert "Processes that start again: a, d." in leaving_preview(state, DegradationLevel.MINIMAL)["will"]
    assert not [one for one in leaving_preview(state, DegradationLevel.SAFE_MODE)["will"] if "Processes" in one]
    assert not [one for one in leaving_preview(safe(), None)["will"] if "Processes" in one]


def test_where_nobody_is_there_that_is_said() -> None:
    said = leaving_preview(safe(agents={("gone", 1): agent("gone", 1, alive=False)}), None)
    assert said["will"][-1] == "No agent is connected just now."
    assert said["agents"] == []
