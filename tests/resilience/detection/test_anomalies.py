"""What is unusual, told from what was usual: spikes teach nothing, lasting changes are told once."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.detection.anomalies import Baseline, Change, Tolerance, judged, usual_range

STEP = Tolerance(1.0)


def run(values: list[float], baseline: Baseline | None = None) -> tuple[Baseline, list[tuple[int, str]]]:
    """The baseline after ``values``, and what changed at which of them."""
    now, changes = baseline or Baseline(), []
    for at, value in enumerate(values):
        now, change = judged(now, value, STEP)
        if change is not None:
            changes.append((at, change.what))
    return now, changes


def noisy(middle: float, count: int, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
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
        ([90.0] * 130, [(2, "began"), (119, "adopted")]),
        ([90.0] * 20 + [50.0, 50.0] + [90.0] * 102, [(2, "began"), (121, "adopted")]),
        ([90.0] * 4 + [50.0] * 3 + [90.0] * 3, [(2, "began"), (6, "ended"), (9, "began")]),
    ],
)
def test_traces(values: list[float], changes: list[tuple[int, str]]) -> None:
    assert run(values, CALM)[1] == changes


USUAL = (48.0, 49.0, 50.0, 51.0, 52.0) * 48
LOW, HIGH = 50 - 6 * 1.4826, 50 + 6 * 1.4826
ODD = (90.0,) * 119


@pytest.mark.parametrize(
    ("before", "value", "after", "what"),
    [
        (Baseline(USUAL), 50.5, Baseline((*USUAL[1:], 50.5), (), 1), ""),
        (Baseline(USUAL, ODD[:2], 4), 50.5, Baseline((*USUAL[1:], 50.5), (), 5), ""),
        (Baseline(USUAL, (), 4), 90.0, Baseline(USUAL, ODD[:1], 0), ""),
        (Baseline(USUAL, ODD[:2], 4), 90.0, Baseline(USUAL, ODD[:3], 0, True), "began"),
        (Baseline(USUAL, ODD[:3], 0, True), 90.0, Baseline(USUAL, ODD[:4], 0, True), ""),
        (Baseline(USUAL, ODD[:4], 1, True), 50.5, Baseline((*USUAL[1:], 50.5), ODD[:4], 2, True), ""),
        (Baseline(USUAL, ODD[:4], 2, True), 50.5, Baseline((*USUAL[1:], 50.5)), "ended"),
        (Baseline(USUAL, ODD, 0, True), 90.0, Baseline((*ODD, 90.0)), "adopted"),
    ],
)
def test_what_one_more_value_changes(before: Baseline, value: float, after: Baseline, what: str) -> None:
    """Each change says what would have been usual; what is adopted is all that is usual from then on."""
    found, change = judged(before, value, STEP)
    assert found == after
    assert change == (Change(what, pytest.approx(LOW), pytest.approx(HIGH)) if what else None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usual", "low", "high"),
    [
        ((50.0,) * 20, 47.5, 52.5), ((-50.0,) * 20, -52.5, -47.5), ((0.0,) * 20, -1.0, 1.0), ((2.0,) * 20, 1.0, 3.0),
        ((1000.0, 1010.0, 990.0), 1000 - 6 * 14.826, 1000 + 6 * 14.826), ((50.0, 52.0, 48.0), 50 - 6 * 1.4826 * 2, 50 + 6 * 1.4826 * 2),
    ],
)  # fmt: skip
def test_usual_are_some_spreads_around_the_median_or_at_least_a_part_of_it_or_a_step(
    usual: tuple[float, ...], low: float, high: float
) -> None:
    assert usual_range(Baseline(usual), STEP) == pytest.approx((low, high))


@pytest.mark.parametrize(("value", "is_odd"), [(47.5, False), (52.5, False), (47.4, True), (52.6, True)])
def test_the_bounds_of_what_is_usual_are_usual(value: float, is_odd: bool) -> None:
    after, _ = judged(Baseline((50.0,) * 24), value, STEP)
    assert bool(after.odd) is is_odd


def test_nothing_is_said_before_enough_is_known() -> None:
    now = Baseline()
    for count in range(1, 25):
        now, change = judged(now, 7.0 * count, STEP)
        assert (now, change) == (Baseline(tuple(7.0 * one for one in range(1, count + 1))), None)
    assert judged(now, 1e6, STEP)[0].odd == (1e6,)
    assert run([1.0] * 14 + [1000.0] * 9)[1] == []


def test_a_new_normal_is_usual_from_then_on() -> None:
    after, _ = run([90.0] * 120, CALM)
    assert run(noisy(90, 30), after)[1] == []
    assert run([50.0] * 3, after)[1] == [(2, "began")]


def test_one_spike_teaches_nothing() -> None:
    before = usual_range(CALM, STEP)
    after, _ = run([1e9], CALM)
    assert usual_range(after, STEP) == before


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
        assert judged(CALM, value, STEP) == (CALM, None)


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.one_of(NUMBERS, st.just(7.0)), max_size=400))
def test_memory_is_bounded_and_changes_alternate(values: list[float]) -> None:
    now, changes = run(values)
    assert len(now.usual) <= 240
    assert len(now.odd) < 120
    kinds = [kind for _, kind in changes]
    assert all(kind == "began" for kind in kinds[::2])
    assert all(kind in ("ended", "adopted") for kind in kinds[1::2])


@given(NUMBERS)
def test_a_single_value_never_alarms(value: float) -> None:
    assert run([value, *noisy(50, 5)], CALM)[1] == []


@given(st.floats(1e3, 1e6), st.sampled_from([-1, 1]))
def test_a_lasting_jump_always_alarms_in_three(jump: float, sign: int) -> None:
    assert run([50 + sign * jump] * 3, CALM)[1] == [(2, "began")]
