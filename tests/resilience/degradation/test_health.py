from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilience.degradation.health import Count, Tally


def test_what_has_left_the_window_is_not_counted() -> None:
    tally = Tally(60.0).with_counts([("a", Count(2, 10, 1))], 0.0).with_counts([("a", Count(errors=1)), ("b", Count(errors=5))], 30.0)
    assert tally.within_window("a", 30.0) == Count(3, 10, 1)
    assert tally.within_window("a", 61.0) == Count(1)
    assert tally.within_window("a", 120.0) == Count()
    assert tally.within_window("b", 30.0) == Count(5)
    assert tally.within_window("never heard of", 0.0) == Count()


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9)), max_size=200))
def test_the_window_is_exact_to_a_thirtieth_and_bounded(steps: list[tuple[float, int]]) -> None:
    tally, now_s, happened = Tally(60.0), 1000.0, []
    for passed_s, errors in steps:
        now_s += passed_s
        happened.append((now_s, errors))
        tally = tally.with_counts([("a", Count(errors=errors))], now_s)
        counted = tally.within_window("a", now_s).errors
        surely = sum(number for at_s, number in happened if at_s > now_s - 58)
        possibly = sum(number for at_s, number in happened if at_s > now_s - 60.001)
        assert surely <= counted <= possibly
        assert len(tally.buckets["a"]) <= 30
