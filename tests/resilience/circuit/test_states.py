"""What follows for a circuit from what is known of it, by its rules (§3). No clock, no lock, no breaker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.circuit.states import (
    CircuitBreakerOpenError,
    CircuitState,
    Closed,
    Disabled,
    HalfOpen,
    Isolated,
    Open,
    Phase,
    Step,
    after_call,
    after_hold_open,
    after_isolate,
    after_probe,
    after_release,
    after_time,
    is_the_programs_own,
    open_seconds,
    refused_for,
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


@given(st.floats(1, 10), st.integers(1, 100_000))
def test_no_open_time_is_longer_than_the_longest(growth: float, times: int) -> None:
    config = CircuitBreakerConfig(timeout_seconds=30, timeout_growth=growth, max_timeout_seconds=300)
    assert 30 <= open_seconds(config, times) <= 300


SEEN = Counts(3, 3, 0, 3)
SMALL = CircuitBreakerConfig(
    failure_threshold=3, success_threshold=2, timeout_seconds=10, half_open_max_calls=2, slow_call_seconds=1
)
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


# Time, calls, probes


class Trial:
    """A permit of a call that began at ``started_s``."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s


def half_open(*probes: tuple[float, float], successes: int = 0) -> HalfOpen:
    """A circuit with probes, each with the moments at which it began and is due."""
    return HalfOpen("3 in a row", SEEN, 2, successes, {Trial(started_s): due_s for started_s, due_s in probes})


def said(step: Step | None) -> tuple[str, str] | None:
    """The step, as short as it can be said."""
    return None if step is None else (words(Disabled(), step[0]), step[1])


@pytest.mark.parametrize(
    ("phase", "now_s", "seconds"),
    [
        (Closed(SMALL), 0, None),
        (Disabled(), 0, None),
        (Isolated("x"), 0, 0),
        (Open(0, 10, "x", SEEN, 1), 4, 6),
        (half_open(), 0, None),
        (half_open((0, 60)), 0, None),
        (half_open((0, 60), (0, 60)), 0, 0),
    ],
)
def test_who_is_refused_and_for_how_long(phase: Phase, now_s: float, seconds: float | None) -> None:
    assert refused_for(phase, SMALL, now_s) == seconds


@pytest.mark.parametrize(
    ("phase", "now_s", "then"),
    [
        (Closed(SMALL), 1e9, None),
        (Isolated("x"), 1e9, None),
        (Disabled(), 1e9, None),
        (Open(0, 10, "x", SEEN, 2), 9.9, None),
        (Open(0, 10, "x", SEEN, 2), 10, ("half-open, 2", "its time is up")),
        (half_open(), 1e9, None),
        (half_open((0, 60)), 59, None),
        (half_open((0, 60)), 99, ("open from 60 to 70, 3", "a probe did not answer within 60 s")),
        (half_open((0, 60), (1, 6)), 9, ("open from 6 to 16, 3", "a probe did not answer within 5 s")),
    ],
)
def test_what_follows_from_time(phase: Phase, now_s: float, then: tuple[str, str] | None) -> None:
    assert said(after_time(phase, SMALL, now_s)) == then


@pytest.mark.parametrize(
    ("counts", "then"),
    [
        (Counts(2, 2, 0, 2), None),
        (Counts(3, 3, 0, 3), ("open from 5 to 15, 1", "3 calls in a row failed")),
        (Counts(9, 5, 0, 1), None),
        (Counts(10, 5, 0, 1), ("open from 5 to 15, 1", "5 of the last 10 calls failed, and 50% are too many")),
        (Counts(10, 0, 5, 0), ("open from 5 to 15, 1", "5 of the last 10 calls took longer than 1 s, and 50% are too many")),
    ],
)
def test_what_follows_from_a_call_that_ended_badly(counts: Counts, then: tuple[str, str] | None) -> None:
    assert said(after_call(SMALL, counts, 5)) == then


@pytest.mark.parametrize(
    ("successes", "failed", "slow", "then"),
    [
        (1, False, False, None),
        (2, False, False, ("closed", "2 probes went well")),
        (1, True, False, ("open from 5 to 15, 3", "a probe failed")),
        (1, True, True, ("open from 5 to 15, 3", "a probe failed")),
        (1, False, True, ("open from 5 to 15, 3", "a probe took longer than 1 s")),
    ],
)
def test_what_follows_from_a_probe(successes: int, failed: bool, slow: bool, then: tuple[str, str] | None) -> None:
    assert said(after_probe(half_open(successes=successes), SMALL, 5, failed=failed, slow=slow)) == then


# Commands


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
