"""What a circuit says of itself, by its numbers, and how they come about."""

from __future__ import annotations

import pytest

from resilience.circuit.breaker import CircuitBreaker
from resilience.circuit.ledger import CircuitMetrics
from resilience.circuit.window import Counts
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import happen


@pytest.mark.parametrize(
    ("share", "expected_ms"),
    [(0.0, 10.0), (0.49, 20.0), (0.5, 30.0), (0.75, 40.0), (0.99, 40.0), (1.0, 40.0)],
)
def test_a_percentile_is_one_of_the_latencies(share: float, expected_ms: float) -> None:
    assert CircuitMetrics(latencies_ms=(40.0, 10.0, 30.0, 20.0)).percentile_ms(share) == expected_ms


def test_a_circuit_that_has_seen_nothing_is_well() -> None:
    metrics = CircuitMetrics()
    assert (metrics.error_rate, metrics.availability, metrics.percentile_ms(0.5)) == (0.0, 1.0, None)


def test_rates_are_shares_of_the_window_and_of_all_calls() -> None:
    metrics = CircuitMetrics(total_calls=8, successful_calls=6, window=Counts(calls=4, failures=1))
    assert (metrics.error_rate, metrics.availability) == (0.25, 0.75)


# How they come about


def test_metrics_count_every_call_once(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "+ + - - + - - - x x 10 + - 10 + + + +")
    metrics = breaker.metrics
    assert (metrics.total_calls, metrics.successful_calls, metrics.failed_calls, metrics.rejected_calls) == (14, 8, 6, 2)
    assert metrics.availability == 8 / 14
    assert metrics.window.calls == 2
    assert metrics.last_failure_time is not None
    assert metrics.last_success_time == clock.now()


def test_the_error_rate_is_that_of_the_window(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it was for life."""
    happen(breaker, clock, "- - + +")
    assert breaker.metrics.error_rate == 0.5
    happen(breaker, clock, " ".join("+" * 100))
    assert breaker.metrics.error_rate == 0.0


def test_latencies_have_percentiles(breaker: CircuitBreaker, clock: FakeClock) -> None:
    assert breaker.metrics.percentile_ms(0.5) is None
    for n in range(1, 101):
        breaker.call(clock.advance, n / 1000)
        clock.advance(1)  # calm traffic: each call is timed
    assert [round(breaker.metrics.percentile_ms(share) or 0) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 51, 96, 100, 100]


def test_busy_traffic_is_sampled(breaker: CircuitBreaker) -> None:
    for _ in range(1000):
        breaker.call(lambda: None)
    assert 7 < len(breaker.metrics.latencies_ms) < 30
    assert breaker.metrics.total_calls == 1000


def test_the_status_has_what_the_document_asks_for(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - - 10 +")
    permit = breaker.admit()
    status = breaker.get_status()
    assert {name: status[name] for name in ("name", "state", "success_count", "half_open_calls")} == {
        "name": "gpt-5.2", "state": "HALF_OPEN", "success_count": 1, "half_open_calls": 1,
    }  # fmt: skip
    assert set(status["metrics"]) >= {"total_calls", "successful_calls", "failed_calls", "rejected_calls", "error_rate"}
    permit()


def test_the_history_is_bounded(breaker: CircuitBreaker) -> None:
    """In the document's sample it grew for ever."""
    for _ in range(500):
        breaker.isolate()
        breaker.reset()
    assert len(breaker.metrics.state_changes) == 100
