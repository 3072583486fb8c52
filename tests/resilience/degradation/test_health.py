from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from resilience.degradation.health import Circumstances, Count, ServiceHealth, Tally


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


def test_every_name_has_its_own_counts_and_each_kind_is_summed() -> None:
    tally = Tally(60.0).with_counts([("a", Count(1, 2, 3)), ("b", Count(10, 20, 30)), ("a", Count(100, 200, 300))], 7.0)
    tally = tally.with_counts([("a", Count(1000, 2000, 3000))], 50.0)
    assert tally.within_window("a", 50.0) == Count(1101, 2202, 3303)
    assert tally.within_window("b", 50.0) == Count(10, 20, 30)
    assert tally.window_s == 60.0


def test_counting_changes_no_tally_that_somebody_holds() -> None:
    before = Tally(60.0).with_counts([("a", Count(1))], 0.0)
    before.with_counts([("a", Count(1)), ("b", Count(1))], 1.0)
    assert before.within_window("a", 1.0) == Count(1)
    assert list(before.buckets) == ["a"]


def test_a_count_leaves_with_its_thirtieth_of_the_window() -> None:
    """Of a window of sixty seconds a step is two: what happened at 10 is counted until 70 begins."""
    tally = Tally(60.0).with_counts([("a", Count(1))], 10.0)
    assert [tally.within_window("a", now_s).errors for now_s in (10.0, 69.9, 70.0)] == [1, 1, 0]
    assert list(tally.with_counts([("a", Count(1))], 69.9).buckets["a"]) == [5, 34]
    assert list(tally.with_counts([("a", Count(1))], 70.0).buckets["a"]) == [35], "what has left is not kept"


def test_a_service_that_nobody_has_told_of_is_taken_for_healthy() -> None:
    known = ServiceHealth("gmail_api", False, datetime(2026, 1, 1, tzinfo=UTC), error_count=3)
    circumstances = Circumstances({"gmail_api": known})
    assert circumstances.of("gmail_api") is known
    stranger = circumstances.of("twilio_api")
    assert (stranger.service_name, stranger.is_healthy, stranger.error_count) == ("twilio_api", True, 0)
    assert stranger.last_check < known.last_check
    assert list(circumstances) == ["gmail_api"], "asking adds nothing"
