"""Trying again, by its rules (§4)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience import ErrorClassifier
from resilience import errors as e
from resilience.policies import RetryBudget, RetryStrategy
from resilience.retrying.budget import Budget
from resilience.retrying.executor import (
    RETRY_STRATEGIES,
    RetryConfig,
    RetryExecutor,
    RetryExhaustedError,
    pause_seconds,
    retry,
    strategy_for,
    strategy_named,
)
from resilience.testing import FakeClock, immediate_retries


class Flaky:
    """Gives the outcomes in order, and the last one for ever; counts its calls."""

    def __init__(self, clock: FakeClock, *outcomes: Any) -> None:
        self.clock, self.outcomes, self.calls = clock, list(outcomes), 0
        self.at: list[float] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        self.at.append(self.clock.monotonic())
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if outcome is not Ellipsis else (args, kwargs)

    async def later(self, *args: Any, **kwargs: Any) -> Any:
        return self(*args, **kwargs)


REFUSED = ConnectionRefusedError(111, "refused")
PLAIN = RetryConfig(max_retries=3, base_delay=1, jitter=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, clock: FakeClock) -> Callable[..., Any]:
    """Executes a flaky call with an executor, as a function and as a coroutine function."""

    def execute(executor: RetryExecutor, call: Flaky, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return executor.execute(call, *args, **kwargs)

        async def scene() -> Any:
            task = asyncio.create_task(executor.execute(call.later, *args, **kwargs))  # type: ignore[arg-type]
            while not task.done():
                await clock.run(0.5)
            return task.result()

        return asyncio.run(scene())

    return execute


# How often


def test_retries_are_counted_after_the_first_call(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample: max_retries=N made N calls."""
    call = Flaky(clock, REFUSED)
    with pytest.raises(RetryExhaustedError) as exhausted:
        run(RetryExecutor(PLAIN, clock=clock), call)
    assert call.calls == 4
    assert [attempt.error for attempt in exhausted.value.attempts] == [REFUSED] * 4
    assert exhausted.value.__cause__ is REFUSED


def test_no_retries_are_a_plain_call_with_a_plain_error(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample: zero still wrapped it."""
    call = Flaky(clock, REFUSED)
    with pytest.raises(ConnectionRefusedError) as plain:
        run(RetryExecutor(RetryConfig(max_retries=0), clock=clock), call)
    assert (call.calls, plain.value) == (1, REFUSED)


def test_what_goes_well_after_failures_is_returned(clock: FakeClock, run: Callable[..., Any]) -> None:
    call = Flaky(clock, REFUSED, TimeoutError(), 7)
    assert run(RetryExecutor(PLAIN, clock=clock), call) == 7


def test_what_goes_well_at_once_waits_for_nothing(clock: FakeClock) -> None:
    assert RetryExecutor(PLAIN, clock=clock).execute(Flaky(clock, 7)) == 7
    assert clock.monotonic() == 0


# After which pause


def test_the_first_pause_is_the_base_delay(clock: FakeClock) -> None:
    """In the document's sample: it was twice as long."""
    call = Flaky(clock, REFUSED)
    with pytest.raises(RetryExhaustedError):
        RetryExecutor(PLAIN, clock=clock).execute(call)
    assert call.at == [0, 1, 3, 7]


POLICIES = st.builds(
    RetryStrategy,
    base_delay=st.floats(0, 100),
    max_delay=st.floats(100, 1000),
    exponential_base=st.floats(1, 100),
    jitter=st.booleans(),
    jitter_kind=st.sampled_from(["additive", "equal", "full"]),
    jitter_max=st.floats(0, 3600),
)


@given(POLICIES, st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_the_longest(policy: RetryStrategy, number: int, die: float) -> None:
    """In the document's sample: jitter came after the cap."""
    assert 0 <= pause_seconds(policy, number, lambda: die) <= policy.max_delay


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("additive", 8.0, 8.5), ("equal", 4.0, 8.0), ("full", 0.0, 8.0)]
)
def test_jitter_comes_in_three_kinds(kind: Any, low: float, high: float) -> None:
    policy = RetryStrategy(base_delay=1, jitter_kind=kind, jitter_max=0.5)
    assert pause_seconds(policy, 4, lambda: 0.0) == low
    dice = random.Random(7)  # noqa: S311 -- no secret
    pauses = [pause_seconds(policy, 4, dice.random) for _ in range(1000)]
    assert low <= min(pauses) < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < max(pauses) < high


def test_a_service_that_asks_for_time_gets_it(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample Retry-After was ignored."""
    call = Flaky(clock, e.RateLimitError("slow down", retry_after_s=20), 7)
    assert run(RetryExecutor(PLAIN, clock=clock), call) == 7
    assert call.at == [0, 20]


def test_a_service_that_asks_for_too_much_time_is_not_waited_for(clock: FakeClock, run: Callable[..., Any]) -> None:
    asks = e.RateLimitError("come back tomorrow", retry_after_s=86_400)
    call = Flaky(clock, asks, 7)
    with pytest.raises(e.RateLimitError):
        run(RetryExecutor(PLAIN, clock=clock), call)
    assert clock.monotonic() < 1
    assert call.calls == 1


def test_a_service_may_ask_for_time_up_to_the_deadline(clock: FakeClock) -> None:
    policy = RetryConfig(max_retries=3, max_delay=10, total_seconds=100)
    call = Flaky(clock, e.RateLimitError("wait", retry_after_s=90), 7)
    assert RetryExecutor(policy, clock=clock).execute(call) == 7
    assert call.at == [0, 90]


def test_no_try_begins_after_the_deadline(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample: there was none."""
    call = Flaky(clock, REFUSED)
    with pytest.raises(RetryExhaustedError, match="after its time is up"):
        run(RetryExecutor(RetryConfig(max_retries=99, base_delay=4, jitter=False, total_seconds=13), clock=clock), call)
    assert call.at == [0, 4, 12]


def test_pauses_can_be_made_immediate() -> None:
    calls: list[int] = []

    @retry(max_retries=3, base_delay=60)
    def broken() -> None:
        calls.append(1)
        raise REFUSED

    @retry(max_retries=3, base_delay=60)
    async def broken_too() -> None:
        broken()

    with immediate_retries(), pytest.raises(RetryExhaustedError):
        broken()
    with immediate_retries(), pytest.raises(RetryExhaustedError):
        asyncio.run(broken_too())
    assert len(calls) == 4 + 4 * 4


# For what


@pytest.mark.parametrize(
    "error",
    [
        e.AuthenticationError("no"), e.PermissionDeniedError("no"), e.InputValidationError("no"), e.SecurityError("no"),
        e.MissingConfigError("no"), PermissionError(13, "no"),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_what_trying_again_cannot_mend_is_not_tried_again(
    clock: FakeClock, run: Callable[..., Any], error: Exception
) -> None:
    """In the document's sample: a should_retry of one's own went past the list of what must never be tried again."""
    call = Flaky(clock, error)
    for config in (PLAIN, RetryConfig(should_retry=lambda _: True), None):
        with pytest.raises(type(error)):
            run(RetryExecutor(config, clock=clock), call)
    assert call.calls == 3


def test_unless_it_is_named(clock: FakeClock) -> None:
    for named in (PermissionError, e.OSPermissionError):
        call = Flaky(clock, PermissionError(13, "another program has it open"), 7)
        assert RetryExecutor(RetryConfig(retryable_exceptions=(named,)), clock=clock).execute(call) == 7


def test_only_what_is_named_is_tried_again(clock: FakeClock, run: Callable[..., Any]) -> None:
    call = Flaky(clock, REFUSED)
    with pytest.raises(ConnectionRefusedError):
        run(RetryExecutor(RetryConfig(retryable_exceptions=(TimeoutError,)), clock=clock), call)
    assert call.calls == 1


def test_a_foreign_exception_is_known_by_its_structure(clock: FakeClock) -> None:
    class APIStatusError(Exception):
        status_code = 503

    call = Flaky(clock, APIStatusError("overloaded"), 7)
    assert RetryExecutor(strategy_named("llm_service"), clock=clock, name="gpt-5.2").execute(call) == 7


def test_a_predicate_may_say_no_and_its_faults_too(clock: FakeClock) -> None:
    def unsure(_: Exception) -> bool:
        raise LookupError

    for predicate in (unsure, lambda _: False):
        with pytest.raises(ConnectionRefusedError):
            RetryExecutor(RetryConfig(should_retry=predicate), clock=clock).execute(Flaky(clock, REFUSED))


def test_a_result_can_ask_for_another_try(clock: FakeClock, run: Callable[..., Any]) -> None:
    config = RetryConfig(max_retries=2, should_retry_result=lambda answer: answer is None)
    assert run(RetryExecutor(config, clock=clock), Flaky(clock, None, None, 7)) == 7
    with pytest.raises(RetryExhaustedError) as exhausted:
        run(RetryExecutor(config, clock=clock), Flaky(clock, None))
    assert (exhausted.value.errors, exhausted.value.__cause__) == ([], None)


@pytest.mark.parametrize("way_out", [KeyboardInterrupt, SystemExit])
def test_leaving_is_not_tried_again(clock: FakeClock, way_out: type[BaseException]) -> None:
    call = Flaky(clock, way_out())
    with pytest.raises(way_out):
        RetryExecutor(clock=clock).execute(call)
    assert call.calls == 1


def test_a_pause_can_be_cancelled(clock: FakeClock) -> None:
    call = Flaky(clock, REFUSED)

    async def scene() -> None:
        task = asyncio.create_task(RetryExecutor(PLAIN, clock=clock).execute(call.later))  # type: ignore[arg-type]
        await clock.run(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert call.calls == 1


# The document's table and its strategies


@pytest.mark.parametrize(
    ("error", "component", "retries", "first", "longest"),
    [
        (e.NetworkTransientError("x"), "api", 5, 1.0, 32.0),
        (e.RateLimitError("x"), "api", 10, 1.0, 60.0),
        (e.ServiceUnavailableError("x"), "api", 5, 1.0, 16.0),
        (TimeoutError("x"), "api", 3, 5.0, 5.0),
        (TimeoutError("x"), "gpt-5.2", 3, 5.0, 5.0),
        (ConnectionResetError(104, "x"), "api", 5, 1.0, 16.0),
        (e.LLMRateLimitError("x"), "gpt-5.2", 10, 2.0, 120.0),
        (e.AuthenticationError("x"), "api", 0, 0, 0),
        (e.ValidationError("x"), "api", 0, 0, 0),
        (e.SecurityError("x"), "api", 0, 0, 0),
        (e.DiskSpaceError("x"), "api", 0, 0, 0),
        (RuntimeError("x"), "api", 0, 0, 0),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_the_error_decides(error: Exception, component: str, retries: int, first: float, longest: float) -> None:
    """§4.1; waiting frees no disk (§2.3), and of what nobody knows, nobody knows that it passes."""
    strategy = strategy_for(error, ErrorClassifier().verdict(error, component))
    assert strategy.max_retries == retries
    if retries:
        assert (pause_seconds(strategy, 1, lambda: 0.0), pause_seconds(strategy, 1000, lambda: 0.0)) == (first, longest)


@pytest.mark.parametrize(
    ("name", "retries", "base", "longest", "jitter"),
    [
        ("network", 5, 1.0, 32.0, 1.0), ("api_rate_limited", 10, 2.0, 120.0, 2.0), ("llm_service", 5, 2.0, 60.0, 1.0),
        ("database", 3, 0.5, 10.0, 1.0), ("filesystem", 3, 0.1, 5.0, None),
    ],
)  # fmt: skip
def test_the_strategies_are_the_documents(name: str, retries: int, base: float, longest: float, jitter: float | None) -> None:
    """§4.2."""
    one = RETRY_STRATEGIES[name]
    assert (one.max_retries, one.base_delay, one.max_delay, one.jitter_max if one.jitter else None) == (
        retries, base, longest, jitter,
    )  # fmt: skip


def test_an_unknown_strategy_is_an_error() -> None:
    """In the document's sample: it retried everything."""
    with pytest.raises(ValueError, match="no retry strategy 'netwrok'; there are auto, none, api_rate_limited, database"):
        retry("netwrok")


@pytest.mark.parametrize("given_", [{"max_retries": -1}, {"base_delay": 5, "max_delay": 1}, {"total_seconds": 0}])
def test_a_strategy_that_cannot_work_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="RetryConfig: "):
        RetryExecutor(RetryConfig(**given_))


# Callbacks


def test_callbacks_are_told_and_harm_nobody(clock: FakeClock, run: Callable[..., Any]) -> None:
    said: list[Any] = []

    def on_retry(error: Exception, number: int, pause_s: float) -> None:
        said.append((type(error).__name__, number, pause_s))
        raise RuntimeError("a callback's own fault")

    async def on_give_up(error: Exception) -> None:
        said.append(error)

    config = RetryConfig(max_retries=2, jitter=False, on_retry=on_retry, on_give_up=on_give_up)
    with pytest.raises(RetryExhaustedError):
        run(RetryExecutor(config, clock=clock), Flaky(clock, REFUSED))
    assert said[:2] == [("ConnectionRefusedError", 1, 1.0), ("ConnectionRefusedError", 2, 2.0)]


def test_every_argument_of_the_function_is_its_own(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample: a keyword named ``context`` was swallowed."""
    executor = RetryExecutor(PLAIN, clock=clock)
    expected = ((1,), {"context": 2, "config": 4})
    assert run(executor, Flaky(clock, REFUSED, ...), 1, context=2, config=4) == expected


def test_the_error_of_all_tries_does_not_hide_what_it_was(clock: FakeClock) -> None:
    """In the document's sample: healing saw only that something was exhausted."""
    with pytest.raises(RetryExhaustedError) as exhausted:
        RetryExecutor(PLAIN, clock=clock).execute(Flaky(clock, TimeoutError(), REFUSED))
    assert ErrorClassifier().verdict(exhausted.value).error_class is e.NetworkTransientError
    assert len(pickle.loads(pickle.dumps(exhausted.value)).errors) == 4


def test_a_decorated_function_keeps_its_name_and_signature(clock: FakeClock) -> None:
    @retry
    def double(n: int) -> int:
        """Twice."""
        return 2 * n

    @retry("network", clock=clock, max_retries=1)
    async def triple(n: int) -> int:
        return 3 * n

    assert (double(2), double.__name__, double.__doc__, asyncio.run(triple(2))) == (4, "double", "Twice.", 6)


@pytest.mark.parametrize("retries", [0, 2])
def test_an_error_is_gone_when_its_caller_has_dropped_it(clock: FakeClock, retries: int) -> None:
    """Its traceback does not lead back to it, so that it and all it holds wait for no garbage collector."""

    known: list[weakref.ref[Exception]] = []

    class Lost(Exception):
        def __init__(self) -> None:
            known.append(weakref.ref(self))

    def fail() -> None:
        raise Lost

    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(Lost, RetryExhaustedError):
            RetryExecutor(RetryConfig(max_retries=retries, jitter=False), clock=clock).execute(fail)
        assert [one() for one in known] == [None] * (retries + 1)
    finally:
        gc.enable()


# The budget


def tries(budget: Budget, clock: FakeClock, calls: int) -> Iterator[int]:
    executor = RetryExecutor(RetryConfig(max_retries=3, base_delay=0, jitter=False), clock=clock, budget=budget)
    for _ in range(calls):
        call = Flaky(clock, REFUSED)
        with pytest.raises((RetryExhaustedError, ConnectionRefusedError)):
            executor.execute(call)
        yield call.calls


def test_an_outage_does_not_become_a_storm(clock: FakeClock) -> None:
    """A thousand callers: the burst, and then a fifth of them may try again."""
    budget = Budget(RetryBudget(per_call=0.2, per_second=0, burst=20), clock=clock)
    made = sum(tries(budget, clock, 1000))
    assert 1000 + 20 + 200 - 1 <= made <= 1000 + 20 + 200


def test_time_fills_the_budget_up_to_the_burst(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=0.5, burst=3), clock=clock)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(2)
    assert [budget.take() for _ in range(2)] == [True, False]
    clock.advance(1_000_000)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_a_used_up_budget_says_so(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=0, burst=1), clock=clock)
    with pytest.raises(RetryExhaustedError, match="the retry budget of 'gmail_api' is used up"):
        RetryExecutor(PLAIN, name="gmail_api", clock=clock, budget=budget).execute(Flaky(clock, REFUSED))


def test_a_budget_that_is_off_limits_nothing(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(burst=1), clock=clock)
    budget.configure(RetryBudget(enabled=False))
    assert list(tries(budget, clock, 5)) == [4] * 5


def test_threads_take_no_token_twice(clock: FakeClock) -> None:
    budget = Budget(RetryBudget(per_call=0, per_second=0, burst=500), clock=clock)
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(sum(budget.take() for _ in range(200)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 500


def test_many_tasks_retry_without_hindering_each_other(clock: FakeClock) -> None:
    executor = RetryExecutor(RetryConfig(max_retries=3, base_delay=1, jitter=False), clock=clock)

    async def scene() -> list[int]:
        calls = [Flaky(clock, REFUSED, n) for n in range(500)]
        tasks = [asyncio.create_task(executor.execute(call.later)) for call in calls]  # type: ignore[arg-type]
        await clock.run(1)
        return await asyncio.gather(*tasks)

    assert asyncio.run(scene()) == list(range(500))
