"""What is unusual, told from what was usual: spikes teach nothing, lasting changes are told once."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.detection.anomalies import AnomalyPolicy, Baseline, judged, usual_range

POLICY = AnomalyPolicy(window=60, least=20, in_a_row=3, adopt_after=30)


def run(values: list[float], baseline: Baseline | None = None) -> tuple[Baseline, list[tuple[int, str]]]:
    """The baseline after ``values``, and what changed at which of them."""
    now, changes = baseline or Baseline(), []
    for at, value in enumerate(values):
        now, verdict = judged(now, value, POLICY)
        if verdict is not None and verdict.change:
            changes.append((at, verdict.change))
    return now, changes


def noisy(middle: float, count: int, seed: int = 1) -> list[float]:
    dice = random.Random(seed)  # noqa: S311 -- a series that is the same in every run
    return [middle + dice.gauss(0, 1) for _ in range(count)]


CALM, _ = run(noisy(50, 60))


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        (noisy(50, 60, 2), []),
        ([90.0], []),
        ([90.0, 50.0, 90.0, 50.0, 90.0, 50.0], []),
        ([90.0, 90.0, 90.0], [(2, "began")]),
        ([5.0, 5.0, 5.0], [(2, "began")]),
        ([90.0] * 10, [(2, "began")]),
        ([90.0] * 4 + [50.0] * 3, [(2, "began"), (6, "ended")]),
        ([90.0] * 4 + [50.0, 90.0, 50.0, 90.0, 50.0, 50.0, 50.0], [(2, "began"), (10, "ended")]),
        ([90.0] * 40, [(2, "began"), (29, "adopted")]),
    ],
)
def test_traces(values: list[float], changes: list[tuple[int, str]]) -> None:
    assert run(values, CALM)[1] == changes


def test_nothing_is_said_before_enough_is_known() -> None:
    assert run([1.0] * 10 + [1000.0] * 9)[1] == []


def test_a_new_normal_is_usual_from_then_on() -> None:
    after, _ = run([90.0] * 30, CALM)
    assert run(noisy(90, 30), after)[1] == []
    assert run([50.0] * 3, after)[1] == [(2, "began")]


def test_one_spike_teaches_nothing() -> None:
    before = usual_range(CALM, POLICY)
    after, _ = run([1e9], CALM)
    assert usual_range(after, POLICY) == before


def test_what_is_constant_may_move_by_a_step() -> None:
    """A median distance of 0 would make every change an anomaly."""
    constant, _ = run([0.0] * 60)
    assert run([0.9] * 10, constant)[1] == []
    assert run([1.1] * 3, constant)[1] == [(2, "began")]


def test_a_slow_drift_is_followed() -> None:
    drift = [50 + at * 0.05 + noise - 50 for at, noise in enumerate(noisy(50, 1000, 3))]
    assert run(drift, CALM)[1] == []


def test_what_is_no_number_changes_nothing() -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert judged(CALM, value, POLICY) == (CALM, None)


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(NUMBERS, max_size=300))
def test_memory_is_bounded_and_changes_alternate(values: list[float]) -> None:
    now, changes = run(values)
    assert len(now.usual) <= POLICY.window
    assert len(now.odd) < POLICY.adopt_after
    kinds = [kind for _, kind in changes]
    assert all(kind == "began" for kind in kinds[::2])
    assert all(kind in ("ended", "adopted") for kind in kinds[1::2])


@given(NUMBERS)
def test_a_single_value_never_alarms(value: float) -> None:
    assert run([value, *noisy(50, 5)], CALM)[1] == []


@given(st.floats(1e3, 1e6), st.sampled_from([-1, 1]))
def test_a_lasting_jump_always_alarms_in_three(jump: float, sign: int) -> None:
    assert run([50 + sign * jump] * 3, CALM)[1] == [(2, "began")]
