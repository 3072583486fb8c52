"""The windows, against counting by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.circuit.window import CallWindow, Counts, Tally, TimeWindow

CALLS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=300)


def in_a_row(failures: list[bool]) -> int:
    return next((n for n, failed in enumerate(reversed(failures)) if not failed), len(failures))


@given(CALLS, st.integers(1, 40))
def test_the_last_calls_are_counted_as_by_hand(calls: list[tuple[bool, bool]], size: int) -> None:
    window = CallWindow(size)
    for n, (failed, slow) in enumerate(calls, 1):
        if failed or slow:
            window.add(0.0, failed=failed, slow=slow)
        else:
            window.tick()
        last = calls[max(0, n - size) : n]
        assert window.counts(0.0) == Counts(
            len(last), sum(f for f, _ in last), sum(s for _, s in last), in_a_row([f for f, _ in calls[:n]])
        )
    assert window.total == len(calls)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=200))
def test_the_calls_of_the_last_ten_slices_are_counted_as_by_hand(calls: list[tuple[int, bool, bool]]) -> None:
    """A slice of a window of ten seconds is a second: the one that has begun, and the nine before it."""
    window, now, seen = TimeWindow(10.0), 0, []
    for pause, failed, slow in calls:
        now += pause
        seen.append((now, failed, slow))
        last = [one for one in seen if one[0] > now - 10]
        assert window.add(float(now), failed=failed, slow=slow) == Counts(
            len(last), sum(f for _, f, _ in last), sum(s for *_, s in last), in_a_row([f for _, f, _ in seen])
        )


def test_a_window_of_time_empties_by_itself() -> None:
    window = TimeWindow(10.0)
    window.add(0.0, failed=True, slow=True)
    assert window.counts(9.9).calls == 1
    assert window.counts(10.0) == Counts(0, 0, 0, in_a_row=1)


def test_reading_a_tally_does_not_change_it() -> None:
    tally = Tally()
    assert [tally.tick(), tally.tick(), tally.value, tally.value] == [1, 2, 2, 2]


def test_a_slice_is_a_tenth_of_the_window() -> None:
    window = TimeWindow(60.0)
    window.add(5.9, failed=True, slow=False)
    window.add(6.0, failed=False, slow=True)
    assert window.counts(59.9) == Counts(calls=2, failures=1, slow=1)
    assert window.counts(60.0) == Counts(calls=1, failures=0, slow=1)
    assert window.counts(66.0) == Counts()
    assert window.total == 2, "all calls since it was made, also those that have left"


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.7, 1.0, 1.1, 60.0])
def test_a_call_leaves_when_the_window_is_over_however_its_slices_round(seconds: float) -> None:
    window = TimeWindow(seconds)
    window.add(0.0, failed=True, slow=True)
    assert window.counts(seconds * 0.99).calls == 1
    assert window.counts(seconds).calls == 0


def test_windows_begin_empty() -> None:
    assert CallWindow(3).counts(0.0) == TimeWindow(3.0).counts(0.0) == Counts(0, 0, 0, 0)
    assert (CallWindow(3).total, TimeWindow(3.0).total, Tally().value) == (0, 0, 0)


def test_a_window_of_time_stores_slices_not_calls() -> None:
    window = TimeWindow(10.0)
    for n in range(1000):
        window.add(n / 100, failed=False, slow=False)
    assert window.counts(9.99).calls == 1000
    assert len(window._slices) == 10
