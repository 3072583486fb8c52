"""What a circuit decides from its numbers, without a circuit; test_circuit has its way from state to state."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.circuit.states import (
    CircuitBreakerOpenError,
    CircuitMetrics,
    CircuitState,
    Closed,
    open_seconds,
    why_open,
)
from resilience.circuit.window import CallWindow, Counts, TimeWindow
from resilience.policies import CircuitBreakerConfig

# Each case breaks one rule only: the run of failures is far away, or there are too few calls for a share.
RATES: dict[str, Any] = {
    "failure_threshold": 99, "min_calls_for_rate": 4, "error_rate_threshold": 0.5,
    "slow_call_seconds": 1.5, "slow_call_rate_threshold": 0.75,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "counts", "why"),
    [
        ({"failure_threshold": 3}, Counts(2, 2, 0, 2), None),
        ({"failure_threshold": 3}, Counts(3, 3, 0, 3), "3 calls in a row failed"),
        ({"failure_threshold": 3}, Counts(9, 5, 0, 4), "4 calls in a row failed"),
        (RATES, Counts(3, 3, 3, 3), None),
        (RATES, Counts(4, 1, 2, 1), None),
        (RATES, Counts(4, 2, 0, 1), "2 of the last 4 calls failed, and 50% are too many"),
        (RATES, Counts(5, 2, 0, 1), None),
        (RATES, Counts(4, 0, 3, 0), "3 of the last 4 calls took longer than 1.5 s, and 75% are too many"),
        (RATES, Counts(4, 2, 3, 1), "2 of the last 4 calls failed, and 50% are too many"),
        # Where no call counts as slow, none can be too slow.
        (RATES | {"slow_call_seconds": None}, Counts(4, 1, 4, 1), None),
        (RATES | {"slow_call_seconds": None, "slow_call_rate_threshold": 0.01}, Counts(4, 0, 4, 0), None),
        ({"min_calls_for_rate": 1}, Counts(1, 0, 0, 0), None),
    ],
)
def test_when_a_circuit_opens_and_why(config: dict[str, Any], counts: Counts, why: str | None) -> None:
    assert why_open(CircuitBreakerConfig(**config), counts) == why


@pytest.mark.parametrize(
    ("growth", "times", "seconds"),
    [(1, 1, 400), (1, 99, 400), (2, 1, 300), (1.01, 1, 300)],
)
def test_only_an_open_time_that_grows_is_limited(growth: float, times: int, seconds: float) -> None:
    """The limit is for what growing leads to; who asks for a longer time without growing gets it."""
    assert open_seconds(CircuitBreakerConfig(timeout_seconds=400, timeout_growth=growth), times) == seconds


@pytest.mark.parametrize(("times", "seconds"), [(1, 10), (2, 30), (3, 90), (4, 270), (5, 300), (10**9, 300)])
def test_the_open_time_grows_each_time_up_to_the_longest(times: int, seconds: float) -> None:
    assert open_seconds(CircuitBreakerConfig(timeout_seconds=10, timeout_growth=3.0), times) == seconds


@pytest.mark.parametrize("growth", [1.01, 2.0, 10.0])
def test_a_service_may_be_down_for_ever(growth: float) -> None:
    """Ten, 310 times in a row, is more than a float can hold: the circuit would raise that instead of opening."""
    config = CircuitBreakerConfig(timeout_seconds=10, timeout_growth=growth)
    assert [open_seconds(config, times) for times in (1000, 100_000)] == [300, 300]


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


def test_a_closed_circuit_looks_at_calls_or_at_seconds() -> None:
    by_calls, by_time = Closed(CircuitBreakerConfig(window_calls=20)), Closed(CircuitBreakerConfig(window_seconds=20.0))
    assert isinstance(by_calls.window, CallWindow)
    assert by_calls.window.size == 20
    assert isinstance(by_time.window, TimeWindow)
    by_time.window.add(0.0, failed=True, slow=False)
    assert [by_time.window.counts(now_s).calls for now_s in (19.9, 20.0)] == [1, 0]


@pytest.mark.parametrize(
    ("retry_after_s", "said"),
    [
        (None, "the circuit 'gmail_api' is ISOLATED: isolated by tray"),
        (0.0, "the circuit 'gmail_api' is ISOLATED: isolated by tray; it may be tried again in 0.0 s"),
        (2.25, "the circuit 'gmail_api' is ISOLATED: isolated by tray; it may be tried again in 2.2 s"),
    ],
)
def test_a_refusal_says_when_to_ask_again_if_anybody_knows(retry_after_s: float | None, said: str) -> None:
    refusal = CircuitBreakerOpenError("gmail_api", CircuitState.ISOLATED, "isolated by tray", Counts(), retry_after_s)
    assert str(refusal) == said
    assert refusal.reason["retry_after_s"] == retry_after_s
