"""Whose fault a failed call is: only what says something about the service counts against it."""

from __future__ import annotations

import asyncio
import json

import pytest

from resilience import errors as e
from resilience.circuit.blame import CALLERS_MISTAKES, is_services_fault
from resilience.classification.classifier import ErrorClassifier, Rule
from resilience.degradation.gate import FeatureDisabledError


class Gone(Exception):
    """The service does not answer; nobody knows this class."""


class Odd(ValueError):
    """A service's own error, which only a rule knows."""


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        # WinClaw's own classes are judged as they are.
        (e.NetworkTransientError("down"), True),
        (e.WinClawError("something"), True),
        (e.LLMRateLimitError("slow down"), True),
        *((mistake("no"), False) for mistake in CALLERS_MISTAKES),
        (FeatureDisabledError("gmail_api", "enable_gmail", "MINIMAL", "x"), False),
        # Others by what the classifier makes of them.
        (Gone(), True),
        (ConnectionRefusedError(111, "refused"), True),
        (TimeoutError(), True),
        (json.JSONDecodeError("no", "{", 1), False),
        (FileNotFoundError(2, "no"), False),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_a_service_is_blamed_unless_the_caller_was_wrong(error: Exception, blamed: bool) -> None:
    assert is_services_fault(error) is blamed


def rule_for(component: str) -> Rule:
    return lambda evidence: e.ValidationError if evidence.component == component else e.NetworkTransientError


def test_the_callers_own_rules_are_asked_if_it_has_some() -> None:
    """A rule may judge one service's errors in another way than all others'."""
    classifier = ErrorClassifier()
    classifier.add_rule(rule_for("picky"))
    assert is_services_fault(Odd(), "picky", classifier) is False
    assert is_services_fault(Odd(), "another", classifier) is True
    assert is_services_fault(Odd(), classifier=classifier) is True
    unknown = ErrorClassifier()
    unknown.add_rule(rule_for("unknown"))
    assert is_services_fault(Odd(), classifier=unknown) is False, "who names no component is unknown"


def test_what_was_cancelled_in_a_group_is_nobodys_fault() -> None:
    """Its verdict is a plain error without impact; alone it is no ``Exception`` and never comes here."""
    assert is_services_fault(BaseExceptionGroup("g", [asyncio.CancelledError()]), "llm") is False  # type: ignore[arg-type]


def test_without_a_classifier_one_and_the_same_serves_all() -> None:
    from resilience.circuit.blame import _classifier

    assert _classifier() is _classifier()
