"""What follows for a circuit from what is known of it, by its rules (§3). No clock, no lock, no breaker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.circuit.states import open_seconds
from resilience.policies import CircuitBreakerConfig


@pytest.mark.parametrize(
    ("growth", "times", "seconds"),
    [(1.0, 1, 30.0), (1.0, 10_000, 30.0), (2.0, 1, 30.0), (2.0, 3, 120.0), (2.0, 9, 300.0), (10.0, 310, 300.0), (10, 10_000, 300.0)],
)  # fmt: skip
def test_a_circuit_is_open_longer_each_time_up_to_the_longest(growth: float, times: int, seconds: float) -> None:
    config = CircuitBreakerConfig(timeout_seconds=30, timeout_growth=growth, max_timeout_seconds=300)
    assert open_seconds(config, times) == seconds


@given(st.floats(1, 10), st.integers(1, 100_000))
def test_no_open_time_is_longer_than_the_longest(growth: float, times: int) -> None:
    config = CircuitBreakerConfig(timeout_seconds=30, timeout_growth=growth, max_timeout_seconds=300)
    assert 30 <= open_seconds(config, times) <= 300
