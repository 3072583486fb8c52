"""How many retries a service bears, whoever makes them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from resilience.circuit.window import Tally
from resilience.policies import RetryBudget
from resilience.retrying.attempts import RetryExhaustedError
from resilience.retrying.budget import Budget
from resilience.retrying.executor import RetryExecutor
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock
from tests.resilience.retrying.flaky import PLAIN, REFUSED, Flaky


def left(budget: Budget) -> int:
    """How many retries may be made at once now; it takes them all."""
    return next(count for count in range(1000) if not budget.take())


def test_it_begins_full_and_what_was_taken_is_gone(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=3, per_call=0, per_second=0), lambda: 0, clock=clock)
    assert budget.take() is True
    assert left(budget) == 2
    assert budget.take() is False


def test_a_token_that_is_given_back_is_one_and_its_retry_was_never_taken(clock: FakeClock) -> None:
    made = 0
    budget = Budget(RetryBudget(burst=3, per_call=1, per_second=0), lambda: made, clock=clock)
    assert left(budget) == 3
    budget.give_back()
    assert left(budget) == 1
    made += 3  # the retries that were made; they earn nothing
    assert left(budget) == 0
    made += 1
    assert left(budget) == 1


def test_time_fills_it_up_to_the_burst(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=4, per_call=0, per_second=0.5), lambda: 0, clock=clock)
    trace = [(0, 4), (1, 0), (1, 1), (4, 2), (1000, 4), (2, 1)]
    for passed_s, retries in trace:
        clock.advance(passed_s)
        assert left(budget) == retries, f"after another {passed_s} s"


def test_a_whole_token_is_enough_and_less_is_not(clock: FakeClock) -> None:
    made = Tally()
    budget = Budget(RetryBudget(burst=1, per_call=0.5, per_second=0), lambda: made.value, clock=clock)
    assert left(budget) == 1
    made.tick()  # that retry
    made.tick()
    assert budget.take() is False
    made.tick()
    assert budget.take() is True


def test_each_first_call_allows_a_share_of_a_retry_and_retries_earn_nothing(clock: FakeClock) -> None:
    """Else an outage would pay for the storm that it causes: each retry is a try, too."""
    tries = 7  # made before the budget was: they earn nothing either
    budget = Budget(RetryBudget(burst=2, per_call=0.5, per_second=0), lambda: tries, clock=clock)
    trace = [(0, 2), (1, 0), (1, 1), (3, 1), (1, 1), (40, 2)]
    for first_calls, retries in trace:
        tries += first_calls
        made = 0
        while budget.take():
            tries, made = tries + 1, made + 1
        assert made == retries, f"after {tries} tries"


def test_a_budget_that_is_off_refuses_nothing_and_is_not_used_up(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(enabled=False, burst=1, per_call=0, per_second=0), lambda: 0, clock=clock)
    assert [budget.take() for _ in range(5)] == [True] * 5
    budget.configure(RetryBudget(burst=1, per_call=0, per_second=0))
    assert left(budget) == 1


def test_another_policy_keeps_what_is_in_the_bucket_as_far_as_it_fits(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=10, per_call=0, per_second=0), lambda: 0, clock=clock)
    budget.configure(RetryBudget(burst=3, per_call=0, per_second=0))
    assert left(budget) == 3
    budget.configure(RetryBudget(burst=10, per_call=0, per_second=1))
    clock.advance(2)
    assert left(budget) == 2


def test_a_policy_that_cannot_work_is_refused_and_changes_nothing(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=2, per_call=0, per_second=0), lambda: 0, clock=clock)
    with pytest.raises(ValueError, match="burst"):
        budget.configure(RetryBudget(burst=0))
    with pytest.raises(ValueError, match="burst"):
        Budget(RetryBudget(burst=0), lambda: 0, clock=clock)
    assert left(budget) == 2


def test_threads_take_no_token_twice(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=0, burst=500), lambda: 0, clock=clock)
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(sum(budget.take() for _ in range(200)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 500


def test_a_token_that_is_given_back_makes_no_more_than_the_burst(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=1, burst=2), lambda: 0, clock=clock)
    assert budget.take()
    clock.advance(100)
    assert budget.take()
    budget.give_back()
    budget.give_back()
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_retries_that_are_not_counted_take_one_token_each(clock: FakeClock) -> None:
    """Retries that are under way or refused are not among the calls that are counted: each took 1.2 tokens."""
    made = [0]
    budget = Budget(RetryBudget(per_call=0.2, per_second=0, burst=20), lambda: made[0], clock=clock)
    assert [budget.take() for _ in range(21)] == [True] * 20 + [False]
    made[0] += 20  # those retries have ended
    assert not budget.take()
    made[0] += 5  # and these are first calls
    assert [budget.take() for _ in range(2)] == [True, False]


# With callers that try again


def tries(policy: RetryBudget, clock: FakeClock, calls: int) -> int:
    """How many tries that many calls make which all fail."""
    made = Tally()
    budget = Budget(policy, lambda: made.value, clock=clock)
    executor = RetryExecutor(RetryConfig(max_retries=3, base_delay=0, jitter=False), clock=clock, budget=budget)

    def fail() -> None:
        made.tick()
        raise REFUSED

    for _ in range(calls):
        with pytest.raises((RetryExhaustedError, ConnectionRefusedError)):
            executor.execute(fail)
    return made.value


def test_an_outage_does_not_become_a_storm(clock: FakeClock) -> None:
    """A thousand callers: the burst, and then a fifth of them may try again."""
    made = tries(RetryBudget(per_call=0.2, per_second=0, burst=20), clock, 1000)
    assert 1000 + 20 + 200 - 1 <= made <= 1000 + 20 + 200


def test_a_used_up_budget_says_so(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=0, burst=1), lambda: 0, clock=clock)
    with pytest.raises(RetryExhaustedError, match="the retry budget of 'gmail_api' is used up"):
        RetryExecutor(PLAIN, name="gmail_api", clock=clock, budget=budget).execute(Flaky(clock, REFUSED))


def test_a_budget_that_is_off_limits_nothing(clock: FakeClock) -> None:
    assert tries(RetryBudget(enabled=False, burst=1), clock, 5) == 20


@pytest.mark.parametrize("way_out", ["cancelled", "collected", "interrupted"])
def test_a_caller_that_leaves_during_the_pause_gives_its_token_back(clock: FakeClock, way_out: str) -> None:
    """Twenty callers that were cancelled left none for those that stayed, though no retry was made."""
    budget = Budget(RetryBudget(per_call=0, per_second=0, burst=2), lambda: 0, clock=clock)
    executor, call = RetryExecutor(PLAIN, clock=clock, budget=budget), Flaky(clock, REFUSED)

    async def cancelled() -> None:
        task = asyncio.create_task(executor.execute(call.later))  # type: ignore[arg-type]
        await clock.run(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def collected() -> None:
        left: Any = executor.execute(call.later)
        left.send(None)
        left.close()

    async def interrupted() -> None:
        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        clock.sleep = interrupt  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            executor.execute(call)

    async def scene() -> None:
        for _ in range(5):
            await {"cancelled": cancelled, "collected": collected, "interrupted": interrupted}[way_out]()

    asyncio.run(scene())
    assert call.calls == 5
    assert [budget.take() for _ in range(3)] == [True, True, False]
