"""When a circuit opens: what its window says, and what counts as a failure."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from resilience import errors as e
from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerOpenError
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, OPEN, SMALL, Gone, fail, happen


@pytest.mark.parametrize(
    ("config", "trace", "because"),
    [
        ({"failure_threshold": 3}, "- - -", "3 calls in a row failed"),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 4, "error_rate_threshold": 0.5},
            "+ - + -",
            "2 of the last 4 calls failed, and 50% are too many",
        ),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 4, "window_calls": 5, "error_rate_threshold": 0.6},
            "- + + + - + - -",
            "3 of the last 5 calls failed, and 60% are too many",
        ),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 3, "window_seconds": 10, "error_rate_threshold": 0.6},
            "- - 20 + - -",
            "2 of the last 3 calls failed, and 60% are too many",
        ),
    ],
)
def test_it_opens_when_its_window_says_so_and_says_why(
    clock: FakeClock, config: dict[str, Any], trace: str, because: str
) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(**config), clock=clock)
    *before, last = happen(breaker, clock, trace)
    assert (set(before), last) == ({"CLOSED"}, "OPEN")
    with pytest.raises(CircuitBreakerOpenError) as refusal:
        breaker.call(lambda: None)
    assert refusal.value.because == because


def test_it_opens_when_too_many_calls_are_slow(clock: FakeClock) -> None:
    policy = CircuitBreakerConfig(slow_call_seconds=1, slow_call_rate_threshold=0.5, min_calls_for_rate=4)
    breaker = CircuitBreaker("x", policy, clock=clock)
    for seconds in (0.5, 1.0, 3, 2):
        assert breaker.state is CLOSED
        breaker.call(clock.advance, seconds)
    assert breaker.state is OPEN
    assert breaker.metrics.slow_calls == 2
    assert breaker.metrics.state_changes[0].because == "2 of the last 4 calls took longer than 1 s, and 50% are too many"


def test_a_slow_probe_is_no_success(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1, timeout_seconds=5), clock=clock)
    breaker.hold_open(5, "elsewhere")
    clock.advance(5)
    breaker.call(clock.advance, 2)
    assert breaker.state is OPEN


@pytest.mark.parametrize(
    ("seconds", "fails", "because", "failed", "slow"),
    [
        (1.0, False, "its time is up", 0, 0),
        (2.0, False, "a probe took longer than 1 s", 0, 1),
        (2.0, True, "a probe failed", 1, 1),
        (0.5, True, "a probe failed", 1, 0),
    ],
)
def test_a_probe_is_counted_as_what_it_was(
    clock: FakeClock, seconds: float, fails: bool, because: str, failed: int, slow: int
) -> None:
    """One that went well, but slowly, was said to have failed."""

    def probe() -> None:
        clock.advance(seconds)
        if fails:
            raise Gone

    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1, timeout_seconds=5), clock=clock)
    breaker.hold_open(5, "elsewhere")
    clock.advance(5)
    with contextlib.suppress(Gone):
        breaker.call(probe)
    metrics = breaker.metrics
    assert metrics.state_changes[-1].because == because
    assert (metrics.total_calls, metrics.failed_calls, metrics.slow_calls) == (1, failed, slow)
    assert metrics.successful_calls == 1 - failed
    assert (metrics.last_failure_time is not None) == fails


def test_a_slow_call_that_ends_late_is_counted_as_slow(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1), clock=clock)
    late = breaker.admit()
    breaker.isolate()
    clock.advance(2)
    late()
    assert (breaker.metrics.total_calls, breaker.metrics.slow_calls) == (1, 1)


def test_a_result_can_be_a_failure(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer is None)
    for _ in range(3):
        breaker.call(lambda: None)
    assert breaker.state is OPEN

    asynchronous = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer is None)

    async def nothing() -> None:
        """Gives None."""

    for _ in range(3):
        asyncio.run(asynchronous.call(nothing))
    assert asynchronous.state is OPEN


def test_a_question_about_results_that_is_faulty_fails_no_call(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer["missing"])
    for _ in range(3):
        assert breaker.call(dict) == {}
    assert (breaker.state, breaker.metrics.successful_calls) == (CLOSED, 3)


@pytest.mark.parametrize(
    "mistake",
    [
        e.ValidationError("bad"), e.InvalidCredentialsError("no"), e.PermissionDeniedError("no"), e.NotFoundError("gone"),
        e.LLMContextWindowError("too long"), json.JSONDecodeError("no", "{", 1), FileNotFoundError(2, "no"),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_a_callers_mistake_does_not_open_a_circuit(breaker: CircuitBreaker, mistake: Exception) -> None:
    """In the document's sample: every exception tripped it."""
    for _ in range(20):
        with pytest.raises(type(mistake)):
            breaker.call(fail, mistake)
    assert breaker.state is CLOSED
    assert breaker.metrics.total_calls == 0


def test_what_counts_can_be_chosen(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure=lambda error: isinstance(error, KeyError))
    for error in (Gone(), Gone(), Gone(), KeyError(), KeyError()):
        with pytest.raises(type(error)):
            breaker.call(fail, error)
    assert breaker.state is CLOSED
    with pytest.raises(KeyError):
        breaker.call(fail, KeyError())
    assert breaker.state is OPEN


def test_a_predicate_that_fails_counts_the_call_as_failed(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says so, or nobody would find out why a circuit opens."""

    def unsure(_: Exception) -> bool:
        raise RuntimeError

    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure=unsure)
    assert happen(breaker, clock, "- - -")[-1] == "OPEN"
    assert [one.getMessage() for one in caplog.records] == ["the circuit x cannot judge an error, and counts it as a failure"] * 3


@pytest.mark.parametrize("way_out", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_is_neither_success_nor_failure(
    breaker: CircuitBreaker, clock: FakeClock, way_out: type[BaseException]
) -> None:
    happen(breaker, clock, "- -")
    for _ in range(9):
        with pytest.raises(way_out):
            breaker.call(fail, way_out())
    assert breaker.metrics.window.in_a_row == 2
    assert happen(breaker, clock, "-") == ["OPEN"]
