"""What a circuit says of itself, by its numbers, and how they come about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitState
from resilience.circuit.ledger import CircuitMetrics, Ledger
from resilience.circuit.states import Closed, Open, Transition
from resilience.circuit.window import CallWindow, Counts, TimeWindow
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


# The books by themselves


CHANGED = Transition(datetime(2026, 1, 1, tzinfo=UTC), CircuitState.CLOSED, CircuitState.OPEN, "three in a row", Counts())


def test_the_status_of_an_open_circuit_is_whole(clock: FakeClock) -> None:
    ledger = Ledger(clock)
    for ms in range(1, 101):
        ledger.timed(ms / 1000)
    ledger.count(failed=True, slow=True)
    ledger.count(failed=False, slow=False)
    ledger.rejections.tick()
    ledger.changed(CHANGED)
    counts = Counts(calls=4, failures=3, in_a_row=3)
    phase = Open(since_s=100.0, until_s=130.0, because="three in a row", counts=counts, times=1)
    assert ledger.status("gpt-5.2", phase, 110.0) == {
        "name": "gpt-5.2", "state": "OPEN", "because": "three in a row", "failure_count": 3, "success_count": 0,
        "half_open_calls": 0, "last_state_change": "2026-01-01T00:00:00+00:00", "open_duration": 10.0, "retry_after_s": 20.0,
        "window": counts._asdict(),
        "metrics": {
            "total_calls": 2, "successful_calls": 1, "failed_calls": 1, "slow_calls": 1, "rejected_calls": 1,
            "error_rate": 0.75, "availability": 0.5, "p50_ms": 51.0, "p95_ms": 96.0, "p99_ms": 100.0,
        },
    }  # fmt: skip
    assert ledger.status("gpt-5.2", phase, 140.0)["retry_after_s"] == 0.0


def test_what_is_over_goes_on_counting_and_the_books_stay_small(clock: FakeClock) -> None:
    ledger = Ledger(clock)
    closed = Closed(CircuitBreakerConfig(window_calls=10))
    windows = []
    for _ in range(102):
        window = CallWindow(10)
        window.add(0.0, failed=False, slow=False)
        ledger.retire(window)
        windows.append(window)
    assert ledger.total(closed) == 102
    windows[1].add(0.0, failed=False, slow=False)  # has been let go; the newest hundred are waited for
    windows[2].add(0.0, failed=False, slow=False)
    assert ledger.total(closed) == 103
    for seconds in range(150):
        ledger.timed(float(seconds))
    assert ledger.metrics(closed, 0.0).latencies_ms[0] == 50_000.0
    for _ in range(2):
        by_time = TimeWindow(60.0)
        by_time.add(0.0, failed=False, slow=False)
        ledger.retire(by_time)
    assert ledger.total(closed) == 105


def test_the_time_of_the_last_success_is_when_it_was_first_seen(clock: FakeClock) -> None:
    ledger, closed = Ledger(clock), Closed(CircuitBreakerConfig(window_calls=10))
    assert ledger.metrics(closed, 0.0).last_success_time is None
    ledger.count(failed=False, slow=False)
    first = ledger.metrics(closed, 0.0).last_success_time
    assert first == clock.now()
    clock.advance(10)
    assert ledger.metrics(closed, 0.0).last_success_time == first
    assert ledger.status("x", closed, 0.0)["last_state_change"] is None
    assert ledger.status("x", closed, 0.0)["because"] == ""
    assert ledger.status("x", closed, 0.0)["open_duration"] is None
