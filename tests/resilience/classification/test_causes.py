"""Errors that were caused by others, and groups of errors: which of them tells what it is."""

from __future__ import annotations

import asyncio
import socket

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.errors import SecurityError, TransientError, WinClawError
from resilience.testing import FakeClock
from tests.resilience.classification.raised import AnswerError, caused, kind_of

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
