"""What happened as lanes: how long each thing stood how, also where the window begins in the middle of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dashboard.present import presence
from dashboard.present.lanes import lanes
from dashboard.present.spans import Lane, as_view
from resilience.alerting.alerts import Alert, Cause
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.events import Event
from resilience.journal.course import Course
from tests.dashboard.present.conftest import NOW

BEGINS = NOW - timedelta(hours=1)
LEVEL = {"level": "FULL", "since": as_text(BEGINS - timedelta(days=3)), "cause": "All is well."}


def at(minutes: float) -> datetime:
    return BEGINS + timedelta(minutes=minutes)


def event(minutes: float, kind: str, component: str = "gpt-5.2", **body: Any) -> Event:
    return Event(int(minutes * 1000) + 10_000_000, as_text(at(minutes)), kind, component, body)


def level(minutes: float, was: str, becomes: str, cause: str = "rule r.") -> Event:
    return event(minutes, "level.changed", "level", **{"from": was, "to": becomes, "cause": cause})


def heal(minutes: float, what: str, number: int, outcome: str, **body: Any) -> Event:
    body = {"action": "restart_service", "trigger": "silent", "result": "", "verification": "", **body}
    return event(minutes, f"heal.{what}", "gateway", heal=number, outcome=outcome, **body)


def made(*events: Event, before: tuple[Event, ...] = (), alerts: tuple[Alert, ...] = ()) -> dict[str, Lane]:
    found = lanes(Course(before, events, {}, as_text(BEGINS - timedelta(days=9))), alerts, LEVEL, NOW)
    return {one.key: one for one in found}


def spans(lane: Lane) -> list[tuple[str, str, float, float | None]]:
    """Word, tone, and from which minute to which."""
    minutes = timedelta(minutes=1)
    return [
        (one.word, one.tone, (one.since - BEGINS) / minutes, (one.until - BEGINS) / minutes if one.until is not None else None)
        for one in lane.spans
    ]


def test_where_nothing_has_happened_the_level_is_what_it_is_now() -> None:
    found = made()
    assert [*found] == ["level", "healing", "alerts"]
    assert spans(found["level"]) == [("Full", "ok", -3 * 1440, None)]
    assert found["healing"].spans == found["alerts"].spans == ()


def test_before_its_first_change_the_level_was_what_that_change_says() -> None:
    found = made(level(20, "LIMITED_EXTERNAL", "MINIMAL"), level(40, "MINIMAL", "FULL"))["level"]
    assert spans(found) == [
        ("Limited External", "warn", -9 * 1440, 20), ("Minimal", "bad", 20, 40), ("Full", "ok", 40, None),
    ]  # fmt: skip
    assert found.spans[1].detail == "rule r."
    assert found.spans[1].short == "4"
    earlier = made(level(40, "MINIMAL", "FULL"), before=(level(-7, "FULL", "MINIMAL"),))["level"]
    assert spans(earlier)[1:] == [("Minimal", "bad", -7, 40), ("Full", "ok", 40, None)]
    assert spans(made(level(1, "a < b", "c"))["level"])[1][:2] == ("C", "off")


def test_a_circuit_has_a_lane_while_it_is_not_closed() -> None:
    found = made(
        event(10, "circuit.opened", because="3 of 3 calls failed", agent="a"), event(20, "circuit.half_open"), event(21, "circuit.closed"),
        event(30, "circuit.isolated"), event(5, "circuit.closed", "well"),
    )  # fmt: skip
    assert "circuit:well" not in found
    assert spans(found["circuit:gpt-5.2"]) == [("open", "bad", 10, 20), ("half-open", "warn", 20, 21), ("isolated", "safe", 30, None)]
    assert found["circuit:gpt-5.2"].spans[0].detail == "3 of 3 calls failed · a"
    assert spans(made(before=(event(-99, "circuit.opened"),))["circuit:gpt-5.2"]) == [("open", "bad", -99, None)]


def test_a_process_has_a_lane_if_it_ended_by_itself_or_fell_silent() -> None:
    assert [*made(event(1, "process.started"), event(2, "process.ready"), event(3, "process.stopped"))] == ["level", "healing", "alerts"]
    found = made(
        event(1, "process.silent", because="no answer"), event(2, "process.exited"), event(2.5, "process.cleared"), event(3, "process.started"),
        event(9, "process.stopping"), event(10, "process.stopped"), event(11, "process.started"), event(12, "process.failed"),
    )["process:gpt-5.2"]  # fmt: skip
    assert spans(found) == [
        ("silent", "bad", 1, 2), ("ended", "bad", 2, 3), ("stopping", "warn", 9, 10), ("stopped", "off", 10, 11), ("failed", "bad", 12, None),
    ]  # fmt: skip


def test_a_heal_lasts_from_its_beginning_to_its_end_and_has_its_outcome() -> None:
    found = made(
        heal(1, "waiting", 3, "waiting"), heal(4, "started", 3, "running"), heal(6, "ended", 3, "healed", verification="it answers"),
        heal(8, "ended", 4, "failed"), heal(9, "escalated", 5, "escalated"), heal(10, "started", 6, "running"),
    )["healing"]  # fmt: skip
    assert spans(found) == [
        ("Start gateway again: healed", "ok", 1, 6), ("Start gateway again: did not help", "bad", 8, 8),
        ("gateway could not be healed, and needs you", "bad", 9, 9), ("Start gateway again: under way", "info", 10, None),
    ]  # fmt: skip
    assert (found.spans[0].href, found.spans[0].short, found.spans[0].detail) == ("/healing/3", "✓", "silent · it answers")


def test_heals_that_go_on_at_once_stand_apart_and_never_overlap() -> None:
    together = [heal(number, "started", number, "running") for number in range(6)]
    found = [one for key, one in made(*together).items() if key.startswith("healing")]
    assert [len(one.spans) for one in found] == [1, 1, 4]
    for lane in found:
        ends = [one.until for one in lane.spans[:-1]]
        assert all(end is not None and end <= after.since for end, after in zip(ends, lane.spans[1:], strict=True))


def test_alerts_are_marks_with_their_severity_and_who_was_told() -> None:
    cause = Cause(about="error:f", title="It burns", message="M", severity=ErrorSeverity.CRITICAL, component="kitchen")
    one = Alert(id=7, cause=cause, at=at(5), last_at=at(9), count=4, told_by=("email", "toast"))
    found = made(alerts=(one,))["alerts"]
    assert (found.sort, spans(found)) == ("marks", [("It burns", "bad", 5, 5)])
    assert (found.spans[0].shape, found.spans[0].detail, found.spans[0].href) == ("oct", "critical · told by email, toast · 4 times", "/alerts#alert-7")


def test_when_winclaw_was_away_or_could_not_write_stands_in_a_lane_of_its_own() -> None:
    found = made(
        event(10, "app.started", "winclaw", away_s=120.0, crashed=True, because="it was killed"),
        event(20, "app.started", "winclaw", away_s=60), event(30, "app.started", "winclaw", away_s=None),
        event(40, "journal.gap", "journal", since=as_text(at(35)), until=as_text(at(38)), why="the disk is full"),
        event(41, "journal.gap", "journal", since="nonsense", until=3), event(42, "journal.repaired", "journal"),
    )["winclaw"]  # fmt: skip
    assert spans(found) == [("crashed", "bad", 8, 10), ("not running", "off", 19, 20), ("could not write", "warn", 35, 38)]
    assert found.spans[0].detail == "nobody watched · it was killed"


def test_two_absences_never_overlap() -> None:
    found = made(
        event(10, "app.started", "winclaw", away_s=300.0), event(11, "app.started", "winclaw", away_s=1e300),
        event(12, "app.started", "winclaw", away_s="long"),
    )["winclaw"]  # fmt: skip
    assert all(one.until is not None and one.until <= other.since for one, other in zip(found.spans, found.spans[1:], strict=False))


def test_an_agent_is_there_as_long_as_any_process_of_its_name_is() -> None:
    found = made(
        event(1, "agent.connected", "a", pid=1), event(2, "agent.connected", "a", pid=2), event(3, "agent.left", "a", pid=1),
        event(9, "agent.lost", "a", pid=2, last_beat=as_text(at(7))), event(12, "agent.connected", "a", pid=3),
    )["agent:a"]  # fmt: skip
    assert (found.sort, spans(found)) == ("beats", [("there", "ok", 1, 7), ("silent", "bad", 7, 12), ("there", "ok", 12, None)])


def test_while_winclaw_is_away_nobody_knows_of_an_agent_and_afterwards_not_until_it_is_heard() -> None:
    connected = event(-30, "agent.connected", "a", pid=1)
    found = made(event(10, "app.started", "winclaw", away_s=300), event(11, "agent.connected", "a", pid=1), before=(connected,))["agent:a"]
    assert spans(found) == [("there", "ok", -30, 5), ("not watched", "off", 5, 10), ("not there", "off", 10, 11), ("there", "ok", 11, None)]
    gone = made(before=(connected, event(-20, "app.started", "winclaw", away_s=60)))["agent:a"]
    assert spans(gone)[-1] == ("not there", "off", -20, None)


def test_presence_of_processes_is_whether_they_ran() -> None:
    happened = (event(1, "process.started", "p"), event(2, "process.ready", "p"), event(5, "process.silent", "p"), event(6, "process.exited", "p"), event(7, "process.stopped", "p"))
    found = presence.presences(Course((), happened, {}, None), "process", NOW)
    assert spans(found["p"]) == [("running", "ok", 1, 5), ("silent", "bad", 5, 6), ("ended", "bad", 6, 7), ("stopped", "off", 7, None)]
    agents = presence.presences(Course((event(3, "agent.left", "a", pid=1),), happened, {}, None), "agent", NOW)
    assert {name: spans(one) for name, one in agents.items()} == {"a": [("left", "off", 3, None)]}


def test_the_api_gives_a_lane_with_the_times_of_its_spans() -> None:
    view = as_view(made(event(10, "circuit.opened"), event(20, "circuit.closed"), event(30, "circuit.opened"))["circuit:gpt-5.2"])
    assert (view["lane"], view["title"]) == ("circuit:gpt-5.2", "gpt-5.2")
    assert view["spans"][0] == {"since": as_text(at(10)), "until": as_text(at(20)), "what": "open", "tone": "bad", "detail": ""}
    assert view["spans"][1]["until"] is None
