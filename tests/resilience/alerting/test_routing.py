"""Which messages an alert makes, for which channels: pure, with a clock that the tests move."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from resilience.alerting.alerts import Alert, AlertChannel, AlertState, TellingState
from resilience.alerting.channels import Channel, Channels, OtherChannel
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity
from tests.resilience.alerting.desk import WINDOW_S, Desk, caused


@pytest.mark.parametrize(("severity", "channels"), [
    ("DEBUG", {"log"}), ("INFO", {"log"}), ("WARNING", {"log", "dashboard"}),
    ("ERROR", {"log", "dashboard", "email", "webhook"}),
    ("CRITICAL", {"log", "dashboard", "toast", "email", "sms", "webhook"}),
    ("FATAL", {"log", "dashboard", "toast", "email", "sms", "webhook", "twilio_voice"}),
])  # fmt: skip
def test_the_severity_decides_who_is_told(severity: str, channels: set[str]) -> None:
    alert = Desk().happens(severity=severity)
    assert {one.channel for one in alert.tellings} == channels
    assert {(one.what, one.text, one.state) for one in alert.tellings} == {("raised", "in the kitchen", TellingState.WAITING)}
    assert len({one.key for one in alert.tellings}) == len(channels)


def test_a_channel_that_is_off_tells_nothing_nor_does_any_when_alerting_is_off() -> None:
    quiet = Channels(log=Channel(enabled=False))
    assert {one.channel for one in Desk(channels=quiet).happens(severity="FATAL").tellings} == {"dashboard", "toast"}
    alert = Desk(enabled=False).happens(severity="FATAL")
    assert (alert.tellings, alert.messages, alert.count) == ((), 0, 1)


@pytest.mark.parametrize("most", [1, 5])
def test_ten_thousand_equal_errors_are_so_many_messages_and_one_summary(most: int) -> None:
    desk = Desk(max_alerts_per_window=most)
    for _ in range(20):
        desk.happens(times=500)
    assert (desk.last.count, desk.last.held) == (10_000, 10_000 - most)
    assert desk.told() == ["raised", *["again"] * (most - 1)]
    desk.pass_s(WINDOW_S - 1)
    assert len(desk.told()) == most
    desk.pass_s(1)
    assert desk.told() == ["raised", *["again"] * (most - 1), "summary"]
    assert [one.text for one in desk.last.tellings][-1] == f"{10_000 - most} more, 10000 since it began."
    for _ in range(10):
        desk.pass_s(WINDOW_S)
    assert desk.told().count("summary") == 1
    assert len(desk.alerts) == 1


def test_a_flood_of_fatal_ones_is_never_hidden_in_silence() -> None:
    desk = Desk(max_alerts_per_window=1)
    for _ in range(3):
        desk.happens(times=100, severity="FATAL")
        desk.pass_s(WINDOW_S)
    assert desk.told("sms") == ["raised", "summary", "again", "summary", "again", "summary"]


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_jumps_makes_neither_storm_nor_silence(jump: timedelta) -> None:
    desk = Desk(max_alerts_per_window=2)
    desk.happens(times=10)
    desk.at += jump
    desk.happens(times=10)
    desk.pass_s(1)
    assert desk.told() == ["raised", "again"]
    desk.pass_s(WINDOW_S)
    assert desk.told() == ["raised", "again", "summary"]
    desk.happens()
    assert desk.told() == ["raised", "again", "summary", "again"]


def test_another_life_begins_another_window_and_says_what_was_held_back() -> None:
    desk = Desk(max_alerts_per_window=1)
    desk.happens(times=3)
    kept = msgspec.convert(msgspec.to_builtins(desk.last), Alert)
    desk.alerts, desk.s = {kept.id: msgspec.structs.replace(kept, window_s=None)}, 5.0
    desk.pass_s(1)
    desk.happens(times=2)
    assert desk.told() == ["raised", "summary", "again"]


def test_different_causes_are_different_alerts_with_windows_of_their_own() -> None:
    desk = Desk(max_alerts_per_window=1)
    for about in ("error:1", "error:2", "error:1"):
        desk.happens(about=about)
    assert [(one.id, one.count, one.held) for one in desk.alerts.values()] == [(1, 2, 1), (2, 1, 0)]
    assert desk.told() == ["raised", "raised"]


def test_what_lasts_is_told_once_and_once_that_it_is_over() -> None:
    desk = Desk()
    cause = caused("CRITICAL", about="process:gateway")
    for _ in range(5):
        desk.lasts(cause)
        desk.pass_s(WINDOW_S)
    assert desk.told() == ["raised"]
    desk.lasts()
    assert (desk.told(), desk.told("sms")) == (["raised", "resolved"], ["raised", "resolved"])
    assert (desk.last.state, desk.last.resolved_at) == (AlertState.RESOLVED, desk.at)
    desk.lasts()
    assert desk.told() == ["raised", "resolved"]


def test_only_who_was_told_hears_that_it_is_over() -> None:
    desk = Desk()
    desk.lasts(caused("WARNING"))
    desk.lasts()
    assert (desk.told("dashboard"), desk.told("email")) == (["raised", "resolved"], [])


def test_what_becomes_worse_is_told_again_to_more_and_what_becomes_better_is_not() -> None:
    desk = Desk()
    for severity in ("ERROR", "FATAL", "ERROR"):
        desk.lasts(caused(severity))
    assert (desk.told("email"), desk.told("sms")) == (["raised", "again"], ["again"])
    assert desk.last.cause.severity is ErrorSeverity.ERROR


def test_what_comes_and_goes_does_not_tell_each_time() -> None:
    desk = Desk(max_alerts_per_window=2)
    for _ in range(10):
        desk.lasts(caused())
        desk.lasts()
    assert desk.told().count("raised") == 2
    assert len(desk.alerts) == 10
    desk.pass_s(WINDOW_S)
    assert desk.told().count("summary") == 1


def test_an_acknowledged_alert_counts_on_and_tells_nothing_more_but_its_end() -> None:
    desk = Desk()
    desk.lasts(caused())
    turn = desk.turn()
    turn.acknowledge(1, "ada", "here")
    desk.alerts = turn.after()
    desk.lasts(caused(message="in the whole house"))
    assert (desk.told(), desk.last.actor, desk.last.acknowledged_at) == (["raised"], "ada", desk.at)
    desk.lasts()
    assert desk.told() == ["raised", "resolved"]
    with pytest.raises(KeyError):
        desk.turn().acknowledge(99, "ada", "here")


def test_an_error_that_does_not_come_again_is_resolved_without_a_word() -> None:
    desk = Desk()
    desk.happens()
    desk.pass_s(899)
    assert desk.last.is_open
    desk.pass_s(1)
    assert (desk.last.state, desk.told()) == (AlertState.RESOLVED, ["raised"])


def test_what_lasts_is_not_resolved_by_time() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.pass_s(100_000)
    assert desk.last.is_open


def test_alerts_and_tellings_are_bounded_and_what_waits_is_kept() -> None:
    desk = Desk()
    for number in range(1000):
        desk.happens(about=f"error:{number}")
    assert len(desk.alerts) == 400
    desk = Desk()
    for _ in range(50):
        alert = desk.happens(times=5)
        desk.pass_s(WINDOW_S)
    for one in alert.tellings[:-1]:
        alert = alert.told(msgspec.structs.replace(one, state=TellingState.DELIVERED, ended=desk.at))
    assert (len(alert.tellings), len([*alert.open_tellings]), alert.tellings[-1].state) == (21, 1, TellingState.WAITING)


def test_an_unchanged_turn_gives_the_very_same_alerts() -> None:
    desk = Desk()
    desk.lasts(caused())
    before = desk.alerts
    desk.lasts(caused())
    desk.pass_s(1)
    assert desk.alerts is before


def test_the_channels_of_the_document_are_all_there() -> None:
    assert {"log", "email", "sms", "webhook", "dashboard", "twilio_voice"} <= {*AlertChannel}


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_jumps_ends_no_alert_and_keeps_none(jump: timedelta) -> None:
    desk = Desk()
    desk.happens(severity="CRITICAL")
    desk.at += jump
    desk.pass_s(899)
    assert desk.told() == ["raised"]
    desk.pass_s(1)
    assert (desk.told(), desk.last.state) == (["raised", "resolved"], AlertState.RESOLVED)


def test_what_was_seen_in_an_earlier_life_ends_by_the_clock_on_the_wall() -> None:
    desk = Desk()
    desk.happens()
    desk.alerts, desk.s = {1: msgspec.structs.replace(desk.last, seen_s=None)}, 5.0
    desk.pass_s(899)
    assert desk.last.is_open
    desk.pass_s(1)
    assert desk.last.state is AlertState.RESOLVED


def test_a_channel_does_not_tell_of_itself() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL", "channel:email", component="email"))
    assert (desk.told("email"), desk.told("sms")) == ([], ["raised"])


def test_who_has_acknowledged_hears_when_it_gets_worse() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.person(lambda turn: turn.acknowledge(1, "ada", "here"))
    desk.lasts(caused("CRITICAL"))
    assert (desk.told(), desk.last.state) == (["raised", "again"], AlertState.OPEN)


def test_all_who_were_ever_told_hear_that_it_is_over_and_by_what_pressed_most() -> None:
    desk = Desk()
    desk.happens(severity="CRITICAL")
    for _ in range(30):
        desk.pass_s(WINDOW_S)
        desk.happens(times=5)
        alert = desk.last
        desk.alerts = {1: alert.told(*(msgspec.structs.replace(one, state=TellingState.DELIVERED) for one in alert.open_tellings))}
    desk.pass_s(900)
    assert (desk.told("sms"), desk.last.state) == (["resolved"], AlertState.RESOLVED)


def test_what_an_older_alert_of_the_same_cause_has_yet_to_tell_is_given_up_with_its_channel() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.lasts()
    desk.lasts(caused())
    desk.policy = Alerting()
    desk.pass_s(1)
    assert [one.state for alert in desk.alerts.values() for one in alert.tellings if one.channel == "email"] == [TellingState.FAILED] * 3
    assert desk.last.is_open


def test_a_flood_of_different_errors_is_one_alert_from_some_number_on_and_what_lasts_stays() -> None:
    desk = Desk()
    desk.lasts(caused("FATAL", "level", component="level"))
    for number in range(1000):
        desk.happens(about=f"error:{number}", component=f"c{number}")
    assert len(desk.alerts) == 400
    assert (desk.alerts[1].is_open, desk.last.cause.about, desk.last.count) == (True, "flood", 602)
    desk.lasts(*(caused("CRITICAL", f"agent:{number}", component=f"a{number}") for number in range(600)))
    before = desk.alerts
    desk.lasts(*(caused("CRITICAL", f"agent:{number}", component=f"a{number}") for number in range(600)))
    assert desk.told("sms").count("raised") >= 600
    assert [one for one in before.values() if one.cause.about.startswith("agent:")] == [
        one for one in desk.alerts.values() if one.cause.about.startswith("agent:")
    ]


def test_repetitions_that_wait_are_bounded() -> None:
    desk = Desk()
    for _ in range(100):
        desk.happens(times=100)
        desk.pass_s(WINDOW_S)
    waiting = [one for one in desk.last.tellings if one.channel == "email"]
    assert (len(waiting), waiting[0].what, waiting[-1].what) == (101, "raised", "summary")


def test_a_channel_called_like_something_else_is_told_of_that() -> None:
    own = Channels(others={"level": OtherChannel(url="env:X")})
    desk = Desk(channels=own)
    desk.lasts(caused(about="level"))
    assert desk.told("level") == ["raised"]


def test_a_test_of_a_channel_is_one_message_and_no_open_alert() -> None:
    desk = Desk()
    desk.happens()
    alert = desk.turn().test("sms")
    cause = alert.cause
    assert (alert.id, alert.state, alert.resolved_at, alert.count, alert.lasts) == (2, AlertState.RESOLVED, desk.at, 1, False)
    assert (cause.about, cause.title, cause.severity.name, cause.component, cause.page) == (
        "test:sms", "A test", "INFO", "winclaw", "/alerts",
    )  # fmt: skip
    assert [(one.channel, one.what, one.text, one.at) for one in alert.tellings] == [("sms", "test", cause.message, desk.at)]
    assert cause.message.startswith("This is how alerts reach you.")
    assert desk.person(lambda turn: turn.test("sms")) == alert


def test_why_a_message_is_given_up() -> None:
    desk = Desk()
    desk.happens(severity="FATAL")
    sending = next(one for one in desk.last.tellings if one.channel == "sms")
    desk.alerts = {1: desk.last.told(msgspec.structs.replace(sending, state=TellingState.SENDING))}
    desk.policy = Alerting()
    desk.offered = frozenset()
    desk.pass_s(60)
    whys = {one.channel: (one.state, one.why, one.ended) for one in desk.last.tellings}
    assert whys["email"] == (TellingState.FAILED, "this channel was turned off", desk.at)
    assert whys["webhook"][1] == "this channel was turned off"
    assert (whys["sms"][0], whys["toast"][0], whys["log"][0]) == (TellingState.SENDING, TellingState.WAITING, TellingState.WAITING)
    desk.pass_s(1)
    toast = next(one for one in desk.last.tellings if one.channel == "toast")
    assert (toast.state, toast.why, toast.ended) == (TellingState.FAILED, "there was no desktop", desk.at)


def test_what_changes_in_what_lasts_is_kept_without_a_word() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL"))
    desk.lasts(caused("ERROR", message="half of it"))
    assert (desk.last.cause.message, desk.last.priority.name, desk.told("sms")) == ("half of it", "P3_MEDIUM", ["raised"])


def test_where_not_all_is_known_yet_nothing_is_over() -> None:
    """What an earlier WinClaw saw, this one may have yet to see."""
    desk = Desk()
    desk.lasts(caused())
    turn = desk.turn()
    turn.lasting({}, all_known=False)
    assert turn.after()[1].is_open


def test_what_happens_happens_once_unless_it_is_said_how_often() -> None:
    turn = Desk().turn()
    turn.happened(caused())
    assert turn.after()[1].count == 1


def test_what_was_held_back_is_still_to_be_said_when_another_window_has_begun() -> None:
    desk = Desk()
    desk.happens(times=40)
    desk.at, desk.s = desk.at + timedelta(seconds=WINDOW_S), desk.s + WINDOW_S
    assert (desk.happens().held, desk.told()[5:]) == (35, ["again"])


def test_an_error_is_not_over_before_its_summary() -> None:
    desk = Desk(resolve_after_s=60.0)
    desk.happens(times=40)
    desk.pass_s(61)
    assert desk.last.is_open
    desk.pass_s(WINDOW_S - 61)
    assert (desk.told(), desk.last.is_open) == (["raised", *["again"] * 4, "summary"], False)


def test_that_an_error_is_over_is_said_with_when_it_came_last() -> None:
    desk = Desk()
    desk.happens(severity="CRITICAL")
    desk.pass_s(desk.policy.resolve_after_s)
    assert desk.last.tellings[-1].text == "It has not come again since 2026-01-01 00:00 UTC."
    desk.lasts(caused("CRITICAL", "level"))
    desk.lasts()
    assert desk.last.tellings[-1].text == "It is over."
