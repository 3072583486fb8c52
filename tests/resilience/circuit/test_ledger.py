"""What a circuit says of itself, by its numbers; test_breaker has how they come about."""

from __future__ import annotations

import pytest

from resilience.circuit.ledger import CircuitMetrics
from resilience.circuit.window import Counts


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
