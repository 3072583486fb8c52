"""What follows for a circuit from what is known of it, by its rules (§3). No clock, no lock, no breaker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.circuit.states import (
    Closed,
    Disabled,
    HalfOpen,
    Isolated,
    Open,
    Phase,
    after_hold_open,
    after_isolate,
    after_release,
    is_the_programs_own,
    open_seconds,
)
from resilience.circuit.window import Counts
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


# Commands

SEEN = Counts(3, 3, 0, 3)
EACH = {
    "closed": lambda: Closed(CircuitBreakerConfig()),
    "open": lambda: Open(0.0, 10.0, "3 in a row", SEEN, 4),
    "half-open": lambda: HalfOpen("3 in a row", SEEN, 4),
    "isolated": lambda: Isolated("by the program"),
    "isolated, told": lambda: Isolated("by a person", told=True),
    "disabled": Disabled,
}


def words(before: Phase, after: Phase) -> str:
    """What ``after`` is, as short as it can be said."""
    match after:
        case _ if after is before:
            return "as it was"
        case Open(since_s=since_s, until_s=until_s, times=times):
            return f"open from {since_s:g} to {until_s:g}, {times}"
        case HalfOpen(times=times):
            return f"half-open, {times}"
        case Isolated(told=told):
            return "isolated, told" if told else "isolated"
        case _:
            return after.state.name.lower()


@pytest.mark.parametrize(
    ("before", "isolate", "told", "release", "hold_open"),
    [
        ("closed", "isolated", "isolated, told", "as it was", "open from 100 to 105, 1"),
        ("open", "isolated", "isolated, told", "half-open, 4", "open from 100 to 105, 4"),
        ("half-open", "isolated", "isolated, told", "as it was", "open from 100 to 105, 4"),
        ("isolated", "as it was", "as it was", "half-open, 0", "open from 100 to 105, 1"),
        ("isolated, told", "isolated", "as it was", "half-open, 0", "open from 100 to 105, 1"),
        ("disabled", "isolated", "isolated, told", "as it was", "open from 100 to 105, 1"),
    ],
)
def test_what_follows_from_a_command(before: str, isolate: str, told: str, release: str, hold_open: str) -> None:
    phase = EACH[before]()
    assert words(phase, after_isolate(phase, "x", told=False)) == isolate
    assert words(phase, after_isolate(phase, "x", told=True)) == told
    assert words(phase, after_release(phase, "x")) == release
    assert words(phase, after_hold_open(phase, 100, 5, "x")) == hold_open
    assert is_the_programs_own(phase) is (before == "isolated")
