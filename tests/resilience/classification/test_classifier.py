from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience import errors
from resilience.classification.classifier import ErrorClassifier, Verdict
from resilience.classification.evidence import Evidence
from resilience.classification.policy import ClassificationRule
from resilience.context import ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.errors import (
    DiskFailureError,
    InvalidConfigError,
    NetworkTransientError,
    PermissionDeniedError,
    PromptInjectionError,
    RateLimitError,
    SandboxEscapeError,
    SecurityError,
    ServiceTransientError,
    ThrottlingError,
    TransientError,
    WinClawError,
)
from resilience.testing import FakeClock


class AnswerError(Exception):
    """A library's error for an HTTP answer."""

    def __init__(self, status: int, code: str | None = None, retry_after: str | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.code = status, code
        self.headers = {} if retry_after is None else {"Retry-After": retry_after}


def caused(error: Exception, by: BaseException) -> Exception:
    error.__cause__ = by
    return error


def kind_of(error: BaseException, component: str = "somewhere") -> str:
    return ErrorClassifier().classify(error, {"component": component}).error_type


# Structure decides, never words.


@pytest.mark.parametrize(
    "error",
    [
        SecurityError("blocked connection"),
        ValueError("do not retry"),
        RuntimeError("temporary timeout: connection unavailable, rate limit, throttle, transient"),
    ],
    ids=repr,
)
def test_words_in_the_message_decide_nothing(error: Exception) -> None:
    assert not ErrorClassifier().classify(error).is_transient
    report = {"type": type(error).__name__, "message": str(error)}
    assert not ErrorClassifier().classify_report(report).is_transient


def test_a_security_error_is_isolated_whatever_its_words() -> None:
    found = ErrorClassifier().classify(SecurityError("blocked connection"))
    assert (found.severity, found.recovery_strategy) == (ErrorSeverity.CRITICAL, RecoveryStrategy.ISOLATE_AND_ALERT)


@pytest.mark.parametrize(
    ("error", "strategy"),
    [
        (PromptInjectionError("x"), RecoveryStrategy.ISOLATE_AND_ALERT),
        (SandboxEscapeError("x"), RecoveryStrategy.ISOLATE_AND_ALERT),
        (InvalidConfigError("x"), RecoveryStrategy.RELOAD_CONFIG),
        (PermissionDeniedError("x"), RecoveryStrategy.ESCALATE_TO_HUMAN),
        (AnswerError(403), RecoveryStrategy.ESCALATE_TO_HUMAN),
        (AnswerError(401), RecoveryStrategy.REFRESH_CREDENTIALS),
    ],
    ids=repr,
)
def test_the_strategy_is_that_of_the_class_by_whatever_road_it_came(error: Exception, strategy: RecoveryStrategy) -> None:
    assert ErrorClassifier().classify(error).recovery_strategy is strategy


@pytest.mark.parametrize("one", list(errors.TAXONOMY.values())[1:], ids=list(errors.TAXONOMY)[1:])
def test_a_class_of_the_taxonomy_is_what_it_says(one: type[WinClawError]) -> None:
    """Raised here or reported from elsewhere, by its name or by its kind, it is the same."""
    found = ErrorClassifier().classify(one("x"))
    assert (found.error_type, found.kind) == (one.__name__, one.kind)
    expected = (one, one.severity, one.impact, one.is_transient, one.recovery_strategy)
    assert (one, found.severity, found.impact, found.is_transient, found.recovery_strategy) == expected
    for name in (one.__name__, one.kind):
        told = ErrorClassifier().classify_report({"type": name})
        seen = (told.error_class, told.severity, told.impact, told.is_transient, told.recovery_strategy)
        assert seen == expected


# The context.


def test_what_is_known_of_the_call_has_fields_and_the_rest_is_metadata() -> None:
    """Passing the whole context on as keywords repeated ``component``, raised, and hid the original error."""
    clock = FakeClock()
    given = {
        "component": "gmail", "operation": "send", "user_id": "u", "session_id": "s", "retry_count": 2, "critical": False,
        "to": "ann", "severity": "mine", "error": "mine, too", "metadata": {"a": 1}, "clock": "noon", "kind": "mine",
    }  # fmt: skip
    error = ValueError("x")
    found = ErrorClassifier(clock=clock).classify(error, given)
    assert (found.component, found.operation, found.user_id, found.session_id) == ("gmail", "send", "u", "s")
    assert (found.retry_count, found.original_error, found.timestamp) == (2, error, clock.now())
    assert found.metadata == {
        "to": "ann", "severity": "mine", "error": "mine, too", "metadata": {"a": 1}, "clock": "noon", "kind": "mine"
    }  # fmt: skip


def test_a_call_of_which_nothing_is_known_is_classified_too() -> None:
    found = ErrorClassifier().classify(ValueError("x"))
    assert (found.component, found.operation, found.retry_count) == ("unknown", "unknown", 0)


def test_an_unknown_type_has_the_default_severity() -> None:
    class Surprise(Exception):
        pass

    found = ErrorClassifier(default_severity=ErrorSeverity.WARNING).classify(Surprise())
    assert (found.error_type, found.severity, found.is_transient) == ("WinClawError", ErrorSeverity.WARNING, False)
    assert found.reason == "nothing is known of this type of error"


def test_an_exception_without_a_class_of_its_own_is_unknown() -> None:
    assert kind_of(Exception("x")) == "WinClawError"


# Causes.


def test_an_unknown_error_is_what_caused_it() -> None:
    found = ErrorClassifier().classify(caused(RuntimeError("the plan failed"), ConnectionRefusedError(111, "x")))
    assert found.error_type == "NetworkTransientError"
    assert found.reason.startswith("it was caused by ConnectionRefusedError: ")


def test_an_error_that_came_up_while_handling_another_is_told_apart() -> None:
    error = RuntimeError("x")
    error.__context__ = TimeoutError()
    assert ErrorClassifier().classify(error).reason.startswith("it came up while handling TimeoutError: ")


def test_the_real_chain_of_a_failed_call_is_followed() -> None:
    def ask() -> None:
        with socket.socket() as once:
            once.bind(("127.0.0.1", 0))
            port = once.getsockname()[1]
        try:
            socket.create_connection(("127.0.0.1", port))
        except OSError as error:
            raise RuntimeError("cannot ask the model") from error

    with pytest.raises(RuntimeError) as failure:
        ask()
    assert kind_of(failure.value) == "NetworkTransientError"


def test_a_cause_makes_a_class_more_precise_but_never_another() -> None:
    assert kind_of(caused(ConnectionError("x"), TimeoutError())) == "ConnectionTimeoutError"
    assert kind_of(caused(ValueError("x"), TimeoutError())) == "InputValidationError"
    assert kind_of(caused(KeyError("x"), FileNotFoundError())) == "PersistentError"


def test_what_was_raised_as_a_class_of_the_taxonomy_stays_that() -> None:
    assert kind_of(caused(TransientError("x"), ConnectionRefusedError())) == "TransientError"
    assert kind_of(caused(RuntimeError("x"), caused(TransientError("y"), TimeoutError()))) == "TransientError"
    assert kind_of(caused(WinClawError("x"), TimeoutError())) == "ConnectionTimeoutError"


def test_of_exhausted_retries_the_last_error_tells() -> None:
    """``RetryExhaustedError`` hid the type from healing."""

    class RetryExhaustedError(Exception):
        errors = (ValueError("first"), AnswerError(503))

    found = ErrorClassifier().classify(RetryExhaustedError("gave up"))
    assert (found.error_type, found.is_transient) == ("ServiceUnavailableError", True)


def test_retry_after_is_found_on_a_cause() -> None:
    assert ErrorClassifier().classify(caused(RuntimeError("x"), AnswerError(429, retry_after="20"))).retry_after_s == 20.0


def test_retry_after_at_a_moment_counts_from_the_clock() -> None:
    clock = FakeClock()  # 1 January 2026, midnight
    found = ErrorClassifier(clock=clock).classify(AnswerError(503, retry_after="Thu, 01 Jan 2026 00:00:45 GMT"))
    assert found.retry_after_s == 45.0


def test_cancelling_is_no_failure_and_nothing_is_to_be_tried() -> None:
    found = ErrorClassifier().classify(asyncio.CancelledError())
    assert (found.severity, found.impact, found.is_transient, found.recovery_strategy) == (
        ErrorSeverity.INFO, ErrorImpact.NONE, False, RecoveryStrategy.ESCALATE_TO_HUMAN,
    )  # fmt: skip


def test_an_error_caused_by_cancelling_is_still_a_failure() -> None:
    found = ErrorClassifier().classify(caused(RuntimeError("x"), asyncio.CancelledError()))
    assert found.severity is ErrorSeverity.ERROR


# Groups.


def test_of_a_group_the_worst_decides() -> None:
    group = ExceptionGroup("all", [TimeoutError(), OSError(5, "x"), ValueError()])
    found = ErrorClassifier().classify(group)
    assert (found.error_type, found.severity) == ("DiskFailureError", ErrorSeverity.CRITICAL)
    assert found.reason == "the worst of 3 errors in a group: the system says EIO"


def test_of_two_equally_bad_errors_the_lasting_one_is_worse() -> None:
    assert ErrorClassifier().classify(ExceptionGroup("x", [TimeoutError(), ValueError()])).error_type == "InputValidationError"


def test_groups_in_groups_are_looked_into() -> None:
    inner = ExceptionGroup("inner", [TimeoutError(), SecurityError("x")])
    assert kind_of(ExceptionGroup("outer", [ValueError(), inner])) == "SecurityError"


# The judgement alone.


class Slotted(Exception):
    """An error whose attributes stand in no dictionary."""

    __slots__ = ("status",)

    def __init__(self, status: int | None = None) -> None:
        super().__init__()
        self.status = status


class Loud(ServiceTransientError):
    """An error that says of itself how bad it is."""

    severity = ErrorSeverity.FATAL
    is_transient = False


def handling(error: Exception, other: BaseException) -> Exception:
    error.__context__ = other
    return error


SHAPES: list[BaseException] = [
    ValueError(), caused(ValueError(), AnswerError(429)), handling(ValueError(), AnswerError(503)), ValueError(),
    RuntimeError(), caused(RuntimeError(), AnswerError(429, retry_after="20")), handling(RuntimeError(), AnswerError(503)),
    AnswerError(429), AnswerError(503), AnswerError(429, retry_after="Mon, 23 Nov 2026 18:00:30 GMT"),
    OSError(28, "full"), OSError(5, "broken"), OSError(), Slotted(), Slotted(429), Slotted(503),
    ExceptionGroup("one", [AnswerError(429)]), ExceptionGroup("another", [SecurityError()]),
    DiskFailureError("x"), Loud("x"), RateLimitError("x", retry_after_s=5), RateLimitError("x"),
]  # fmt: skip


@pytest.mark.parametrize("component", ["AgentCore", "gpt-5.2", "somewhere"])
@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[::-1]], ids=["forwards", "backwards"])
def test_the_verdict_alone_is_that_of_the_whole_context_whatever_was_judged_before(shapes: list[BaseException], component: str) -> None:
    """A verdict that is remembered for a class must not be told of an error of that class that shows more."""
    critical = frozenset({"AgentCore"})
    classifier = ErrorClassifier(clock=FakeClock(), critical_components=critical)
    for error in shapes:
        told = classifier.verdict(error, component)
        found = ErrorClassifier(clock=FakeClock(), critical_components=critical).classify(error, {"component": component})
        assert (told.error_class.kind, told.severity, told.impact, told.is_transient) == (
            found.kind, found.severity, found.impact, found.is_transient,
        )  # fmt: skip
        assert (told.recovery_strategy, told.reason, told.retry_after_s) == (
            found.recovery_strategy, found.reason, found.retry_after_s,
        )  # fmt: skip


def test_what_shows_only_its_class_is_judged_once_for_each_component_until_another_rule_comes() -> None:
    classifier = ErrorClassifier()
    first = classifier.verdict(ValueError("x"), "a")
    assert classifier.verdict(ValueError("y"), "a") is first
    assert classifier.verdict(ValueError("y"), "b") is not first
    assert classifier.verdict(TypeError("y"), "a") is not first
    classifier.add_rule(lambda evidence: SecurityError if evidence.component == "a" else None)
    assert classifier.verdict(ValueError("x"), "a").error_class is SecurityError


def test_verdicts_of_made_up_components_do_not_fill_the_memory() -> None:
    classifier = ErrorClassifier()
    for number in range(3000):
        classifier.verdict(ValueError(), f"c{number}")
    assert len(classifier._by_class) <= 1001


def test_without_a_component_it_is_that_of_nobody() -> None:
    classifier = ErrorClassifier(critical_components=frozenset({"unknown"}))
    assert classifier.verdict(ValueError()).severity is ErrorSeverity.CRITICAL
    assert classifier.classify(ValueError()).severity is ErrorSeverity.CRITICAL


# Severity.


def test_a_status_has_the_severity_that_was_configured() -> None:
    classifier = ErrorClassifier(http_severity={429: ErrorSeverity.CRITICAL}, critical_components=frozenset({"core"}))
    assert classifier.classify(AnswerError(429)).severity is ErrorSeverity.CRITICAL
    assert classifier.classify(AnswerError(503)).severity is ErrorSeverity.ERROR
    lower = ErrorClassifier(http_severity={500: ErrorSeverity.INFO}, critical_components=frozenset({"core"}))
    assert lower.classify(AnswerError(500), {"component": "core"}).severity is ErrorSeverity.INFO
    assert lower.classify(caused(RuntimeError(), AnswerError(500))).severity is ErrorSeverity.INFO


def test_a_status_does_not_play_down_what_a_code_makes_of_it() -> None:
    """429 is a warning; used-up credit, under the same number, is not."""
    classifier = ErrorClassifier(http_severity={429: ErrorSeverity.WARNING})
    assert classifier.classify(AnswerError(429, "insufficient_quota")).severity is ErrorSeverity.ERROR
    assert classifier.classify(AnswerError(429, "ThrottlingException")).severity is ErrorSeverity.WARNING


def test_errors_of_a_critical_component_are_critical() -> None:
    classifier = ErrorClassifier(critical_components=frozenset({"AgentCore"}))
    assert classifier.classify(ValueError(), {"component": "AgentCore"}).severity is ErrorSeverity.CRITICAL
    assert classifier.classify(ValueError(), {"component": "AgentCores"}).severity is ErrorSeverity.WARNING
    assert classifier.classify(ValueError(), {"critical": True}).severity is ErrorSeverity.CRITICAL
    assert classifier.classify_report({"type": "ValueError", "component": "AgentCore"}).severity is ErrorSeverity.CRITICAL
    assert classifier.classify(ExceptionGroup("one", [ValueError()]), {"component": "AgentCore"}).severity is ErrorSeverity.CRITICAL


@pytest.mark.parametrize("component", ["AgentCore", "somewhere"])
def test_rules_say_what_an_error_is_and_a_critical_component_still_how_bad(component: str) -> None:
    critical, expected = frozenset({"AgentCore"}), ErrorSeverity.CRITICAL if component == "AgentCore" else RateLimitError.severity
    in_code = ErrorClassifier(critical_components=critical)
    in_code.add_rule(lambda evidence: RateLimitError)
    configured = ErrorClassifier(
        critical_components=critical, rules=[ClassificationRule(name="mine", exception="ValueError", type="RateLimitError")]
    )
    for classifier in (in_code, configured):
        found = classifier.classify(ValueError(), {"component": component})
        assert (found.error_type, found.severity) == ("RateLimitError", expected)


def test_a_machine_that_fails_under_a_critical_component_is_fatal() -> None:
    """Nothing could ever be FATAL; now it is what cannot go on."""
    classifier = ErrorClassifier(critical_components=frozenset({"AgentCore"}))
    assert classifier.classify(OSError(5, "x"), {"component": "AgentCore"}).severity is ErrorSeverity.FATAL
    assert classifier.classify(OSError(5, "x"), {"component": "tts"}).severity is ErrorSeverity.CRITICAL


def test_what_an_error_says_of_itself_goes_before_its_class() -> None:
    class Odd(ServiceTransientError):
        severity = ErrorSeverity.DEBUG
        impact = ErrorImpact.FULL_SYSTEM
        is_transient = False

    found = ErrorClassifier().classify(Odd("x"))
    assert found.error_type == "ServiceTransientError"
    assert (found.severity, found.impact) == (ErrorSeverity.DEBUG, ErrorImpact.FULL_SYSTEM)
    assert (found.is_transient, found.recovery_strategy) == (False, RecoveryStrategy.ESCALATE_TO_HUMAN)
    Odd.recovery_strategy = RecoveryStrategy.HEAL_THEN_RETRY
    assert ErrorClassifier().classify(Odd("x")).recovery_strategy is RecoveryStrategy.HEAL_THEN_RETRY
    only_severity = ErrorClassifier(rules=[ClassificationRule(name="mine", exception="Odd", severity="FATAL")])
    found = only_severity.classify(Odd("x"))
    assert (found.severity, found.impact, found.is_transient) == (ErrorSeverity.FATAL, ErrorImpact.FULL_SYSTEM, False)


def test_an_error_of_another_family_may_say_that_it_is_transient() -> None:
    class Foreign(Exception):
        is_transient = True
        severity = "terrible"  # not one of ours: not heard

    found = ErrorClassifier().classify(Foreign())
    assert (found.is_transient, found.recovery_strategy) == (True, RecoveryStrategy.RETRY_WITH_BACKOFF)
    assert found.severity is ErrorSeverity.ERROR


# Language models.


@pytest.mark.parametrize(
    ("error", "elsewhere", "at_a_model"),
    [
        (TimeoutError(), "ConnectionTimeoutError", "LLMTimeoutError"),
        (AnswerError(429), "RateLimitError", "LLMRateLimitError"),
        (RateLimitError(), "RateLimitError", "LLMRateLimitError"),
        (UnicodeError(), "OutputValidationError", "LLMOutputParseError"),
        (AnswerError(429, "Throttling"), "ThrottlingError", "ThrottlingError"),
        (ConnectionRefusedError(), "NetworkTransientError", "NetworkTransientError"),
    ],
    ids=repr,
)
def test_a_language_model_has_classes_of_its_own(error: Exception, elsewhere: str, at_a_model: str) -> None:
    classifier = ErrorClassifier(llm_services=frozenset({"my-model"}))
    assert classifier.classify(error, {"component": "gmail"}).error_type == elsewhere
    found = classifier.classify(error, {"component": "my-model"})
    assert found.error_type == at_a_model
    assert ("the service is a language model" in found.reason) == (elsewhere != at_a_model)


# Rules.


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


def one_rule(**asks: Any) -> ErrorClassifier:
    return ErrorClassifier(rules=[ClassificationRule(name="mine", **asks)])


@pytest.mark.parametrize(
    "asks",
    [
        {"exception": "AnswerError"},
        {"exception": f"{__name__}.AnswerError"},
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


# Reports.


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"type": "ConnectionRefusedError"}, "NetworkTransientError"),
        ({"type": "requests.exceptions.SSLError"}, "TLSHandshakeError"),
        ({"type": "httpx.ConnectTimeout"}, "ConnectionTimeoutError"),
        ({"type": "ETIMEDOUT"}, "ConnectionTimeoutError"),
        ({"type": "openai.RateLimitError"}, "LLMRateLimitError"),
        ({"type": "anthropic.APITimeoutError"}, "LLMTimeoutError"),
        ({"type": "aiohttp.client_exceptions.ClientConnectorError"}, "NetworkTransientError"),
        ({"type": "FetchError", "metadata": {"code": "UND_ERR_CONNECT_TIMEOUT"}}, "ConnectionTimeoutError"),
        ({"type": "HTTPError", "metadata": {"status": 429}}, "RateLimitError"),
        ({"type": "HTTPError", "metadata": {"status": 429}, "component": "gpt-5.2"}, "LLMRateLimitError"),
        ({"type": "Error", "metadata": {"code": "context_length_exceeded"}}, "LLMContextWindowError"),
        ({"type": "Error", "cause": {"type": "Error", "cause": {"type": "ENOSPC"}}}, "DiskSpaceError"),
        ({"type": "RateLimitError", "metadata": {"status": 500}}, "RateLimitError"),
        ({"type": "some.library.ToolSelectionError"}, "ToolSelectionError"),
        ({"type": "Redirected", "metadata": {"status": 302}}, "WinClawError"),
        ({"type": "NoSuchThing"}, "WinClawError"),
        ({}, "WinClawError"),
    ],
)
def test_a_report_is_judged_by_the_same_rules(report: Mapping[str, Any], expected: str) -> None:
    assert ErrorClassifier().classify_report(report).error_class.__name__ == expected


def test_a_report_says_when_to_come_back() -> None:
    report = {"type": "HTTPError", "metadata": {"status": 429, "retry_after_s": 20}}
    assert ErrorClassifier().classify_report(report).retry_after_s == 20.0


def test_the_agents_own_reason_is_kept_as_long_as_it_fits() -> None:
    classifier = ErrorClassifier()
    report = {"type": "RateLimitError", "reason": "it has the HTTP status 429"}
    assert classifier.classify_report(report).reason == "it has the HTTP status 429"
    at_a_model = classifier.classify_report({**report, "component": "gpt-5.2"})
    assert at_a_model.reason == "it was reported as RateLimitError, and the service is a language model"


def test_a_refused_certificate_is_known_from_a_report() -> None:
    report = {"type": "TLSHandshakeError", "metadata": {"code": "CERTIFICATE_VERIFY_FAILED"}}
    assert not ErrorClassifier().classify_report(report).is_transient


# It never raises.


def test_a_failure_inside_becomes_a_context_that_says_so() -> None:
    class Mined(Exception):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise RuntimeError("boom")

    error = Mined("x")
    found = ErrorClassifier().classify(error, {"component": "c", "operation": "o", "a": 1})
    assert (found.error_type, found.severity, found.is_transient) == ("WinClawError", ErrorSeverity.ERROR, False)
    assert (found.component, found.operation, found.metadata) == ("c", "o", {"a": 1})
    assert found.original_error is error
    assert found.reason == "the classifier failed (RuntimeError), so this is a guess"


def test_a_context_that_cannot_be_read_is_survived() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    found = ErrorClassifier().classify(ValueError(), {"component": Mute(), "operation": Mute(), "retry_count": "many"})
    assert (found.component, found.operation, found.retry_count) == ("unknown", "unknown", 0)
    nothing: Any = 7
    assert ErrorClassifier().classify(ValueError(), nothing).component == "unknown"
    assert "so this is a guess" in ErrorClassifier().classify_report(nothing).reason


def raises(*_: object) -> Any:
    raise RuntimeError("no")


class Stopped(FakeClock):
    """A clock that nobody can read, until it ``runs``."""

    runs = False

    def now(self) -> datetime:
        return super().now() if self.runs else raises()


def test_a_guess_is_the_root_of_the_taxonomy_with_what_it_usually_means() -> None:
    """It says what failed, and is not remembered."""
    clock = Stopped()
    classifier = ErrorClassifier(default_severity=ErrorSeverity.FATAL, clock=clock)
    guess = Verdict(
        WinClawError, ErrorSeverity.FATAL, WinClawError.impact, WinClawError.is_transient, WinClawError.recovery_strategy,
        "the classifier failed (RuntimeError), so this is a guess",
    )  # fmt: skip
    assert classifier.verdict(ValueError()) == classifier.verdict(AnswerError(429)) == guess
    clock.runs = True
    assert classifier.verdict(ValueError()).error_class is not WinClawError
    nothing: Any = 7
    assert replace(classifier.classify_report(nothing), reason=guess.reason) == guess
    assert classifier.classify_report(nothing).reason == "the classifier failed (AttributeError), so this is a guess"


NASTY_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([1]), st.just({"error": {"code": 1}}),
    st.just(raises), st.just(property(raises)), st.builds(ValueError), st.just({"error": raises}),
)  # fmt: skip
NASTY_NAMES = st.sampled_from([
    "status", "status_code", "code", "response", "headers", "body", "errors", "reason", "retry_after_s", "returncode",
    "severity", "is_transient", "impact", "recovery_strategy", "sqlite_errorname", "os_error", "winerror", "errno",
    "__str__", "__repr__", "__getattr__", "args", "__cause__", "__context__", "__suppress_context__", "exceptions",
])  # fmt: skip


@st.composite
def nasty_errors(draw: st.DrawFn) -> BaseException:
    """Errors whose attributes hold anything, raise, or lie; some in circles, some in groups."""
    base = draw(st.sampled_from([Exception, OSError, ValueError, WinClawError, ServiceTransientError, SystemExit]))
    made = []
    for number in range(draw(st.integers(1, 3))):
        body = draw(st.dictionaries(NASTY_NAMES, NASTY_VALUES, max_size=4))
        body |= {name: raises for name in ("__str__", "__repr__") if name in body}
        made.append(type(f"Nasty{number}", (base,), body)(draw(st.one_of(st.text(), st.binary(), st.integers()))))
    for one, other in zip(made, [*made[1:], made[0]], strict=True):
        if draw(st.booleans()):
            BaseException.__dict__["__cause__"].__set__(one, other)
    members = [one for one in made if isinstance(one, Exception)]
    return ExceptionGroup("all", members) if draw(st.booleans()) and members else made[0]


@given(nasty_errors())
def test_no_error_makes_the_classifier_raise(error: BaseException) -> None:
    found = ErrorClassifier(http_severity={500: ErrorSeverity.ERROR}).classify(error, {"component": "gpt-5.2"})
    assert found.error_type in errors.TAXONOMY
    assert isinstance(found.severity, ErrorSeverity)
    assert isinstance(found.is_transient, bool)
    assert found.reason
    assert isinstance(found.message, str)
    assert isinstance(found.stack_trace, str)
    assert len(found.fingerprint) == 16


@given(st.dictionaries(st.sampled_from(["type", "message", "cause", "metadata", "component", "reason"]),
                       st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))))
def test_no_report_makes_the_classifier_raise(report: dict[str, Any]) -> None:
    assert ErrorClassifier().classify_report(report).error_class.__name__ in errors.TAXONOMY


def test_an_error_of_a_million_characters_is_classified_at_once() -> None:
    assert kind_of(NetworkTransientError("x" * 1_000_000)) == "NetworkTransientError"
