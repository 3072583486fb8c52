"""Trying again, by its rules (§4)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from resilience import ErrorClassifier
from resilience import errors as e
from resilience.retrying.attempts import RetryExhaustedError
from resilience.retrying.executor import RetryExecutor, retry
from resilience.retrying.strategies import RetryConfig, strategy_named
from resilience.testing import FakeClock, immediate_retries
from tests.resilience.retrying.flaky import PLAIN, REFUSED, Flaky


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


def test_a_service_that_asks_for_time_gets_it(clock: FakeClock, run: Callable[..., Any]) -> None:
    """In the document's sample Retry-After was ignored."""
    call = Flaky(clock, e.RateLimitError("slow down", retry_after_s=20), 7)
    assert run(RetryExecutor(PLAIN, clock=clock), call) == 7
    assert call.at == [0, 20]


@pytest.mark.parametrize(
    ("asked_s", "settings", "die", "pause_s"),
    [
        (30, {}, 0.0, 30.0),
        (30, {}, 0.5, 30.5),
        (30, {"jitter_max": 4}, 0.75, 33.0),
        (30, {"jitter_kind": "full"}, 0.75, 30.75),
        (30, {"jitter": False}, 0.75, 30.0),
        (2, {"base_delay": 20, "jitter_max": 4}, 0.5, 22.0),
        (59.5, {}, 0.5, 59.75),
        (60, {}, 0.5, 60.0),
        (30, {"total_seconds": 30.5}, 0.5, 30.25),
        (90, {"total_seconds": 100}, 0.5, 90.5),
    ],
)
def test_callers_that_were_told_the_same_do_not_come_back_together(
    clock: FakeClock, asked_s: float, settings: dict[str, Any], die: float, pause_s: float
) -> None:
    """All that were told '30 s' came back after 30.0 s. What chance adds makes no pause too long that is not."""
    call = Flaky(clock, e.RateLimitError("slow down", retry_after_s=asked_s), 7)
    assert RetryExecutor(RetryConfig(**settings), clock=clock, dice=lambda: die).execute(call) == 7
    assert call.at == [0, pause_s]


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
    assert RetryExecutor(policy, clock=clock, dice=lambda: 0.0).execute(call) == 7
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


def test_a_defect_in_the_question_about_a_result_repeats_no_call_that_went_well(
    clock: FakeClock, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A mail was sent four times, because the predicate looked for a key that the answer had not."""
    config = RetryConfig(max_retries=3, should_retry_result=lambda answer: answer["ok"] is False)
    call = Flaky(clock, {}, 7)
    assert run(RetryExecutor(config, clock=clock), call) == {}
    assert call.calls == 1
    assert "so the result is taken as it is" in caplog.text
    assert run(RetryExecutor(config, clock=clock), Flaky(clock, REFUSED, {})) == {}


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

    def on_give_up(error: Exception) -> None:
        said.append(error)
        raise RuntimeError("a callback's own fault")

    config = RetryConfig(max_retries=2, jitter=False, on_retry=on_retry, on_give_up=on_give_up)
    with pytest.raises(RetryExhaustedError):
        run(RetryExecutor(config, clock=clock), Flaky(clock, REFUSED))
    assert said == [("ConnectionRefusedError", 1, 1.0), ("ConnectionRefusedError", 2, 2.0), REFUSED]


def test_a_callback_may_be_a_coroutine_where_a_loop_runs(clock: FakeClock) -> None:
    said: list[Exception] = []

    async def on_give_up(error: Exception) -> None:
        said.append(error)

    async def scene() -> None:
        with pytest.raises(RetryExhaustedError), immediate_retries():
            await RetryExecutor(RetryConfig(on_give_up=on_give_up), clock=clock).execute(Flaky(clock, REFUSED).later)
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert said == [REFUSED]


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


def test_many_tasks_retry_without_hindering_each_other(clock: FakeClock) -> None:
    executor = RetryExecutor(RetryConfig(max_retries=3, base_delay=1, jitter=False), clock=clock)

    async def scene() -> list[int]:
        calls = [Flaky(clock, REFUSED, n) for n in range(500)]
        tasks = [asyncio.create_task(executor.execute(call.later)) for call in calls]  # type: ignore[arg-type]
        await clock.run(1)
        return await asyncio.gather(*tasks)

    assert asyncio.run(scene()) == list(range(500))
