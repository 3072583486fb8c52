"""Rules of one's own, in code and in the configuration, by which an error is judged."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest

from resilience.classification.classifier import ErrorClassifier, Verdict
from resilience.classification.evidence import Evidence
from resilience.classification.policy import ClassificationRule
from resilience.context import ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.errors import DiskFailureError, RateLimitError, SecurityError, ThrottlingError, WinClawError
from tests.resilience.classification.raised import AnswerError, caused, raises

# In code.


def test_a_users_rule_comes_before_the_built_in_ones() -> None:
    classifier = ErrorClassifier()

    @classifier.add_rule
    def teapots(evidence: Evidence) -> type[WinClawError] | None:
        return ThrottlingError if evidence.status == 418 else None

    found = classifier.classify(AnswerError(418))
    assert (found.error_type, found.reason) == ("ThrottlingError", "your rule teapots says so")
    assert classifier.classify(AnswerError(404)).error_type == "NotFoundError"
    assert classifier.classify_report({"type": "x", "metadata": {"status": 418}}).error_class is ThrottlingError
    assert teapots(Evidence(("x",), status=1)) is None  # still a function


def test_of_two_rules_the_first_wins() -> None:
    classifier = ErrorClassifier()
    classifier.add_rule(lambda evidence: None)
    classifier.add_rule(lambda evidence: ThrottlingError)
    classifier.add_rule(lambda evidence: SecurityError)
    assert classifier.classify(ValueError()).error_type == "ThrottlingError"


def test_a_rule_may_give_the_whole_verdict() -> None:
    verdict = Verdict(
        RateLimitError, ErrorSeverity.DEBUG, ErrorImpact.NONE, False, RecoveryStrategy.ESCALATE_TO_LLM, "because", 7.0
    )
    classifier = ErrorClassifier()
    classifier.add_rule(lambda evidence: verdict)
    assert classifier.classify_report({"type": "x"}) == verdict
    found = classifier.classify(ValueError())
    assert (found.severity, found.reason, found.retry_after_s) == (ErrorSeverity.DEBUG, "because", 7.0)


@pytest.mark.parametrize("answer", ["raises", "ThrottlingError", 7, ValueError])
def test_a_rule_that_raises_or_answers_nonsense_is_passed_over_and_named(answer: object) -> None:
    classifier = ErrorClassifier()

    @classifier.add_rule
    def broken(evidence: Evidence) -> Any:
        if answer == "raises":
            raise KeyError("x")
        return answer

    found = classifier.classify(AnswerError(404))
    assert found.error_type == "NotFoundError"
    assert found.reason.startswith("it has the HTTP status 404; broken was passed over")


@pytest.mark.parametrize("answer", [RateLimitError, ErrorClassifier().verdict(RateLimitError("x"))])
def test_whichever_rule_says_it_then_the_one_that_was_passed_over_is_named_with_its_fault(answer: Any) -> None:
    """Even one that has no name of its own."""
    classifier = ErrorClassifier()
    classifier.add_rule(functools.partial(raises))
    classifier.add_rule(lambda evidence: answer)
    found = classifier.classify(ValueError())
    assert found.error_type == "RateLimitError"
    assert found.reason.endswith("; a rule was passed over, for it raised RuntimeError")


# Configured.


def one_rule(**asks: Any) -> ErrorClassifier:
    return ErrorClassifier(rules=[ClassificationRule(name="mine", **asks)])


@pytest.mark.parametrize(
    "asks",
    [
        {"exception": "AnswerError"},
        {"exception": f"{AnswerError.__module__}.AnswerError"},
        {"exception": "Exception"},
        {"status": 402},
        {"code": "no_credit"},
        {"component": "shop"},
        {"exception": "AnswerError", "status": 402, "code": "no_credit", "component": "shop"},
    ],
)
def test_a_configured_rule_fits_by_what_it_asks_for(asks: Mapping[str, Any]) -> None:
    found = one_rule(**asks, type="ThrottlingError").classify(AnswerError(402, "no_credit"), {"component": "shop"})
    assert (found.error_type, found.reason) == ("ThrottlingError", "the configured rule 'mine' says so")


@pytest.mark.parametrize(
    "asks",
    [
        {"exception": "Answer"},
        {"status": 403},
        {"code": "credit"},
        {"errno": "ENOENT"},
        {"component": "Shop"},
        {"exception": "AnswerError", "status": 402, "code": "no_credit", "component": "another"},
    ],
)
def test_all_that_a_configured_rule_asks_for_must_fit(asks: Mapping[str, Any]) -> None:
    found = one_rule(**asks, type="ThrottlingError").classify(AnswerError(402, "no_credit"), {"component": "shop"})
    assert found.error_type == "PersistentError"


@pytest.mark.parametrize("name", ["ECONNRESET", "WSAECONNRESET"])
def test_a_configured_rule_knows_system_errors_by_all_their_names(name: str) -> None:
    import errno

    classifier = one_rule(errno=name, type="ThrottlingError")
    assert classifier.classify(ConnectionResetError(errno.ECONNRESET, "x")).error_type == "ThrottlingError"
    node = {"type": "Error", "metadata": {"code": "ECONNRESET"}}
    assert classifier.classify_report(node).error_class is ThrottlingError


def test_a_configured_rule_sees_what_an_error_was_raised_from() -> None:
    classifier = one_rule(status=402, type="ThrottlingError")
    assert classifier.classify(caused(RuntimeError("x"), AnswerError(402))).error_type == "ThrottlingError"
    by_chance = RuntimeError("x")
    by_chance.__context__ = AnswerError(402)
    assert classifier.classify(by_chance).error_type == "PersistentError"


def test_a_configured_rule_may_name_a_kind() -> None:
    assert one_rule(status=402, type="security.anomaly").classify(AnswerError(402)).error_type == "AnomalyDetectedError"


def test_a_configured_rule_may_change_the_severity_alone() -> None:
    found = one_rule(status=404, severity="FATAL").classify(AnswerError(404))
    assert (found.error_type, found.severity) == ("NotFoundError", ErrorSeverity.FATAL)
    assert found.reason == "it has the HTTP status 404; how bad it is, the configured rule 'mine' says"


def test_a_configured_rule_of_an_unknown_class_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="the rule 'mine' gives the type 'RateLimtError'"):
        one_rule(status=1, type="RateLimtError")


def test_rules_in_code_are_asked_before_configured_ones() -> None:
    classifier = one_rule(status=404, type="ThrottlingError")
    classifier.add_rule(lambda evidence: DiskFailureError)
    assert classifier.classify(AnswerError(404)).error_type == "DiskFailureError"


def test_members_of_a_group_are_judged_by_rules_too() -> None:
    classifier = one_rule(exception="ValueError", type="SecurityError")
    assert classifier.classify(ExceptionGroup("x", [TimeoutError(), ValueError()])).error_type == "SecurityError"
