"""Events in words: each has its line, and the feed has few of them."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.present import errors, events, words
from resilience.context import ErrorSeverity
from resilience.events import EventType

BODIES: dict[str, dict[str, Any]] = {
    "error": {"message": "late\nmore", "operation": "ask", "kind": "agentic.llm.timeout", "severity": "WARNING"},
    "level.changed": {"from": "FULL", "to": "SAFE_MODE", "cause": "Chosen by hand."},
    "command": {"asked": "SAFE_MODE", "actor": "tray", "origin": "this machine"},
    "audit": {"agent": "a", "operation": "send", "allowed": 1, "refused": 2},
    "alert.undelivered": {"alert": 3, "title": "It burns", "why": "nobody there"},
    "heal.waiting": {"heal": 3, "outcome": "waiting", "action": "reload_config", "trigger": "An error."},
    "heal.started": {"heal": 3, "outcome": "running", "action": "clear_cache", "trigger": "An error."},
    "heal.ended": {"heal": 3, "outcome": "failed", "action": "clear_cache", "result": "done", "verification": "not well"},
    "heal.escalated": {
        "heal": 3, "outcome": "escalated", "action": "escalate_to_human", "trigger": "An error.", "verification": "It goes on.",
    },
    "recovery.started": {"recovery": 2, "level": "component", "outcome": "running", "actor": "dashboard", "result": "", "steps": [{}]},
    "recovery.ended": {"recovery": 2, "level": "component", "outcome": "recovered", "actor": "dashboard", "result": "It is."},
    "anomaly.began": {"metric": "memory_mb", "value": 900.0, "low": 100.0, "high": 200.0},
    "anomaly.ended": {"metric": "cpu_percent", "value": 9.0, "low": 0.0, "high": 20.0, "adopted": True},
    "app.started": {"version": "1", "away_s": 7.0, "crashed": True},
    "process.ready": {"pid": 5, "seconds": 0.5},
    "process.exited": {"pid": 5, "because": "it ended with exit status 1", "again_in_s": 0.5},
    "process.cleared": {"port": 8080},
    "config.refused": {"problems": ["line 3: no"]},
    "config.rolled_back": {"version": 8, "restores": 6, "author": "dashboard", "changed": ["retry"]},
    "config.trouble": {"version": 7, "what": "it burns"},
    "journal.set_aside": {"message": "damaged", "file": "x"},
    "journal.repaired": {"message": "2 errors came back", "file": "x", "lost": 0},
    "journal.gap": {"since": "2026-01-01T12:00:00.000000Z", "until": "2026-01-01T12:05:00.000000Z", "written": 3, "lost": 0, "why": "full"},
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
    ("alert.undelivered", {"title": "It burns", "why": "refused"}, "bad", ("gpt-5.2",), "refused · It burns"),
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
    ("config.changed", {"changed": ["retry"], "version": 7, "author": "healing"}, "info", (), "retry changed · version 7 · healing"),
    ("config.rolled_back", {"because": "it burns"}, "warn", ("rolled back to version 6",), "it burns · by dashboard · retry changed"),
    ("config.rolled_back", {"changed": []}, "warn", ("rolled back to version 6",), "by dashboard · nothing changed"),
    ("config.trouble", {"version": 7, "what": "it burns"}, "warn", ("Trouble followed version 7",), "it burns"),
    ("config.refused", {"problems": ["a", "b", "c"], "instead": "the old one is"}, "warn", ("the old one is in force",), "a · b"),
    ("config.refused", {}, "warn", ("another one is in force",), "line 3: no"),
    ("journal.set_aside", {}, "bad", ("damaged",), "x"),
    ("journal.repaired", {}, "ok", ("repaired",), "2 errors came back · x"),
    ("journal.repaired", {"lost": 7}, "warn", ("repaired",), "2 errors came back · x"),
    ("journal.repaired", {"lost": None}, "warn", ("repaired",), "2 errors came back · x"),
    ("journal.gap", {}, "warn", ("12:00:00 UTC", "12:05:00 UTC"), "3 events written later · full"),
    ("journal.gap", {"lost": 2}, "warn", ("12:00:00 UTC",), "3 events written later, 2 lost · full"),
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


def test_every_severity_has_a_shape_of_its_own() -> None:
    shapes = {events.line(event("error", severity=severity.name))["shape"] for severity in ErrorSeverity}
    assert len(shapes) == len(ErrorSeverity)


def test_an_error_without_a_message_is_called_by_its_type() -> None:
    assert events.line(event("error", message=" ", error_type="KeyError"))["text"] == "KeyError"


def test_what_a_later_version_says_is_shown_as_it_is() -> None:
    assert events.line(event("something.new"))["text"] == "something.new"
    assert events.line(event("error", severity="WORSE"))["text"]
    assert events.line(event("level.changed", to="LEVEL_SIX"))["text"].endswith("Level_Six")
    assert errors.strategy_words("NEW") == "NEW"
    assert errors.impact_words("NEW") == "NEW"
    assert errors.meaning("new") == ""


# The feed


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
    assert len(events.feed(many)) == 12


def test_a_line_of_the_feed_is_the_event_with_its_words() -> None:
    [line] = events.feed([error(9)])
    assert line == {**error(9), "line": events.line(error(9)), "times": 1, "first": False}


def test_an_error_that_was_the_first_of_its_trouble_says_so_though_it_came_again() -> None:
    assert [line["first"] for line in events.feed([error(9), error(8), error(7)], first_ids=[8])] == [True]
