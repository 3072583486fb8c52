"""Who is told by the document's AlertManager (§8.2), and what it refuses."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resilience.alerting.alerts import AlertChannel, AlertPriority
from resilience.alerting.channels import Channel, Channels, EmailChannel, OtherChannel, PhoneChannel
from resilience.alerting.manager import AlertManager
from resilience.alerting.policy import Alerting, Priorities, Routes
from resilience.testing import FakeClock
from tests.resilience.alerting.program import DELIVERED, FAILED, P1, P2, P3, P4, P5, Receiver, context, outcome, sent


@pytest.mark.parametrize(("severity", "priority", "channels"), [
    ("DEBUG", P5, {"log"}),
    ("INFO", P5, {"log"}),
    ("WARNING", P4, {"log", "dashboard"}),
    ("ERROR", P3, {"log", "dashboard", "email", "webhook"}),
    ("CRITICAL", P2, {"log", "dashboard", "toast", "email", "sms", "webhook"}),
    ("FATAL", P1, set(AlertChannel)),
])  # fmt: skip
def test_the_severity_decides_who_is_told(
    manager: AlertManager, severity: str, priority: AlertPriority, channels: set[str]
) -> None:
    """Errata 38: CRITICAL gets a text message, and FATAL the webhook too, as §8.1's diagram says."""
    receiver = Receiver(manager, *AlertChannel)
    alert = sent(manager, error_context=context(severity))
    assert alert.priority is priority
    assert receiver.channels == set(alert.channels) == channels
    assert outcome(alert) == dict.fromkeys(channels, (DELIVERED, ""))


def test_a_channel_without_a_handler_is_not_told_and_never_sent(manager: AlertManager) -> None:
    assert sent(manager, priority=P1).channels == ["log"]


def test_a_channel_that_is_asked_for_but_has_no_handler_has_failed(manager: AlertManager) -> None:
    receiver = Receiver(manager, "email")
    alert = sent(manager, channels=["email", AlertChannel.SMS, "email"])
    assert outcome(alert) == {"email": (DELIVERED, ""), "sms": (FAILED, "no handler is registered for this channel")}
    assert len(receiver.got) == 1


def test_without_an_error_and_a_priority_it_is_p4(manager: AlertManager) -> None:
    assert sent(manager).priority is P4


def test_a_given_priority_counts_for_more_than_the_error(manager: AlertManager) -> None:
    assert sent(manager, error_context=context("FATAL"), priority=P5).priority is P5


def test_the_policy_says_who_is_told_of_what(clock: FakeClock) -> None:
    policy = Alerting(
        priorities=Priorities(WARNING="P2_HIGH"), routes=Routes(P2_HIGH=("sms", "log")),
        channels=Channels(sms=PhoneChannel(min_priority="P1_CRITICAL"), email=EmailChannel(min_priority="P3_MEDIUM")),
    )  # fmt: skip
    manager = AlertManager(policy, clock=clock)
    Receiver(manager, "email", "sms")
    assert sent(manager, error_context=context("WARNING")).channels == ["log", "email"]


def test_a_channel_of_ones_own_tells_from_p3_on_or_as_the_policy_says(clock: FakeClock) -> None:
    policy = Alerting(channels=Channels(others={"matrix": OtherChannel(min_priority="P5_INFO")}))
    manager = AlertManager(policy, clock=clock)
    Receiver(manager, "pager", "matrix")
    assert [sent(manager, priority=one).channels for one in (P3, P4)] == [["log", "matrix", "pager"], ["log", "matrix"]]


def test_who_has_turned_alerts_off_is_told_nothing(clock: FakeClock) -> None:
    manager = AlertManager(Alerting(enabled=False), clock=clock)
    receiver = Receiver(manager, "email")
    assert sent(manager, channels=["email"]).tellings == ()
    assert not receiver.got


def test_the_log_tells_at_the_level_of_the_priority(manager: AlertManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "winclaw.alerts")
    for priority in AlertPriority:
        sent(manager, priority=priority)
    found = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "winclaw.alerts"]
    levels = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"]
    assert found == [(level, f"ALERT [{one.name}] It burns: in here") for level, one in zip(levels, AlertPriority, strict=True)]


def test_a_log_that_is_off_says_nothing(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "winclaw.alerts")
    manager = AlertManager(Alerting(channels=Channels(log=Channel(enabled=False))), clock=clock)
    assert sent(manager, priority=P1).channels == []
    assert caplog.records == []


@pytest.mark.parametrize("name", ["EMAIL", "", "all", "a b"])
def test_a_channel_that_nobody_could_name_is_refused(manager: AlertManager, name: str) -> None:
    with pytest.raises(ValueError, match=r"channel|others"):
        manager.register_channel_handler(name, print)
    assert sent(manager, priority=P1).channels == ["log"]


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"policy": Alerting(rate_limit_window=0)}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not possible"):
        AlertManager(**wrong)
