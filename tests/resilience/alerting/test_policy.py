"""What can be set: the table of who is told of what, quiet hours, and maintenance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.alerting.alerts import SEVERITY_PRIORITY, AlertPriority
from resilience.alerting.channels import (
    Channels,
    EmailChannel,
    LoudChannel,
    OtherChannel,
    PhoneChannel,
    WebhookChannel,
    is_here,
    quiet_for,
)
from resilience.alerting.policy import Alerting, Maintenance, Priorities, Routes
from resilience.context import ErrorSeverity

MAIL = EmailChannel(enabled=True, url="env:MAIL")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def test_the_table_is_that_of_the_document_until_it_is_changed() -> None:
    assert {one: Alerting().priority_of(one) for one in ErrorSeverity} == SEVERITY_PRIORITY
    assert Alerting(priorities=Priorities(ERROR="P1_CRITICAL")).priority_of(ErrorSeverity.ERROR) is AlertPriority.P1_CRITICAL


def test_the_routes_can_be_changed() -> None:
    policy = Alerting(routes=Routes(P3_MEDIUM=("email",), P5_INFO=("all",)), channels=Channels(email=MAIL))
    assert policy.told_of(AlertPriority.P3_MEDIUM) == ["email"]
    assert policy.told_of(AlertPriority.P5_INFO) == ["log", "dashboard", "toast", "email"]
    assert policy.told_of(AlertPriority.P4_LOW) == ["log", "dashboard"]


def test_a_channel_with_a_priority_of_its_own_hears_from_there_on_whatever_the_routes_say() -> None:
    calm = EmailChannel(enabled=True, url="env:MAIL", min_priority="P1_CRITICAL")
    hook = WebhookChannel(enabled=True, url="https://example.com", min_priority="P4_LOW")
    policy = Alerting(channels=Channels(email=calm, webhook=hook))
    told = {priority: [name for name in policy.told_of(priority) if name in ("email", "webhook")] for priority in AlertPriority}
    assert [*told.values()] == [["email", "webhook"], ["webhook"], ["webhook"], ["webhook"], []]


def test_another_channel_hears_what_email_hears_unless_it_says_otherwise() -> None:
    policy = Alerting(channels=Channels(others={"phone": OtherChannel(url="env:PHONE")}))
    assert ["phone" in policy.told_of(one) for one in AlertPriority] == [True, True, True, False, False]


def test_a_route_names_channels_that_exist() -> None:
    wrong = Alerting(routes=Routes(P2_HIGH=("log", "smoke")))
    assert [key for key, _ in wrong.contradictions()] == ["routes.P2_HIGH"]
    known = Alerting(routes=Routes(P2_HIGH=("phone",)), channels=Channels(others={"phone": OtherChannel(url="env:PHONE")}))
    assert [*known.contradictions()] == []
    for taken in ("email", "all"):
        own = Channels(others={taken: OtherChannel(url="env:X")})
        assert [key for key, _ in own.contradictions()] == [f"others.{taken}"]


@pytest.mark.parametrize(("channel", "told", "key"), [
    (WebhookChannel, {"url": "https://example.com"}, "url"), (OtherChannel, {"url": "env:X"}, "url"),
    (EmailChannel, {"recipients": ("ada@example.com",)}, "recipients, and url for the account"),
    (PhoneChannel, {"phone_numbers": ("+15550100",)}, "phone_numbers, and url for the account"),
])  # fmt: skip
def test_a_channel_that_is_on_has_somebody_to_tell(channel: type[LoudChannel], told: dict[str, Any], key: str) -> None:
    wrong = f"it is on, but there is nobody to tell; give it {key}, or turn it off"
    assert [*channel(enabled=True).contradictions()] == [("enabled", wrong)]
    assert [*channel(enabled=True, **told).contradictions()] == []
    assert [*channel(enabled=False).contradictions()] == []


def test_only_a_toast_needs_to_be_offered() -> None:
    assert [is_here(*one) for one in (("toast", ["toast"]), ("toast", []), ("log", []), ("log", ["toast"]))] == [
        True, False, True, True,
    ]  # fmt: skip


def test_what_is_milder_than_an_error_is_worth_an_alert_where_somebody_is_told() -> None:
    assert [Alerting().is_worth(one) for one in ErrorSeverity] == [False, False, False, True, True, True]
    mail = Alerting(routes=Routes(P4_LOW=("email",)), channels=Channels(email=MAIL))
    assert mail.is_worth(ErrorSeverity.WARNING)
    assert not Alerting(routes=Routes(P4_LOW=("email",))).is_worth(ErrorSeverity.WARNING)


@pytest.mark.parametrize(("span", "now", "left"), [
    (None, "2026-03-01T12:00", None), ("12:00-13:00", "2026-03-01T11:59", None), ("12:00-13:00", "2026-03-01T12:00", 60),
    ("12:00-13:00", "2026-03-01T12:59", 1), ("12:00-13:00", "2026-03-01T13:00", None), ("22:00-07:00", "2026-03-01T21:59", None),
    ("22:00-07:00", "2026-03-01T22:00", 540), ("22:00-07:00", "2026-03-01T06:30", 30), ("22:00-07:00", "2026-03-01T07:00", None),
    ("12:00-12:00", "2026-03-01T12:00", None),
])  # fmt: skip
def test_quiet_hours_may_go_past_midnight(span: str | None, now: str, left: int | None) -> None:
    assert quiet_for(span, at(now)) == (None if left is None else timedelta(minutes=left))


NIGHT = Maintenance(name="backup", components=("db",), days=("sat", "sun"), hours="23:00-01:00")
ONCE = Maintenance(starts="2026-12-24T18:00", ends="2026-12-24T20:00")


@pytest.mark.parametrize(("maintenance", "component", "now", "covers"), [
    (NIGHT, "db", "2026-02-28T23:30", True), (NIGHT, "web", "2026-02-28T23:30", False),  # a Saturday
    (NIGHT, "db", "2026-02-28T22:59", False), (NIGHT, "db", "2026-02-28T00:30", False),  # that began on Friday
    (NIGHT, "db", "2026-02-28T23:00", True), (NIGHT, "db", "2026-03-01T00:59", True), (NIGHT, "db", "2026-03-03T00:30", False),
    (NIGHT, "db", "2026-03-02T00:30", True), (NIGHT, "db", "2026-03-02T23:30", False),  # began on Sunday; Monday
    (ONCE, "any", "2026-12-24T18:00", True), (ONCE, "any", "2026-12-24T17:59", False), (ONCE, "any", "2026-12-24T20:00", False),
    (Maintenance(hours="10:00-11:00", starts="2026-01-01T00:00", ends="2026-01-02T00:00"), "x", "2026-01-01T10:30", True),
    (Maintenance(hours="10:00-11:00", starts="2026-01-01T00:00", ends="2026-01-02T00:00"), "x", "2026-01-02T10:30", False),
])  # fmt: skip
def test_maintenance_covers_its_components_in_its_time(maintenance: Maintenance, component: str, now: str, covers: bool) -> None:
    assert [*maintenance.contradictions()] == []
    assert maintenance.covers(component, at(now)) is covers
    assert (Alerting(maintenance=(maintenance,)).maintained(component, at(now)) is maintenance) is covers


def test_maintenance_may_name_its_time_with_a_zone() -> None:
    zoned = Maintenance(starts="2026-12-24T18:00+00:00", ends="2026-12-24T20:00+00:00")
    assert zoned.covers("x", datetime.fromisoformat("2026-12-24T19:00+00:00").astimezone())
    assert not zoned.covers("x", datetime.fromisoformat("2026-12-24T20:00+00:00").astimezone())


@pytest.mark.parametrize(("wrong", "keys"), [
    (Maintenance(), [""]), (Maintenance(starts="2026-12-24T18:00"), [""]), (Maintenance(starts="Monday", ends="2026-12-24"), ["starts"]),
    (Maintenance(hours="10:00-11:00", starts="2026-12-24T18:00", ends="soon"), ["ends"]),
    (Maintenance(hours="10:00-11:00", starts="2026-12-24T18:00"), [""]), (Maintenance(hours="02:00-02:00"), ["hours"]),
    (Maintenance(starts="2026-12-24T22:00", ends="2026-12-24T18:00"), ["ends"]),
    (Maintenance(starts="2026-12-24T22:00", ends="2026-12-24T22:00"), ["ends"]),
    (Maintenance(days=("sun",), starts="2026-12-24T18:00", ends="2026-12-24T22:00"), ["days"]),
])  # fmt: skip
def test_maintenance_that_never_ends_or_names_no_time_is_refused(wrong: Maintenance, keys: list[str]) -> None:
    assert [key for key, _ in wrong.contradictions()] == keys


def test_quiet_hours_end_to_the_second() -> None:
    now = at("2026-03-01T12:59:30.500000")
    assert quiet_for("12:00-13:00", now) == timedelta(seconds=29.5)


def test_what_is_wrong_is_said_with_its_remedy() -> None:
    assert [*OtherChannel().contradictions()] == [("enabled", "it is on, but there is nobody to tell; give it url, or turn it off")]
    assert [wrong for _, wrong in Maintenance(hours="10:00-11:00", ends="2026-12-24").contradictions()] == ["starts and ends go together"]
    for half in (Maintenance(ends="2026-12-24T18:00"), Maintenance(starts="2026-12-24T18:00")):
        assert [*half.contradictions()] == [("", "it would never end; give it hours, or starts and ends")]
