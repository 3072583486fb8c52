from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.present import errors, events, now, words
from resilience.context import ErrorSeverity
from resilience.degradation.levels import DegradationLevel, Wanted
from resilience.errors import TAXONOMY, WinClawError
from resilience.events import EventType
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from tests.tray.states import a_state

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
BODIES: dict[str, dict[str, Any]] = {
    "error": {"message": "late\nmore", "operation": "ask", "kind": "agentic.llm.timeout", "severity": "WARNING"},
    "level.changed": {"from": "FULL", "to": "SAFE_MODE", "cause": "Chosen by hand."},
    "command": {"asked": "SAFE_MODE", "actor": "tray", "origin": "this machine"},
    "audit": {"agent": "a", "operation": "send", "allowed": 1, "refused": 2},
    "heal.waiting": {"heal": 3, "outcome": "waiting", "action": "reload_config", "trigger": "An error."},
    "heal.started": {"heal": 3, "outcome": "running", "action": "clear_cache", "trigger": "An error."},
    "heal.ended": {"heal": 3, "outcome": "failed", "action": "clear_cache", "result": "done", "verification": "not well"},
    "heal.escalated": {
        "heal": 3, "outcome": "escalated", "action": "escalate_to_human", "trigger": "An error.", "verification": "It goes on.",
    },
    "anomaly.began": {"metric": "memory_mb", "value": 900.0, "low": 100.0, "high": 200.0},
    "anomaly.ended": {"metric": "cpu_percent", "value": 9.0, "low": 0.0, "high": 20.0, "adopted": True},
    "app.started": {"version": "1", "away_s": 7.0, "crashed": True},
    "process.ready": {"pid": 5, "seconds": 0.5},
    "process.exited": {"pid": 5, "because": "it ended with exit status 1", "again_in_s": 0.5},
    "process.cleared": {"port": 8080},
    "config.refused": {"problems": ["line 3: no"]},
    "journal.set_aside": {"message": "damaged", "file": "x"},
}


def event(kind: str, **body: Any) -> dict[str, Any]:
    return {"id": 7, "at": "2026-01-01T12:00:00.000000Z", "type": kind, "component": "gpt-5.2", **BODIES.get(kind, {}), **body}


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_has_words_a_tone_and_a_shape(kind: str) -> None:
    line = events.line(event(kind))
    assert line["text"]
    assert line["detail"]
    assert line["shape"] == words.SHAPES[line["tone"]]
    assert "None" not in line["text"] + line["detail"]


def test_no_two_sorts_of_events_say_the_same_and_none_only_its_name() -> None:
    texts = [events.line(event(kind))["text"] for kind in EventType]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & set(EventType)


# What a line tells: its tone, what stands in its text, and its detail.
TOLD: list[tuple[str, dict[str, Any], str, tuple[str, ...], str]] = [
    ("error", {}, "warn", ("late",), "gpt-5.2 · ask · agentic.llm.timeout"),
    ("error", {"severity": "FATAL"}, "bad", ("late",), "gpt-5.2 · ask · agentic.llm.timeout"),
    ("level.changed", {}, "safe", ("Full → Safe Mode",), "Chosen by hand."),
    ("level.changed", {"to": "MINIMAL"}, "bad", ("Full → Minimal",), "Chosen by hand."),
    ("circuit.opened", {"because": "3 calls failed", "agent": "a"}, "bad", ("gpt-5.2", " open"), "circuit · 3 calls failed · a"),
    ("circuit.half_open", {}, "warn", ("gpt-5.2", "half-open"), "circuit"),
    ("circuit.closed", {"because": "it answers"}, "ok", ("gpt-5.2", "closed"), "circuit · it answers"),
    ("circuit.isolated", {"agent": "a"}, "safe", ("gpt-5.2", "isolated"), "circuit · a"),
    ("process.started", {"pid": 5}, "info", ("gpt-5.2",), "process 5"),
    ("process.adopted", {}, "ok", ("gpt-5.2",), "process"),
    ("process.ready", {}, "ok", ("gpt-5.2", "0.5 s"), "process 5"),
    ("process.silent", {"because": "refused"}, "bad", ("gpt-5.2",), "process · refused"),
    ("process.stopping", {"pid": 5, "because": "stopped by you"}, "warn", ("gpt-5.2",), "process 5 · stopped by you"),
    ("process.stopped", {}, "off", ("gpt-5.2",), "process"),
    ("process.exited", {}, "warn", ("gpt-5.2", "again in 0.5 s"), "process 5 · it ended with exit status 1"),
    ("process.exited", {"again_in_s": 1}, "warn", ("again in 1 s",), "process 5 · it ended with exit status 1"),
    ("process.exited", {"again_in_s": 0.0}, "warn", ("again at once",), "process 5 · it ended with exit status 1"),
    ("process.failed", {"because": "too often"}, "bad", ("gpt-5.2",), "process · too often"),
    ("process.cleared", {}, "warn", ("gpt-5.2", "8080"), "process"),
    ("heal.ended", {"outcome": "healed"}, "ok", ("gpt-5.2",), "done · not well"),
    ("command", {"actor": "me"}, "info", ("me ", "gpt-5.2", "SAFE_MODE"), "command from this machine"),
    ("command", {"asked": "reset"}, "info", ("at the tray closed gpt-5.2",), "command from this machine"),
    ("command", {"component": "level", "actor": "dashboard"}, "info", ("at the dashboard", "Safe Mode"), "command from this machine"),
    ("command", {"component": "level", "actor": "command line", "asked": "AUTO"}, "info", ("at the command line", "Auto"), "command from this machine"),
    ("audit", {}, "warn", ("a tried gpt-5.2", "2 refused, 1 allowed"), "audit in Safe Mode · send"),
    ("audit", {"refused": 0}, "info", ("a tried gpt-5.2: 1 allowed",), "audit in Safe Mode · send"),
    ("audit", {"allowed": 0}, "warn", ("a tried gpt-5.2: 2 refused",), "audit in Safe Mode · send"),
    ("agent.connected", {"pid": 7}, "ok", ("gpt-5.2",), "agent, process 7"),
    ("agent.connected", {}, "ok", ("gpt-5.2",), "agent, process unknown"),
    ("agent.left", {}, "off", ("gpt-5.2",), "agent left"),
    ("agent.lost", {}, "bad", ("gpt-5.2",), "agent lost: its heartbeat stopped"),
    ("anomaly.began", {}, "warn", ("gpt-5.2 ", "much memory"), "900 MB, where 100 to 200 MB is usual"),
    ("anomaly.began", {"value": 9.0}, "warn", ("gpt-5.2 ", "little memory"), "9 MB, where 100 to 200 MB is usual"),
    ("anomaly.began", {"component": "machine", "metric": "new"}, "warn", ("This machine ", "much new"), "900 , where 100 to 200  is usual"),
    ("anomaly.ended", {}, "info", ("gpt-5.2 has got used", "CPU"), "9 %, where 0 to 20 % is usual"),
    ("anomaly.ended", {"adopted": False, "component": "machine"}, "info", ("This machine", "as usual", "CPU"), "9 %, where 0 to 20 % is usual"),
    ("app.started", {}, "ok", ("again", "crashed", "7 s"), "version 1"),
    ("app.started", {"crashed": False}, "ok", ("away for 7 s",), "version 1"),
    ("app.started", {"away_s": 119.4}, "ok", ("119 s",), "version 1"),
    ("app.started", {"away_s": 120.0}, "ok", ("2 min",), "version 1"),
    ("app.started", {"away_s": 7199.0}, "ok", ("120 min",), "version 1"),
    ("app.started", {"away_s": 7200.0}, "ok", ("2 h",), "version 1"),
    ("app.started", {"away_s": 36_000_000.0}, "ok", ("10000 h",), "version 1"),
    ("app.stopped", {"version": "1"}, "off", (), "version 1"),
    ("config.changed", {"changed": ["retry", "zones"]}, "info", (), "retry, zones changed"),
    ("config.changed", {"from_next_start": ["dashboard", "logs"]}, "info", (), "nothing changed; dashboard, logs from the next start on"),
    ("config.refused", {"problems": ["a", "b", "c"], "instead": "the old one is"}, "warn", ("the old one is in force",), "a · b"),
    ("config.refused", {}, "warn", ("another one is in force",), "line 3: no"),
    ("journal.set_aside", {}, "bad", ("damaged",), "x"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "tone", "parts", "detail"), TOLD)
def test_a_line_tells_who_what_and_why(kind: str, body: dict[str, Any], tone: str, parts: tuple[str, ...], detail: str) -> None:
    """The words around are free; the facts are not."""
    line = events.line(event(kind, **body))
    assert (line["tone"], line["detail"]) == (tone, detail)
    assert [part for part in parts if part not in line["text"]] == []


def test_who_is_known_by_name_is_called_by_it() -> None:
    assert events.line(event("command", actor="me"))["text"].startswith("me ")
    assert not events.line(event("command", actor="tray"))["text"].startswith("tray ")


def test_the_first_start_was_preceded_by_nothing() -> None:
    first, later = (events.line(event("app.started", away_s=away_s, crashed=False)) for away_s in (None, 7.0))
    assert later["text"].startswith(first["text"])
    assert events.line({**event("app.started"), "away_s": None, "version": ""})["text"] == first["text"]


def test_what_ends_for_good_is_not_said_to_start_again() -> None:
    at_once, never = (events.line(event("process.exited", again_in_s=again_in_s))["text"] for again_in_s in (0, None))
    assert at_once.startswith(never)
    assert at_once != never


def test_what_an_older_version_has_not_said_is_left_out() -> None:
    bare = {"id": 7, "at": "2026-01-01T12:00:00.000000Z", "component": "app"}
    for kind in ("app.started", "app.stopped"):
        assert events.line({**bare, "type": kind})["detail"] == "version"
    assert events.line({**bare, "type": "config.refused"})["detail"] == ""
    assert events.line({**bare, "type": "journal.set_aside"}) == {
        "tone": "bad", "shape": "sq", "text": "The journal was set aside", "detail": "", "href": "",
    }  # fmt: skip


def test_lines_of_heals_lead_to_them_and_others_nowhere() -> None:
    assert events.line(event("heal.started"))["href"] == "/healing/3"
    assert events.line(event("app.started"))["href"] == ""


def test_an_error_leads_to_its_page_and_shows_its_first_line() -> None:
    line = events.line(event("error"))
    assert (line["text"], line["href"]) == ("late", "/errors/7")


def test_a_long_message_is_cut() -> None:
    assert len(events.line(event("error", message="x" * 5000))["text"]) == 160
    assert events.line(event("error", message="x" * 160))["text"] == "x" * 160
    assert events.line(event("error", message="x" * 161))["text"] == "x" * 159 + "…"
    assert events.line(event("level.changed", cause="x" * 400))["detail"] == "x" * 400
    assert events.line(event("level.changed", cause="x" * 401))["detail"] == "x" * 399 + "…"


def test_every_tone_has_a_shape_of_its_own() -> None:
    assert len(set(words.SHAPES.values())) == len(words.SHAPES)


@pytest.mark.parametrize("level", DegradationLevel)
def test_the_band_says_level_cause_and_tone(level: DegradationLevel) -> None:
    band = now.band(a_state(level, needs=2).view(NOW))
    assert (band["number"], band["title"], band["cause"], band["needs_you"]) == (level.value, level.title, "Because.", 2)


def test_the_band_is_all_that_a_page_shows_of_the_level() -> None:
    wanted = Wanted(level=DegradationLevel.MINIMAL, cause="The disk is full.")
    state = a_state(DegradationLevel.LIMITED_EXTERNAL, pinned=True, needs=1)
    state = replace(state, standing=replace_standing(state, latched=True, wanted=wanted), waiting={"email": 2, "sms": 1})
    assert now.band(state.view(NOW)) == {
        "number": 3, "name": "LIMITED_EXTERNAL", "title": "Limited External", "tone": "warn", "shape": "diamond", "cause": "Because.",
        "since": "2026-01-01T00:00:00+00:00", "pinned": True, "latched": True, "rises": None, "needs_you": 1,
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
         ("bad", "sq", "open"), "3 failed · seen by a · to be probed in 12 s", "1 ms", ["reset", "isolate"]),
        ({"circuit": "OPEN", "p95_ms": 1234.5}, ("bad", "sq", "open"), "", "1234 ms", ["reset", "isolate"]),
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
    assert shown == {**whole, "tone": mark[0], "shape": mark[1], "word": mark[2], "why": why, "p95": p95}


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
        ({"state": ProcessState.EXITED}, ("off", "dash", "ended"), ["start"]),
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


def test_the_kinds_make_a_tree_whose_branches_add_up() -> None:
    tree = errors.kind_tree({"transient.network": 1, "transient.network.dns": 2, "transient.service": 4, "security": 8})
    assert [(node.kind, node.count) for node in tree] == [("security", 8), ("transient", 7)]
    network = tree[1].below[0]
    assert (network.name, network.count, [node.kind for node in network.below]) == ("network", 3, ["transient.network.dns"])


def test_a_spark_line_stays_inside_its_box() -> None:
    path = errors.spark([0, 5, 1000, 2], width=90, height=22)
    points = [tuple(map(float, point.split())) for point in path[1:].split(" L")]
    assert [x for x, _ in points] == [0, 30, 60, 90]
    assert all(0 <= y <= 22 for _, y in points)
    assert points[2][1] < points[0][1]
    assert errors.spark([1, 0], width=90, height=22) == "M0.0 2.0 L90.0 20.0"
    assert errors.spark([5, 20], width=90, height=22) == "M0.0 15.5 L90.0 2.0"
    assert errors.spark([3]) == "M0.0 2.0"
    assert errors.spark([]) == "M"
    assert errors.spark([0, 0]) == "M0.0 20.0 L120.0 20.0"


def test_counts_fall_into_their_buckets_and_old_ones_into_none() -> None:
    minutes = [("2026-01-01T12:00", "f", 3), ("2026-01-01T11:59", "f", 2), ("2026-01-01T10:00", "f", 9)]
    assert errors.per_bucket(minutes, NOW, 3, 1) == {"f": [0, 2, 3]}
    minutes = [("2026-01-01T11:31", "f", 1), ("2026-01-01T11:45", "g", 2), ("2026-01-01T11:46", "g", 4), ("2026-01-01T12:00", "g", 8)]
    assert errors.per_bucket(minutes, NOW, 2, 15) == {"f": [1, 0], "g": [2, 12]}
    assert errors.per_bucket([("2026-01-01T11:30", "f", 1), ("2026-01-01T12:01", "f", 1)], NOW, 2, 15) == {}


def test_the_series_ends_with_this_minute() -> None:
    series = errors.minute_series([("2026-01-01T12:00", "", 3)], NOW, length=2)
    assert series == [(int(NOW.timestamp()) // 60 * 60 - 60, 0), (int(NOW.timestamp()) // 60 * 60, 3)]
    assert errors.minute_series([("2026-01-01T11:58", "", 3), ("2026-01-01T12:00", "other", 1)], NOW, length=3)[0][1] == 3
    assert [count for _, count in errors.minute_series([], NOW)] == [0] * 60


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_is_never_a_formula(cell: str) -> None:
    assert errors.safe_cell(cell) == f"'{cell}"
    assert errors.safe_cell("plain = text") == "plain = text"


def test_a_chain_of_causes_is_listed_and_bounded() -> None:
    chain: dict[str, Any] = {"type": "X"}
    for _ in range(50):
        chain = {"type": "X", "cause": chain}
    assert len(errors.causes({"cause": chain})) == 20
    inner = {"type": "Inner"}
    outer = {"type": "Outer", "cause": inner}
    assert errors.causes({"cause": outer}) == [outer, inner]


def error(number: int, fingerprint: str = "f") -> dict[str, Any]:
    return {**event("error"), "id": number, "fingerprint": fingerprint}


def test_an_error_that_comes_again_is_one_line_until_something_else_happens() -> None:
    """Otherwise a storm of one error would push everything else out of sight."""
    newest_first = [error(9), error(8, "g"), error(7), {**event("level.changed"), "id": 6}, error(5), error(4)]
    lines = events.feed(newest_first, first_ids=[4])
    assert [(line["id"], line["times"], line["first"]) for line in lines] == [
        (9, 2, False), (8, 1, False), (6, 1, False), (5, 2, True),
    ]  # fmt: skip


def test_the_feed_is_short() -> None:
    many = [error(number, str(number)) for number in range(50)]
    assert len(events.feed(many, limit=12)) == len(events.feed(many)) == 12


def test_a_line_of_the_feed_is_the_event_with_its_words() -> None:
    [line] = events.feed([error(9)])
    assert line == {**error(9), "line": events.line(error(9)), "times": 1, "first": False}


def test_an_error_that_was_the_first_of_its_trouble_says_so_though_it_came_again() -> None:
    assert [line["first"] for line in events.feed([error(9), error(8), error(7)], first_ids=[8])] == [True]


def test_agents_that_fell_silent_come_first() -> None:
    def view(name: str, alive: bool, since: str) -> dict[str, Any]:
        return {"name": name, "alive": alive, "since": since, "last_beat": "12:00"}

    seen = now.agents([view("b", False, "12:00"), view("c", True, "11:00"), view("a", False, "12:01")])
    assert [(agent["name"], agent["word"]) for agent in seen] == [("a", "lost"), ("c", "connected"), ("b", "left")]
    assert [(agent["tone"], agent["shape"]) for agent in seen] == [("bad", "sq"), ("ok", "dot"), ("off", "dash")]


@pytest.fixture
def far_away() -> Iterator[None]:
    """A machine whose own time is half a day ahead of UTC."""
    if sys.platform == "win32":
        pytest.skip("Windows takes no time zone from the environment")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "XXX-12")
        time.tzset()
        yield
    time.tzset()


def test_all_times_are_in_utc_whatever_the_machines_own(far_away: None) -> None:
    late, elsewhere = datetime(2026, 1, 1, 22, 0, tzinfo=UTC), timezone(timedelta(hours=-5))
    assert words.when("2026-01-01T09:08:07.000000Z", late.astimezone(elsewhere)) == "09:08:07 UTC"
    assert errors.minute_text(int(late.timestamp())) == "22:00"
    assert errors.minute_series([("2026-01-01T22:00", "", 3)], late, length=1) == [(int(late.timestamp()), 3)]


def test_a_time_has_its_date_unless_it_is_today() -> None:
    assert words.when("2026-01-01T09:08:07.000000Z", NOW) == "09:08:07 UTC"
    assert words.when("2025-12-31T23:08:07.000000Z", NOW) == "2025-12-31 23:08 UTC"


@pytest.mark.parametrize("one", TAXONOMY.values(), ids=list(TAXONOMY))
def test_every_kind_has_a_meaning_and_its_strategy_and_impact_have_words(one: type[WinClawError]) -> None:
    assert errors.meaning(one.kind).endswith(".")
    assert errors.strategy_words(str(one.recovery_strategy)) != str(one.recovery_strategy)
    assert errors.impact_words(one.impact.name) != one.impact.name


def test_every_severity_has_a_shape_of_its_own() -> None:
    shapes = {events.line(event("error", severity=severity.name))["shape"] for severity in ErrorSeverity}
    assert len(shapes) == len(ErrorSeverity)


def test_every_level_has_a_shape_and_words_of_its_own() -> None:
    assert len({now.band(a_state(level).view(NOW))["shape"] for level in DegradationLevel}) == 5
    assert len({words.LEVEL_WORDS[level] for level in DegradationLevel}) == 5


def test_an_error_without_a_message_is_called_by_its_type() -> None:
    assert events.line(event("error", message=" ", error_type="KeyError"))["text"] == "KeyError"


def test_what_a_later_version_says_is_shown_as_it_is() -> None:
    assert events.line(event("something.new"))["text"] == "something.new"
    assert events.line(event("error", severity="WORSE"))["text"]
    assert events.line(event("level.changed", to="LEVEL_SIX"))["text"].endswith("Level_Six")
    assert errors.strategy_words("NEW") == "NEW"
    assert errors.impact_words("NEW") == "NEW"
    assert errors.meaning("new") == ""


def test_the_branch_with_the_chosen_kind_is_open() -> None:
    tree = errors.kind_tree({"transient.network.dns": 1, "transient.net": 1, "security": 1}, chosen="transient.network.dns")
    by_kind = {node.kind: node for root in tree for node in [root, *root.below]}
    assert {kind for kind, node in by_kind.items() if node.open} == {"transient", "transient.network"}


def test_a_branch_has_its_name_without_underscores_and_its_meaning() -> None:
    [root] = errors.kind_tree({"agentic.llm.rate_limit": 1})
    leaf = root.below[0].below[0]
    assert (leaf.name, leaf.meaning) == ("rate limit", errors.meaning("agentic.llm.rate_limit"))


def test_a_group_has_its_title_meaning_and_spark_line() -> None:
    row = {"severity": "ERROR", "message": "late\nmore", "kind": "agentic.llm.timeout", "type": "LLMTimeoutError"}
    shown = errors.group(row, [0, 1])
    assert (shown["title"], shown["meaning"]) == ("late", "The language model did not answer in time.")
    assert shown["spark"].startswith("M0.0 20.0 L")
    assert {**row, "title": "late", "tone": "bad", "shape": "sq", "meaning": shown["meaning"], "spark": shown["spark"]} == shown
    other = errors.group({**row, "severity": "WORSE", "message": " "}, [])
    assert (other["title"], other["tone"], other["shape"]) == ("LLMTimeoutError", "off", "dash")


def test_minutes_are_told_by_the_clock() -> None:
    assert errors.minute_text(int(NOW.timestamp())) == "12:00"
