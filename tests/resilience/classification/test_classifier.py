"""What an error is taken for, how bad it is, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from resilience import errors
from resilience.circuit.breaker import CircuitBreakerOpenError, CircuitState
from resilience.circuit.window import Counts
from resilience.classification.classifier import ErrorClassifier
from resilience.classification.policy import ClassificationRule
from resilience.context import ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.errors import (
    DiskFailureError,
    InvalidConfigError,
    PermissionDeniedError,
    PromptInjectionError,
    RateLimitError,
    SandboxEscapeError,
    SecurityError,
    ServiceTransientError,
    WinClawError,
)
from resilience.testing import FakeClock
from tests.resilience.classification.raised import AnswerError, caused, kind_of

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


class _Holder(Exception):
    status_code = property(lambda self: self.args[0])


class _Slotted(Exception):
    __slots__ = ("status_code",)

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status_code = status


class _BelowSlotted(_Slotted):
    """Has what the class above it has."""


class _Computed(Exception):
    def __getattr__(self, name: str) -> int:
        if name == "status_code":
            return int(self.args[0])
        raise AttributeError(name)


class _Computed2(Exception):
    def __getattribute__(self, name: str) -> Any:
        return self.args[0] if name == "status_code" else super().__getattribute__(name)


@pytest.mark.parametrize("kind", [_Holder, _Slotted, _BelowSlotted, _Computed, _Computed2])
def test_what_an_instance_can_show_is_looked_at_each_time(kind: Callable[[int], Exception]) -> None:
    """Two errors of one class are two errors where a property, a slot or a computed attribute tells them apart."""
    classifier = ErrorClassifier()
    assert [classifier.verdict(kind(status)).error_class.kind for status in (503, 401, 503)] == [
        "transient.service.unavailable", "persistent.authentication", "transient.service.unavailable",
    ]  # fmt: skip


def test_an_error_that_holds_another_is_judged_by_that_one_each_time() -> None:
    class Wrapped(Exception):
        """As httpcore's: the cause is its argument."""

    classifier = ErrorClassifier()
    assert classifier.verdict(Wrapped(ConnectionResetError())).is_transient
    assert not classifier.verdict(Wrapped(ValueError())).is_transient
    assert not classifier.verdict(Wrapped("connection reset")).is_transient


def test_a_refusals_pause_is_its_own() -> None:
    classifier = ErrorClassifier()
    refusals = [CircuitBreakerOpenError("x", CircuitState.OPEN, "tests", Counts(), seconds) for seconds in (2.0, 30.0)]
    assert [classifier.verdict(one).retry_after_s for one in refusals] == [2.0, 30.0]


def test_a_class_with_nothing_but_methods_is_judged_once() -> None:
    class Plain(Exception):
        status = 503

        def method(self) -> None: ...

        @classmethod
        def of_class(cls) -> None: ...

        @staticmethod
        def static() -> None: ...

    classifier = ErrorClassifier()
    assert classifier.verdict(Plain("x")) is classifier.verdict(Plain("y"))


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
