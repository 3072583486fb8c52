"""How many retries a service bears, whoever makes them."""

from __future__ import annotations

import pytest

from resilience.policies import RetryBudget
from resilience.retrying.budget import Budget
from resilience.testing import FakeClock


def left(budget: Budget) -> int:
    """How many retries may be made at once now; it takes them all."""
    return next(count for count in range(1000) if not budget.take())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_it_begins_full_and_what_was_taken_is_gone(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=3, per_call=0, per_second=0), clock=clock)
    assert budget.take() is True
    assert left(budget) == 2
    assert budget.take() is False


def test_time_fills_it_up_to_the_burst(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=4, per_call=0, per_second=0.5), clock=clock)
    trace = [(0, 4), (1, 0), (1, 1), (4, 2), (1000, 4), (2, 1)]
    for passed_s, retries in trace:
        clock.advance(passed_s)
        assert left(budget) == retries, f"after another {passed_s} s"


def test_a_whole_token_is_enough_and_less_is_not(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=1, per_call=0.5, per_second=0), clock=clock)
    assert left(budget) == 1
    budget.called()
    assert budget.take() is False
    budget.called()
    assert budget.take() is True


def test_each_first_call_allows_a_share_of_a_retry(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=2, per_call=0.25, per_second=0), clock=clock)
    trace = [(0, 2), (3, 0), (1, 1), (8, 2), (400, 2)]
    for calls, retries in trace:
        for _ in range(calls):
            budget.called()
        assert left(budget) == retries, f"after another {calls} calls"


def test_where_tries_are_counted_elsewhere_retries_earn_nothing(clock: FakeClock) -> None:
    """Else an outage would pay for the storm that it causes: each retry is a try, too."""
    tries = 7  # made before the budget was: they earn nothing either
    budget = Budget(RetryBudget(burst=2, per_call=0.5, per_second=0), clock=clock, tries=lambda: tries)
    trace = [(0, 2), (1, 0), (1, 1), (3, 1), (1, 1), (40, 2)]
    for first_calls, retries in trace:
        tries += first_calls
        made = 0
        while budget.take():
            tries, made = tries + 1, made + 1
        assert made == retries, f"after {tries} tries"


def test_a_budget_that_is_off_refuses_nothing_and_is_not_used_up(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(enabled=False, burst=1, per_call=0, per_second=0), clock=clock)
    assert [budget.take() for _ in range(5)] == [True] * 5
    budget.configure(RetryBudget(burst=1, per_call=0, per_second=0))
    assert left(budget) == 1


def test_another_policy_keeps_what_is_in_the_bucket_as_far_as_it_fits(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=10, per_call=0, per_second=0), clock=clock)
    budget.configure(RetryBudget(burst=3, per_call=0, per_second=0))
    assert left(budget) == 3
    budget.configure(RetryBudget(burst=10, per_call=0, per_second=1))
    clock.advance(2)
    assert left(budget) == 2


def test_a_policy_that_cannot_work_is_refused_and_changes_nothing(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=2, per_call=0, per_second=0), clock=clock)
    with pytest.raises(ValueError, match="burst"):
        budget.configure(RetryBudget(burst=0))
    with pytest.raises(ValueError, match="burst"):
        Budget(RetryBudget(burst=0), clock=clock)
    assert left(budget) == 2
