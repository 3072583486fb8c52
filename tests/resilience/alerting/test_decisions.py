"""What the core makes of alerts: snooze, tests, channels that do not deliver, and what it knows of its own absence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resilience.alerting.alerts import AlertState, TellingState
from resilience.alerting.channels import Channels, EmailChannel
from resilience.alerting.policy import Alerting, Routes
from resilience.config.settings import Service, Settings
from resilience.core.causes import happened, needed
from resilience.core.core import Core
from resilience.core.inputs import Configuration, Look, Offered, ProbeTold, Sending, TellingTold, TooLateError
from resilience.core.records import Records
from resilience.core.services import Probed
from resilience.detection.policy import Probe
from resilience.events import EventType, Report
from resilience.processes.policy import Process
from resilience.redaction import Redactor
from resilience.testing import FakeClock

MAIL = Channels(email=EmailChannel(enabled=True, url="env:MAIL"))


def fails(core: Core, component: str = "kitchen", kind: str = "RuntimeError", severity: str = "CRITICAL") -> None:
    report = Report(type=kind, message="it burns", component=component, operation="cook", severity=severity)
    core.report([report]).result(10)


def look(core: Core, clock: FakeClock, seconds: float = 0) -> None:
    clock.advance(seconds)
    core._submit(Look()).result(10)


def states(core: Core, channel: str = "email") -> list[tuple[str, TellingState]]:
    return [(one.what, one.state) for alert in core.state.alerts.values() for one in alert.tellings if one.channel == channel]


def test_a_snooze_of_all_holds_over_a_restart_and_ends(life: Callable[..., Core], clock: FakeClock) -> None:
    core = life(channels=MAIL)
    core.snooze_alerts(3600, actor="ada", origin="here").result(10)
    assert core.history.events(0)[-1].body["asked"] == "snooze all alerts for 3600 s"
    core = life(channels=MAIL)
    fails(core)
    assert (states(core), core.view()["snoozed_until"] is not None) == ([], True)
    fails(core, "cellar", severity="FATAL")
    assert states(core) == [("raised", TellingState.WAITING)]
    look(core, clock, 3600)
    assert core.state.snoozed_until is None
    look(core, clock, 1)
    kitchen = next(one for one in core.state.alerts.values() if one.cause.component == "kitchen")
    assert [one.what for one in kitchen.tellings if one.channel == "email"] == ["raised"]


def test_a_snooze_of_all_can_be_ended(core: Core) -> None:
    core.snooze_alerts(3600, actor="ada", origin="here").result(10)
    core.snooze_alerts(0, actor="ada", origin="here").result(10)
    assert core.state.snoozed_until is None


def test_one_alert_is_snoozed_by_a_person_and_not_when_it_is_over(life: Callable[..., Core], clock: FakeClock) -> None:
    core = life(channels=MAIL)
    fails(core)
    core.decide_alert(1, "snooze", actor="ada", origin="here", for_s=600).result(10)
    assert core.state.alerts[1].view()["silent"].startswith("snoozed until")
    core.decide_alert(1, "acknowledge", actor="ada", origin="127.0.0.1").result(10)
    assert (core.state.alerts[1].actor, core.state.alerts[1].origin) == ("ada", "127.0.0.1")
    look(core, clock, 901)
    assert core.state.alerts[1].state is AlertState.RESOLVED
    with pytest.raises(TooLateError):
        core.decide_alert(1, "snooze", actor="ada", origin="here", for_s=600).result(10)


def test_a_test_goes_by_the_one_channel_and_is_no_open_alert(life: Callable[..., Core]) -> None:
    core = life(channels=MAIL)
    core.test_channel("email", actor="ada", origin="here").result(10)
    [alert] = core.state.alerts.values()
    assert ([(one.what, one.channel) for one in alert.tellings], alert.is_open) == ([("test", "email")], False)
    assert core.history.events(0)[-1].body["asked"] == "test email"


@pytest.mark.parametrize(("channel", "why"), [
    ("smoke", "there is no channel 'smoke'; there are log"), ("sms", "sms is off"), ("toast", "no desktop here"),
])  # fmt: skip
def test_what_cannot_be_tested_is_said(life: Callable[..., Core], channel: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        life(channels=MAIL).test_channel(channel, actor="ada", origin="here").result(10)


def test_a_toast_is_told_only_where_a_desktop_is_offered(core: Core, clock: FakeClock) -> None:
    fails(core, "one")
    core.tell(Offered("toast", True)).result(10)
    fails(core, "two")
    core.tell(Offered("toast", False)).result(10)
    fails(core, "three")
    assert states(core, "toast") == [("raised", TellingState.WAITING)]
    look(core, clock, 61)
    assert states(core, "toast") == [("raised", TellingState.FAILED)]


def test_several_messages_are_claimed_and_delivered_as_one(life: Callable[..., Core]) -> None:
    core = life(channels=MAIL)
    for component in ("a", "b", "c"):
        fails(core, component)
    keys = ("1-1-email", "2-1-email", "3-1-email")
    core.tell(Sending(keys, "1-1-email-digest")).result(10)
    assert {one.digest for alert in core.state.alerts.values() for one in alert.tellings if one.channel == "email"} == {
        "1-1-email-digest"
    }
    core = life(channels=MAIL)
    assert states(core) == [("raised", TellingState.SENDING)] * 3
    core.tell(TellingTold(keys, True, "taken")).result(10)
    assert states(core) == [("raised", TellingState.DELIVERED)] * 3
    with pytest.raises(TooLateError):
        core.tell(Sending(keys)).result(10)


def test_where_one_of_several_is_not_to_be_sent_any_more_none_is_claimed(life: Callable[..., Core]) -> None:
    core = life(channels=MAIL)
    fails(core)
    with pytest.raises(TooLateError):
        core.tell(Sending(("1-1-email", "7-1-email"), "d")).result(10)
    assert states(core) == [("raised", TellingState.WAITING)]
    core.tell(TellingTold(("1-1-email", "7-1-email"), True, "taken")).result(10)
    assert states(core) == [("raised", TellingState.DELIVERED)]


def test_a_channel_that_does_not_deliver_waits_for_the_user_and_is_an_alert_until_it_does(
    life: Callable[..., Core], clock: FakeClock
) -> None:
    core = life(channels=MAIL)
    fails(core)
    core.tell(TellingTold(("1-1-email",), False, "535, wrong password")).result(10)
    core = life(channels=MAIL)
    [notice] = core.state.unsettled
    assert (notice.name, notice.cause) == ("channel:email", "535, wrong password.")
    look(core, clock, 61)
    alert = next(one for one in core.state.alerts.values() if one.cause.about == "channel:email")
    assert alert.is_open
    fails(core, "cellar")
    key = next(one.key for one in reversed(core.state.alerts.values()) for one in one.tellings if one.channel == "email")
    core.tell(TellingTold((key,), True, "taken")).result(10)
    assert (core.state.unsettled, core.state.alerts[alert.id].state) == ((), AlertState.RESOLVED)


def test_what_nobody_has_acknowledged_needs_you_once(core: Core) -> None:
    fails(core)
    fails(core, "cellar", severity="ERROR")
    [notice] = core.state.needs_you
    assert (notice.what, notice.page) == (f"{core.state.alerts[1].cause.title}.", "/alerts#alert-1")
    core.decide_alert(1, "acknowledge", actor="ada", origin="here").result(10)
    assert core.state.needs_you == ()


# What is worth an alert.


def started(clock: FakeClock, **body: Any) -> list[Any]:
    return [*happened([Records(Redactor(), clock).event(EventType.APP_STARTED, "winclaw", **body)], Settings())]


def test_that_winclaw_was_down_is_told_with_from_when_to_when_and_why(clock: FakeClock) -> None:
    [(cause, times)] = started(clock, away_s=90.0, crashed=True, because="It hung.")
    until = clock.now()
    assert (cause.about, cause.severity.name, times) == ("winclaw:down", "CRITICAL", 1)
    assert cause.message.endswith(f"to {until:%Y-%m-%d %H:%M:%S} UTC, because it hung.")
    assert cause.message.startswith("I was down from ")
    [(unknown, _)] = started(clock, away_s=None, crashed=True, because="")
    assert unknown.message.startswith(f"I was down to {until:%Y-%m-%d %H:%M:%S} UTC, because it ended without a goodbye")


def test_a_start_after_a_goodbye_is_no_news(clock: FakeClock) -> None:
    assert started(clock, away_s=90.0, crashed=False, because="") == []


def test_what_a_service_needs_is_known_however_far_away() -> None:
    settings = Settings(
        services={"web": Service(depends_on=("db", "cache")), "db": Service(process="postgres"), "cache": Service(depends_on=("web",))},
        processes={"postgres": Process(command=("x",), depends_on=("disk",)), "disk": Process(command=("x",))},
    )  # fmt: skip
    assert needed("web", settings) == ("db", "cache", "postgres", "disk")
    assert needed("postgres", settings) == ("disk",)
    assert needed("nobody", settings) == ()


def test_an_error_for_want_of_a_connection_waits_for_the_network(core: Core) -> None:
    fails(core, "web", kind="ConnectionError")
    assert core.state.alerts[1].cause.needs == ("network",)
    fails(core, "web", kind="RuntimeError")
    assert core.state.alerts[2].cause.needs == ()


def test_behind_a_service_that_is_down_an_error_is_no_news(life: Callable[..., Core], clock: FakeClock) -> None:
    core = life(channels=MAIL)
    own = {"web": Service(depends_on=("db",)), "db": Service(probe=Probe(tcp="127.0.0.1:9"))}
    services = {**Settings().services, **own}
    core.tell(Configuration(Settings(services=services, alerting=Alerting(channels=MAIL)))).result(10)
    core.tell(ProbeTold("db", Probed(well=False, since=clock.now(), what="nobody answers"))).result(10)
    fails(core, "web")
    alert = next(one for one in core.state.alerts.values() if one.cause.component == "web")
    assert (alert.behind, alert.tellings) == ("db", ())


def test_a_warning_is_an_alert_where_somebody_is_told_of_it(life: Callable[..., Core]) -> None:
    core = life(channels=MAIL)
    fails(core, severity="WARNING")
    assert core.state.alerts == {}
    core = life(channels=MAIL, routes=Routes(P4_LOW=("email",)))
    fails(core, severity="WARNING")
    assert states(core) == [("raised", TellingState.WAITING)]
