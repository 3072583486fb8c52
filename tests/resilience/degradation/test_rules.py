"""Rules for the level: what they ask for, when they hold, and what becomes of those that fail."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from resilience.degradation.conditions import ConditionError
from resilience.degradation.health import Circumstances, ServiceHealth
from resilience.degradation.levels import DegradationLevel, Demand
from resilience.degradation.rules import DegradationRule, demands

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def services(**healthy: bool) -> Circumstances:
    return Circumstances(
        {name: ServiceHealth(name, well, NOW, because="" if well else "3 calls failed") for name, well in healthy.items()}
    )


def by_text(condition: str = "mail.unhealthy") -> DegradationRule:
    return DegradationRule("mail_down", condition, DegradationLevel.LIMITED_EXTERNAL, 7, auto_recover=False)


def test_a_rule_in_words_asks_for_its_level_while_it_holds() -> None:
    found = by_text().demand(services(mail=False, other=False))
    assert found is not None
    assert found == Demand(
        "mail_down", DegradationLevel.LIMITED_EXTERNAL, found.cause, 7, auto_recover=False, unwell=frozenset({"mail"})
    )
    assert found.cause.startswith("mail ")
    assert found.cause.endswith("; rule mail_down.")
    assert by_text().demand(services(mail=True, other=False)) is None


def test_a_rule_in_code_asks_in_the_name_of_all_that_are_unwell() -> None:
    rule = DegradationRule("any", lambda now: not now.of("mail").is_healthy, DegradationLevel.MINIMAL)
    assert rule.demand(services(mail=False, voice=False, disk=True)) == Demand(
        "any", DegradationLevel.MINIMAL, "mail, voice not answering; rule any.", unwell=frozenset({"mail", "voice"})
    )
    assert rule.demand(services(mail=True, voice=False)) is None


def test_a_rule_in_code_may_hold_though_all_are_well() -> None:
    rule = DegradationRule("at night", lambda _: True, DegradationLevel.MINIMAL)
    assert rule.demand(services(mail=True)) == Demand("at night", DegradationLevel.MINIMAL, "its condition holds; rule at night.")


def test_a_rule_that_fails_does_not_hold_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It must neither lower the level nor keep the other rules from being asked."""

    def broken(_: Circumstances) -> bool:
        raise RuntimeError("it has a fault")

    rules = [DegradationRule("broken", broken, DegradationLevel.SAFE_MODE), by_text()]
    with caplog.at_level(logging.ERROR, "winclaw.degradation"):
        assert [one.rule for one in demands(rules, services(mail=False))] == ["mail_down"]
    [record] = caplog.records
    assert record.getMessage().startswith("the rule broken failed")
    assert record.exc_info is not None
    assert "it has a fault" in str(record.exc_info[1])


def test_a_rule_in_words_that_fails_does_not_hold_either(caplog: pytest.LogCaptureFixture) -> None:
    """A program may tell anything of its services."""
    odd = Circumstances(mail=ServiceHealth("mail", False, NOW, error_count=None))  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR, "winclaw.degradation"):
        assert len(demands([by_text("mail.error_count > 3"), by_text()], odd)) == 1
    assert caplog.records[0].getMessage().startswith("the rule mail_down failed")


def test_those_that_hold_are_asked_for_in_their_order() -> None:
    rules = [by_text("voice.unhealthy"), by_text("mail.unhealthy"), by_text("mail.healthy"), by_text("voice.healthy")]
    assert [one.cause.split()[0] for one in demands(rules, services(mail=False, voice=True))] == ["mail", "voice"]


def test_a_rule_is_understood_when_it_is_made() -> None:
    with pytest.raises(ConditionError):
        by_text("mail is down")
    with pytest.raises(ConditionError, match="no service 'mail'"):
        DegradationRule("x", "mail.unhealthy", DegradationLevel.MINIMAL, services=["voice"])


def test_a_rule_tells_which_services_it_asks_for() -> None:
    assert by_text("mail.unhealthy or count_unhealthy([voice, mail]) > 1").names == {"mail", "voice"}
    assert DegradationRule("x", lambda _: True, DegradationLevel.MINIMAL).names == frozenset()


def test_rules_are_equal_if_they_say_the_same() -> None:
    assert by_text() == by_text()
    assert by_text() != by_text("mail.healthy")
