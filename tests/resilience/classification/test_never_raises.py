"""The classifier never raises, whatever it is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resilience import errors
from resilience.classification.classifier import ErrorClassifier, Verdict
from resilience.context import ErrorSeverity
from resilience.errors import NetworkTransientError, ServiceTransientError, WinClawError
from resilience.testing import FakeClock
from tests.resilience.classification.raised import AnswerError, kind_of, raises


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
