"""What is so now, in words: the level, loops, circuits, processes and agents."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.present import now
from resilience.degradation.levels import DegradationLevel, Wanted
from resilience.detection.call_counts import Calls
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from tests.dashboard.present.conftest import NOW
from tests.tray.states import a_state


@pytest.mark.parametrize("level", DegradationLevel)
def test_the_band_says_level_cause_and_tone(level: DegradationLevel) -> None:
    band = now.band(a_state(level).view(NOW))
    assert (band["number"], band["title"], band["cause"]) == (level.value, level.title, "Because.")


def test_the_band_is_all_that_a_page_shows_of_the_level() -> None:
    wanted = Wanted(level=DegradationLevel.MINIMAL, cause="The disk is full.")
    state = a_state(DegradationLevel.LIMITED_EXTERNAL, pinned=True, needs=1)
    state = replace(state, standing=replace_standing(state, latched=True, wanted=wanted), waiting={"email": 2, "sms": 1})
    assert now.band(state.view(NOW)) == {
        "number": 3, "name": "LIMITED_EXTERNAL", "title": "Limited External", "tone": "warn", "shape": "diamond", "cause": "Because.",
        "since": "2026-01-01T00:00:00+00:00", "pinned": True, "latched": True, "rises": None,
        "also": [
            "The rules would choose Minimal: The disk is full.", "It holds until somebody chooses Auto.", "3 messages wait to be sent.",
        ],
    }  # fmt: skip


def replace_standing(state: Any, **chosen: Any) -> Any:
    return dataclasses.replace(state.standing, **chosen)


def also(pinned: bool = False, waiting: int = 0, **wanted: Any) -> list[str]:
    """What the band says beside the level, which is MINIMAL."""
    state = a_state(DegradationLevel.MINIMAL, pinned=pinned)
    standing = replace_standing(state, wanted=Wanted(**{"level": DegradationLevel.MINIMAL, **wanted}))
    said: list[str] = now.band(replace(state, standing=standing, waiting={"email": waiting}).view(NOW))["also"]
    return said


def test_the_band_says_nothing_more_where_there_is_nothing_to_say() -> None:
    assert also() == also(pinned=True) == []
    assert also(level=DegradationLevel.FULL) == []


def test_the_band_says_what_is_probed_and_how_much_waits() -> None:
    assert also(waiting=1) == ["1 message waits to be sent."]
    [probed] = also(unwell=frozenset({"gmail_api", "gpt-5.2"}))
    assert "gmail_api, gpt-5.2" in probed


@pytest.mark.parametrize("pinned", [False, True])
def test_the_band_says_when_the_level_rises_unless_somebody_pinned_it(pinned: bool) -> None:
    state = a_state(DegradationLevel.MINIMAL, pinned=pinned)
    standing = replace_standing(state, wanted=Wanted(level=DegradationLevel.MINIMAL, rises_at=NOW))
    rises = now.band(replace(state, standing=standing).view(NOW))["rises"]
    assert rises == (None if pinned else {"title": "Limited External", "at": NOW.isoformat()})


def a_loop(state: str, allowed: bool = True, *agents: tuple[str, str, str]) -> dict[str, Any]:
    told = [{"agent": name, "state": its, "because": because} for name, its, because in agents]
    return now.loop({"name": "memory", "tier": "core", "state": state, "allowed": allowed, "agents": told})


@pytest.mark.parametrize(
    ("state", "allowed", "mark", "because"),
    [
        ("running", True, ("ok", "dot", "running"), "it works"), ("idle", True, ("off", "dash", "idle"), "it works"),
        ("paused", True, ("warn", "tri", "paused"), "it works"), ("stuck", True, ("bad", "sq", "stuck"), "it works"),
        ("late", False, ("warn", "diamond", "late"), "it works"), ("paused", False, ("warn", "tri", "paused"), "it works"),
        ("idle", False, ("off", "dash", "not allowed"), "it works"),
        ("running", False, ("warn", "tri", "asked to pause"), "at its next beat"),
    ],
)  # fmt: skip
def test_a_loop_says_what_it_does_and_whether_it_may(
    state: str, allowed: bool, mark: tuple[str, str, str], because: str
) -> None:
    """Who gives a reason for that state gives the loop's; a name stands once."""
    view = a_loop(state, allowed, ("b", "odd", "another state"), ("b", state, ""), ("a", state, "it works"))
    assert view == {
        "name": "memory", "tier": "core", "state": state, "allowed": allowed, "agents": view["agents"],
        "tone": mark[0], "shape": mark[1], "word": mark[2], "because": because, "runs_at": "down to Limited External", "who": "a, b",
    }  # fmt: skip


@pytest.mark.parametrize(("allowed", "word"), [(True, "not used yet"), (False, "not allowed")])
def test_a_loop_that_no_agent_has_used_has_nobody_and_no_reason(allowed: bool, word: str) -> None:
    view = a_loop("unused", allowed)
    assert (view["tone"], view["shape"], view["word"], view["because"], view["who"]) == ("off", "dash", word, "", "")


@pytest.mark.parametrize(
    ("view", "mark", "why", "p95", "commands"),
    [
        ({"circuit": "CLOSED"}, ("ok", "dot", "closed"), "", "", ["isolate"]),
        ({"circuit": "CLOSED", "p95_ms": 0.4, "retry_after_s": 9}, ("ok", "dot", "closed"), "", "< 1 ms", ["isolate"]),
        ({"circuit": "OPEN", "because": "3 failed", "agent": "a", "retry_after_s": 12.3, "p95_ms": 1.0},
         ("bad", "sq", "open"), "3 failed · seen by a", "1 ms", ["reset", "isolate"]),
        ({"circuit": "OPEN", "p95_ms": 1234.5}, ("bad", "sq", "open"), "", "1.2 s", ["reset", "isolate"]),
        ({"circuit": "HALF_OPEN", "agent": "a"}, ("warn", "tri", "half-open"), "seen by a", "", ["reset", "isolate"]),
        ({"circuit": "ISOLATED", "because": "it leaks"}, ("safe", "shield", "isolated"), "it leaks", "", ["release"]),
    ],
)  # fmt: skip
def test_a_circuit_says_why_it_is_so_and_what_can_be_done(
    view: dict[str, Any], mark: tuple[str, str, str], why: str, p95: str, commands: list[str]
) -> None:
    whole = {"name": "x", "because": "", "agent": "", "retry_after_s": None, "p95_ms": None, **view}
    shown = now.circuit(whole)
    assert [name for name, _, _ in shown.pop("commands")] == commands
    told = {"tone": mark[0], "shape": mark[1], "word": mark[2], "why": why, "p95": p95}
    assert {**shown, **whole, **told} == shown


@pytest.mark.parametrize(
    ("view", "means", "next_try"),
    [
        ({"circuit": "CLOSED", "retry_after_s": 9.0}, "answers", ""),
        ({"circuit": "OPEN", "retry_after_s": 12.3}, "not answering", "next try in 12 s"),
        ({"circuit": "OPEN", "retry_after_s": None}, "not answering", ""),  # WinClaw's own probe has opened it
        ({"circuit": "HALF_OPEN", "retry_after_s": 0.0}, "a few calls find out whether it answers", ""),
        ({"circuit": "ISOLATED", "retry_after_s": None}, "cut off", ""),
    ],
)
def test_a_service_says_what_its_circuit_means_and_when_it_is_tried_again(view: dict[str, Any], means: str, next_try: str) -> None:
    shown = now.circuit({"name": "x", "because": "", "agent": "", "p95_ms": None, **view})
    assert (shown["means"], shown["next"]) == (means, next_try)


def test_a_service_tells_how_its_calls_go() -> None:
    view = {"name": "x", "circuit": "CLOSED", "because": "", "agent": "", "p95_ms": 900.0, "retry_after_s": None}
    quiet = now.circuit(view)
    assert (quiet["failed"], quiet["rate"], quiet["p95"], quiet["spark"]) == ("—", "0/min", "900 ms", "M0.0 20.0 L120.0 20.0")
    busy = now.circuit(view, Calls(24, 3, 1500.0), [0, 4, 2])
    assert (busy["failed"], busy["rate"], busy["p95"], busy["spark"]) == ("12 %", "24/min", "1.5 s", "M0.0 20.0 L60.0 2.0 L120.0 11.0")


@pytest.mark.parametrize(
    ("chosen", "mark", "commands"),
    [
        ({"state": ProcessState.RUNNING, "ready": True}, ("ok", "dot", "running"), ["restart", "stop"]),
        ({"state": ProcessState.RUNNING}, ("bad", "sq", "silent"), ["restart", "stop"]),
        ({"state": ProcessState.STARTING}, ("warn", "tri", "starting"), ["restart", "stop"]),
        ({"state": ProcessState.WAITING}, ("warn", "diamond", "waiting"), ["start", "stop"]),
        ({"state": ProcessState.WAITING, "needs_you": "port 80 is taken"}, ("bad", "sq", "waiting"), ["start", "stop"]),
        ({"state": ProcessState.STOPPING}, ("warn", "tri", "stopping"), ["start"]),
        ({"state": ProcessState.STOPPED}, ("off", "dash", "stopped"), ["start"]),
        ({"state": ProcessState.EXITED}, ("off", "dash", "exited"), ["start"]),
        ({"state": ProcessState.FAILED, "needs_you": "it crashed"}, ("bad", "sq", "failed"), ["start"]),
    ],
)
def test_a_process_says_how_it_is_and_what_can_be_done(
    chosen: dict[str, Any], mark: tuple[str, str, str], commands: list[str]
) -> None:
    view = ProcessStatus(name="gateway", since=NOW, command=("gateway", "--port", "80"), **chosen).view()
    shown = now.process(view)
    assert [name for name, _, _ in shown.pop("commands")] == commands
    assert shown == {
        **view, "tone": mark[0], "shape": mark[1], "word": mark[2], "memory": "", "cpu": "", "line": "gateway --port 80",
    }  # fmt: skip


def test_what_a_process_uses_is_told_when_it_was_measured() -> None:
    status = ProcessStatus(name="gateway", state=ProcessState.RUNNING, since=NOW, memory_mb=0.0, cpu_percent=0.0)
    idle, busy = (now.process(one.view()) for one in (status, replace(status, memory_mb=512.3, cpu_percent=99.5)))
    assert (idle["memory"], idle["cpu"], busy["memory"], busy["cpu"]) == ("0 MB", "0 %", "512 MB", "100 %")


def test_each_thing_that_can_be_done_has_a_label_and_a_hint() -> None:
    shown = [now.circuit({"circuit": one, "because": "", "agent": "", "p95_ms": None, "retry_after_s": None})
             for one in ("OPEN", "ISOLATED")]
    shown += [now.process(ProcessStatus(name="x", since=NOW, state=one).view()) for one in (ProcessState.RUNNING, ProcessState.WAITING)]
    commands = {name: (label, hint) for one in shown for name, label, hint in one["commands"]}
    assert len({label for label, _ in commands.values()}) == len({hint for _, hint in commands.values()}) == 6


def test_agents_that_fell_silent_come_first() -> None:
    def view(name: str, alive: bool, since: str) -> dict[str, Any]:
        return {"name": name, "alive": alive, "since": since, "last_beat": "12:00"}

    seen = now.agents([view("b", False, "12:00"), view("c", True, "11:00"), view("a", False, "12:01")])
    assert [(agent["name"], agent["word"]) for agent in seen] == [("a", "lost"), ("c", "connected"), ("b", "left")]
    assert [(agent["tone"], agent["shape"]) for agent in seen] == [("bad", "sq"), ("ok", "dot"), ("off", "dash")]
