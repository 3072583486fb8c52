"""What a channel sends next: in quiet hours, at its limit, in a flood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertPriority, Alerts, Telling
from resilience.alerting.batches import MOST_ALONE, Batch, Pace, given_up, next_batch, of_journal
from resilience.alerting.channels import Channels, EmailChannel
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity
from resilience.core.notices import Notice
from tests.resilience.alerting.desk import EVERY, caused

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NIGHTS = Channels(email=EmailChannel(enabled=True, url="env:MAIL", quiet_hours="22:00-07:00"))


FRESH = Pace()


def waiting(count: int, severity: str = "ERROR", what: str = "raised", first: int = 1) -> Alerts:
    alerts = {}
    for number in range(first, first + count):
        one = Alert(id=number, cause=caused(severity, f"error:{number}", title=f"trouble {number}"), at=NOON, last_at=NOON)
        alerts[number] = one.telling(what, "it burns", ["email", "log"], NOON)
    return alerts


def found(
    alerts: Alerts, channel: str = "email", pace: Pace = FRESH, at: datetime = NOON, resting: dict[str, float] | None = None,
    **policy: Any,
) -> Any:  # fmt: skip
    return next_batch(alerts, channel, Alerting(**{"channels": EVERY, **policy}), pace, at, 1000.0, resting or {})


def local(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 1, hour, minute).astimezone()


def test_nothing_waits_for_a_channel_that_has_told_all() -> None:
    assert found({}) is None
    assert found(waiting(1), "sms") is None


def test_a_few_go_out_one_by_one_the_oldest_first() -> None:
    batch = found(waiting(MOST_ALONE))
    assert (batch.keys, batch.digest, batch.alert.id, batch.telling.key) == (("1-1-email",), "", 1, "1-1-email")


def test_more_go_out_as_one_digest_with_the_worst_first() -> None:
    batch = found({**waiting(MOST_ALONE), **waiting(1, "CRITICAL", first=9)})
    assert batch.keys == ("1-1-email", "2-1-email", "3-1-email", "4-1-email", "5-1-email", "9-1-email")
    assert (batch.digest, batch.telling.key, batch.telling.what) == ("1-1-email-digest", "1-1-email-digest", "digest")
    assert (batch.alert.cause.title, batch.alert.cause.severity) == ("6 alerts, the worst: trouble 9", ErrorSeverity.CRITICAL)
    assert batch.telling.text.splitlines()[:2] == [
        "CRITICAL trouble 9 (since 12:00 UTC, open)", "ERROR trouble 1 (since 12:00 UTC, open)",
    ]  # fmt: skip


def test_a_long_digest_says_how_many_more() -> None:
    lines = found(waiting(25)).telling.text.splitlines()
    assert (len(lines), lines[-1]) == (21, "and 5 more")
    assert len(found(waiting(20)).telling.text.splitlines()) == 20
    assert len(found(waiting(300)).keys) == 200


def test_several_messages_of_one_alert_are_no_digest() -> None:
    [alert] = waiting(1).values()
    for _ in range(10):
        alert = alert.telling("again", "it burns", ["email"], NOON)
    assert found({1: alert}).keys == ("1-1-email",)


def test_a_digest_that_was_begun_is_the_same_again() -> None:
    alerts = dict(waiting(8))
    first = found(alerts)
    for number in range(1, 7):
        alerts[number] = alerts[number].told(replace(next(alerts[number].open_tellings), digest=first.digest, attempts=1))
    assert found(alerts).keys == ("7-1-email",)  # what was tried less goes first
    old = {number: one for number, one in alerts.items() if number < 7}
    again = found(old)
    assert (again.digest, again.keys) == (first.digest, first.keys[:6])
    assert found({**old, **waiting(1, "FATAL", first=20)}).keys == ("20-1-email",)
    assert found(old, at=local(23), channels=NIGHTS) == 8 * 3600
    assert found(old, resting={first.digest: 1003.0}) == 3.0


def test_in_quiet_hours_it_rests_and_then_tells_all_at_once() -> None:
    alerts = waiting(8)
    assert found(alerts, at=local(23, 30), channels=NIGHTS) == 7.5 * 3600
    assert found(alerts, at=local(6, 59), channels=NIGHTS) == 60
    assert isinstance(found(alerts, at=local(7), channels=NIGHTS), Batch)
    assert isinstance(found(alerts, at=local(21, 59), channels=NIGHTS), Batch)
    assert found(alerts, at=local(22), channels=NIGHTS) == 9 * 3600


@pytest.mark.parametrize(("severity", "what"), [("FATAL", "raised"), ("INFO", "test")])
def test_what_is_fatal_and_a_test_wait_for_nothing(severity: str, what: str) -> None:
    full = Pace(tuple([999.0] * 100))
    alerts = {**waiting(3), **waiting(1, severity, what, first=9)}
    assert found(alerts, pace=full, at=local(23), channels=NIGHTS).keys == ("9-1-email",)


def test_many_fatal_ones_are_a_digest_too() -> None:
    assert found(waiting(6, "FATAL")).telling.what == "digest"
    assert found(waiting(5, "FATAL")).telling.what == "raised"


def test_at_its_limit_it_rests_and_its_last_message_says_all() -> None:
    alerts, few = waiting(3), {"max_messages_per_window": 3}
    assert found(alerts, pace=Pace().sent(900.0), **few).telling.what == "raised"
    assert found(alerts, pace=Pace().sent(900.0).sent(950.0), **few).keys == ("1-1-email", "2-1-email", "3-1-email")
    assert found(waiting(1), pace=Pace().sent(900.0).sent(950.0), **few).telling.what == "raised"
    assert found(alerts, pace=Pace().sent(900.0).sent(950.0).sent(990.0), **few) == 200.0
    assert isinstance(found(alerts, pace=Pace().sent(700.0).sent(950.0).sent(990.0), **few), Batch)


def test_a_digest_of_one_alert_has_its_title() -> None:
    [alert] = waiting(1).values()
    batch = found({1: alert.telling("again", "it burns", ["email"], NOON)}, max_messages_per_window=1)
    assert (batch.alert.cause.title, batch.keys) == ("trouble 1", ("1-1-email", "1-2-email"))


def test_log_and_page_take_everything_at_once() -> None:
    full = Pace(tuple([999.0] * 100))
    assert found(waiting(50), "log", full).keys == ("1-1-log",)


def test_a_digest_says_how_often_and_where_it_stands() -> None:
    alerts = {**waiting(6), 1: replace(waiting(1)[1], count=3, at=NOON - timedelta(hours=1))}
    assert "ERROR trouble 1 (since 11:00 UTC, 3 times, open)" in found(alerts).telling.text
    assert found(alerts).alert.count == 8


def test_a_few_that_came_in_quiet_hours_come_as_one_after_them() -> None:
    night = {number: replace(one, tellings=tuple(replace(telling, at=local(6, 30)) for telling in one.tellings))
             for number, one in waiting(3).items()}  # fmt: skip
    assert found(night, at=local(7), channels=NIGHTS).keys == ("1-1-email", "2-1-email", "3-1-email")
    late = {number: one.told(*(replace(telling, at=local(7) - timedelta(milliseconds=1)) for telling in one.tellings))
            for number, one in night.items()}  # fmt: skip
    assert found(late, at=local(7), channels=NIGHTS).keys == ("1-1-email", "2-1-email", "3-1-email")
    assert found({1: night[1]}, at=local(7), channels=NIGHTS).digest == ""
    assert found(night, "log", at=local(7), channels=NIGHTS).digest == ""


def test_what_rests_is_passed_over_and_the_first_that_is_due_is_waited_for() -> None:
    alerts = waiting(3)
    assert found(alerts, resting={"1-1-email": 1000.5}).keys == ("2-1-email",)
    assert found(alerts, resting={"1-1-email": 1000.0}).keys == ("1-1-email",)
    assert found(alerts, resting={f"{number}-1-email": 1000.0 + number for number in (1, 2, 3)}) == 1.0


def test_given_up_is_what_was_tried_often_for_a_day() -> None:
    [alert] = waiting(1).values()
    late = NOON + timedelta(hours=24, seconds=1)

    def after(attempts: int, at: datetime = late) -> tuple[str, ...]:
        return given_up({1: alert.told(replace(next(alert.open_tellings), attempts=attempts))}, "email", at)

    assert (after(20), after(19), after(20, NOON + timedelta(hours=24))) == (("1-1-email",), (), ())


def test_a_digest_stands_for_all_that_it_tells_of() -> None:
    alerts = {number: replace(one, priority=AlertPriority.P3_MEDIUM) for number, one in waiting(6).items()}
    alerts |= {9: replace(waiting(1, "CRITICAL", first=9)[9], priority=AlertPriority.P2_HIGH)}
    batch = found(alerts)
    cause = batch.alert.cause
    assert (batch.alert.id, batch.alert.priority, batch.alert.at) == (1, AlertPriority.P2_HIGH, NOON)
    assert (cause.about, cause.component, cause.page, cause.message) == ("digest", "several", "/alerts", batch.telling.text)
    assert (batch.telling.channel, batch.telling.at) == ("email", NOON)


def test_that_the_journal_cannot_be_written_is_said_as_fatal() -> None:
    alert, telling = of_journal(Notice(name="journal", what="It is full.", cause="No room.", action="Make some."), NOON)
    cause = alert.cause
    assert (cause.about, cause.title, cause.message, cause.severity.name, cause.component) == (
        "journal", "It is full", "No room. Make some.", "FATAL", "journal",
    )  # fmt: skip
    assert (alert.id, alert.priority, alert.at, alert.last_at) == (0, AlertPriority.P1_CRITICAL, NOON, NOON)
    assert telling == Telling(
        key=f"journal-{int(NOON.timestamp())}", channel="", what="raised", text="No room. Make some.", at=NOON,
    )  # fmt: skip


def test_a_pace_forgets_what_is_long_ago() -> None:
    pace = FRESH
    for second in range(10_005):
        pace = pace.sent(float(second))
    assert (len(pace.at_s), pace.at_s[0]) == (10_000, 5.0)
    assert pace.left(Alerting(rate_limit_window=10), 10_004.0) == 10
    assert pace.left(Alerting(rate_limit_window=10), 10_014.0) == 20


def test_of_what_was_tried_already_the_least_tried_goes_next_and_alone() -> None:
    alerts = {
        number: one.told(replace(next(one.open_tellings), attempts=attempts))
        for (number, one), attempts in zip(waiting(3).items(), (3, 1, 2), strict=True)
    }
    batch = found(alerts)
    assert (batch.keys, batch.digest, batch.alert.id, batch.telling.what) == (("2-1-email",), "", 2, "raised")


def test_a_rest_of_less_than_a_second_is_a_rest() -> None:
    assert found(waiting(1), pace=FRESH.sent(700.5), max_messages_per_window=1) == 0.5


def test_a_digest_counts_from_two_on() -> None:
    alerts = {**waiting(6), 1: replace(waiting(1)[1], count=2)}
    assert "ERROR trouble 1 (since 12:00 UTC, 2 times, open)" in found(alerts).telling.text


def test_what_has_not_rested_yet_goes_out_in_the_first_second_of_a_machine() -> None:
    """Monotonic seconds may count from its start."""
    assert next_batch(waiting(1), "email", Alerting(channels=EVERY), FRESH, NOON, 0.0) == found(waiting(1))


def test_a_channel_that_was_taken_out_of_the_configuration_has_no_quiet_hours() -> None:
    """It may still be sending when that is read."""
    [alert] = waiting(1).values()
    assert found({1: alert.telling("raised", "it burns", ["pager"], NOON)}, "pager").telling.channel == "pager"
