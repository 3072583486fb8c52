"""An alert as a value: how it is shown, how its messages change, and which alerts make room for others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from resilience.alerting.alerts import (
    MOST_ALERTS,
    Alert,
    AlertPriority,
    AlertState,
    Telling,
    TellingState,
    with_alerts,
)
from tests.resilience.alerting.desk import caused

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Alert(id=7, cause=caused("CRITICAL"), priority=AlertPriority.P2_HIGH, at=NOON, last_at=NOON)


def test_an_alert_as_the_api_gives_it() -> None:
    alert = replace(
        ONE, count=3, held=2, state=AlertState.RESOLVED, actor="ada", origin="here", acknowledged_at=NOON + timedelta(hours=1),
        resolved_at=NOON + timedelta(hours=2), snoozed_until=NOON + timedelta(hours=3), silent="snoozed",
        last_at=NOON + timedelta(minutes=1),
    ).telling("raised", "it burns", ["log"], NOON)  # fmt: skip
    telling = {
        "key": "7-1-log", "channel": "log", "what": "raised", "text": "it burns", "at": "2026-01-01T12:00:00Z", "state": "waiting",
        "attempts": 0, "why": "", "ended": None, "digest": "", "failures": (),
    }  # fmt: skip
    assert alert.view() == {
        "id": 7, "about": "error:1", "title": "It burns", "message": "in the kitchen", "severity": "CRITICAL",
        "priority": "P2_HIGH", "component": "kitchen", "page": "/", "state": "resolved", "at": "2026-01-01T12:00:00+00:00",
        "last_at": "2026-01-01T12:01:00+00:00", "count": 3, "held_back": 2, "actor": "ada", "origin": "here",
        "acknowledged_at": "2026-01-01T13:00:00+00:00", "snoozed_until": "2026-01-01T15:00:00+00:00", "silent": "snoozed",
        "resolved_at": "2026-01-01T14:00:00+00:00", "tellings": [telling],
    }  # fmt: skip
    view = ONE.view()
    assert (view["acknowledged_at"], view["snoozed_until"], view["resolved_at"], view["tellings"]) == (None, None, None, [])


def test_the_names_of_the_document() -> None:
    alert = replace(ONE, actor="ada", acknowledged_at=NOON).telling("raised", "it burns", ["log", "sms"], NOON)
    alert = alert.telling("again", "it burns", ["log"], NOON)
    assert (alert.title, alert.message, alert.timestamp, alert.channels) == ("It burns", "in the kitchen", NOON, ["log", "sms"])
    assert (alert.acknowledged, alert.acknowledged_by, ONE.acknowledged, ONE.acknowledged_by) == (True, "ada", False, None)
    assert (alert.error_context, dict(alert.metadata)) == (None, {})


def test_who_was_told_and_how_much_it_pressed_is_kept() -> None:
    alert = ONE.telling("raised", "x", ["log", "sms"], NOON)
    alert = replace(alert, priority=AlertPriority.P3_MEDIUM).telling("again", "x", ["email", "log"], NOON)
    assert (alert.told_by, alert.pressed, alert.messages) == (("log", "sms", "email"), AlertPriority.P2_HIGH, 2)
    assert [one.key for one in alert.tellings] == ["7-1-log", "7-1-sms", "7-2-email", "7-2-log"]


def test_of_what_has_ended_the_last_twenty_are_kept_and_of_what_waits_everything_but_old_repetitions() -> None:
    alert = ONE
    for _ in range(25):
        alert = alert.telling("raised", "x", ["log"], NOON)
    alert = alert.told(*(replace(one, state=TellingState.DELIVERED) for one in list(alert.tellings)[:22]))
    assert [one.key for one in alert.tellings] == [f"7-{number}-log" for number in range(3, 26)]
    alert = ONE.telling("raised", "x", ["log"], NOON)
    for _ in range(101):
        alert = alert.telling("again", "x", ["log", "sms"], NOON)
    assert len([one for one in alert.tellings if one.channel == "log"]) == 101
    assert [one.key for one in alert.tellings][:2] == ["7-1-log", "7-3-log"]
    sending = replace(alert.tellings[1], state=TellingState.SENDING)
    alert = alert.told(sending).telling("summary", "x", ["log"], NOON)
    assert sending in alert.tellings


def test_for_how_long_it_is_quiet_and_has_waited() -> None:
    later = NOON + timedelta(hours=1)
    assert (ONE.quiet_s(later, 50.0), replace(ONE, seen_s=20.0).quiet_s(later, 50.0)) == (3600.0, 30.0)
    assert (ONE.waited_s(later, 50.0), replace(ONE, escalated_s=20.0).waited_s(later, 50.0)) == (3600.0, 30.0)
    asked = ONE.telling("raised", "x", ["log"], NOON + timedelta(minutes=10)).telling("again", "x", ["log"], later)
    assert asked.waited_s(later, 50.0) == 3000.0


def test_a_message_repeats_only_while_it_waits_for_its_channel() -> None:
    one = Telling(key="k", channel="log", what="again", text="x", at=NOON)
    assert [one.repeats("log"), one.repeats("sms"), replace(one, what="summary").repeats("log")] == [True, False, True]
    assert not replace(one, what="raised").repeats("log")
    assert not replace(one, state=TellingState.SENDING).repeats("log")


def many(count: int, first: int = 1, **fields: object) -> dict[int, Alert]:
    return {number: replace(ONE, id=number, **fields) for number in range(first, first + count)}


def test_the_oldest_that_are_over_and_told_make_room() -> None:
    over = many(MOST_ALERTS, state=AlertState.RESOLVED)
    assert with_alerts(over, {}) == over
    after = with_alerts(over, many(2, first=1000))
    assert (len(after), min(after)) == (MOST_ALERTS, 3)
    waiting = {1: over[1].telling("resolved", "x", ["log"], NOON)}
    assert min(with_alerts({**over, **waiting}, many(2, first=1000))) == 1


def test_far_too_many_make_room_too_but_never_what_lasts() -> None:
    waiting = many(1, state=AlertState.RESOLVED)[1].telling("resolved", "x", ["log"], NOON)
    errors, lasting = many(2 * MOST_ALERTS - 1, first=2), many(3, first=2000, lasts=True)
    after = with_alerts({1: waiting, **errors}, lasting)
    assert (len(after), 1 in after, min(after)) == (2 * MOST_ALERTS, False, 4)
    assert len(with_alerts({}, many(3 * MOST_ALERTS, lasts=True))) == 3 * MOST_ALERTS
    assert with_alerts({1: waiting, **errors}, {}) == {1: waiting, **errors}
