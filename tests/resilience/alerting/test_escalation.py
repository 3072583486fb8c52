"""What nobody acknowledges goes on: to the next channel, then to a call."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from resilience.alerting.alerts import TellingState
from resilience.alerting.channels import Channels, EmailChannel, PhoneChannel
from resilience.alerting.policy import Alerting, Escalation, Routes
from tests.resilience.alerting.desk import Desk, caused

AFTER_S = 900


def escalated(desk: Desk) -> list[str]:
    return [one.channel for one in desk.last.tellings if one.what == "escalated"]


def lasting(desk: Desk, severity: str = "CRITICAL") -> Desk:
    desk.lasts(caused(severity))
    return desk


def test_after_a_while_it_is_told_to_who_has_not_heard_of_it_yet() -> None:
    desk = lasting(Desk())
    desk.pass_s(AFTER_S - 1)
    assert escalated(desk) == []
    desk.pass_s(1)
    assert escalated(desk) == ["twilio_voice"]
    assert desk.last.tellings[-1].text == f"Nobody has acknowledged it since {desk.last.at:%Y-%m-%d %H:%M} UTC. in the kitchen"
    for _ in range(10):
        desk.pass_s(AFTER_S)
    assert escalated(desk) == ["twilio_voice"]


def test_it_goes_from_one_to_the_next_with_as_much_time_for_each() -> None:
    mail = Channels(
        email=EmailChannel(enabled=True, url="env:MAIL"), sms=PhoneChannel(enabled=True, url="env:SMS", min_priority="P1_CRITICAL"),
        twilio_voice=PhoneChannel(enabled=True, url="env:SMS"),
    )  # fmt: skip
    desk = lasting(Desk(channels=mail))
    desk.pass_s(AFTER_S)
    assert escalated(desk) == ["sms"]
    desk.pass_s(AFTER_S - 1)
    assert escalated(desk) == ["sms"]
    desk.pass_s(1)
    assert escalated(desk) == ["sms", "twilio_voice"]


def test_where_all_have_heard_of_it_the_last_hears_again() -> None:
    desk = lasting(Desk(), "FATAL")
    desk.pass_s(AFTER_S)
    assert escalated(desk) == ["twilio_voice"]


def test_where_nobody_else_is_left_nothing_happens() -> None:
    desk = lasting(Desk(channels=Channels()))
    before = desk.alerts
    desk.pass_s(AFTER_S)
    desk.pass_s(AFTER_S)
    assert (escalated(desk), len(desk.last.tellings)) == ([], len(before[1].tellings))


def test_what_is_acknowledged_over_or_presses_less_is_not_told_on() -> None:
    seen, over, less = lasting(Desk()), lasting(Desk()), lasting(Desk(), "ERROR")
    seen.person(lambda turn: turn.acknowledge(1, "ada", "here"))
    over.lasts()
    for desk in (seen, over, less):
        desk.pass_s(AFTER_S)
        assert escalated(desk) == []


def test_what_was_told_to_nobody_yet_is_not_told_on() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.lasts(caused("CRITICAL", needs=("database",)))
    desk.pass_s(AFTER_S)
    assert (escalated(desk), desk.told()) == ([], [])


def test_the_configuration_says_from_which_priority_on_and_to_whom() -> None:
    desk = lasting(Desk(escalation=Escalation(after_s=60, from_priority="P3_MEDIUM", channels=("sms",))), "ERROR")
    desk.pass_s(60)
    assert escalated(desk) == ["sms"]


def test_after_a_restart_the_time_goes_on_by_the_clock_on_the_wall() -> None:
    desk = lasting(Desk())
    desk.pass_s(AFTER_S - 10)
    desk.alerts, desk.s = {1: replace(desk.last, escalated_s=None)}, 5.0
    desk.pass_s(9)
    assert escalated(desk) == []
    before = desk.alerts
    desk.pass_s(0)
    assert desk.alerts is before
    desk.pass_s(1)
    assert escalated(desk) == ["twilio_voice"]


def test_a_message_that_did_not_arrive_is_no_reason_to_pass_a_channel_over() -> None:
    desk = lasting(Desk())
    failed = next(one for one in desk.last.tellings if one.channel == "sms")
    desk.alerts = {1: desk.last.told(replace(failed, state=TellingState.FAILED, ended=desk.at))}
    desk.pass_s(AFTER_S)
    assert escalated(desk) == ["sms"]


def test_in_a_silence_nobody_is_told_on() -> None:
    desk = lasting(Desk())
    desk.snoozed_until = desk.at + timedelta(hours=1)
    desk.pass_s(AFTER_S)
    assert escalated(desk) == []
    desk.snoozed_until = None
    desk.pass_s(1)
    assert escalated(desk) == ["twilio_voice"]


def test_after_a_snooze_the_time_begins_again() -> None:
    desk = lasting(Desk())
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    desk.pass_s(3600)
    assert (desk.told("sms"), escalated(desk)) == (["raised", "again"], [])
    desk.pass_s(AFTER_S)
    assert escalated(desk) == ["twilio_voice"]


def test_an_escalation_names_a_channel_that_exists() -> None:
    [(key, wrong)] = Alerting(escalation=Escalation(channels=("smoke",))).contradictions()
    assert (key, "no channel 'smoke'; there are log, dashboard" in wrong) == ("escalation.channels", True)


def test_what_nobody_was_told_is_not_told_on() -> None:
    desk = lasting(Desk(routes=Routes(P2_HIGH=())))
    desk.pass_s(AFTER_S)
    assert (desk.last.messages, desk.last.escalated) == (0, 0)


def test_a_wall_clock_that_jumps_does_not_tell_it_on() -> None:
    phones = Channels(
        sms=PhoneChannel(enabled=True, url="env:SMS", min_priority="P1_CRITICAL"),
        twilio_voice=PhoneChannel(enabled=True, url="env:SMS"),
    )  # fmt: skip
    desk = lasting(Desk(channels=phones))
    desk.at += timedelta(hours=2)
    desk.pass_s(1)
    assert escalated(desk) == []
    desk.pass_s(AFTER_S - 1)
    assert escalated(desk) == ["sms"]
    desk.at += timedelta(hours=2)
    desk.pass_s(1)
    assert escalated(desk) == ["sms"]


def test_what_comes_again_and_again_is_told_on_as_soon() -> None:
    desk = Desk()
    for _ in range(9):
        desk.happens(severity="CRITICAL")
        assert escalated(desk) == []
        desk.pass_s(AFTER_S / 9)
    assert escalated(desk) == ["twilio_voice"]
