"""The whole way of a call through a service's policies (§10.1)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resilience import ErrorClassifier, ErrorContext
from resilience import errors as e
from resilience.bulkhead import BulkheadFullError
from resilience.circuit.breaker import CircuitBreakerConfig, CircuitBreakerOpenError, CircuitState
from resilience.config.settings import Bulkheads, CircuitBreakers, Retry, Service, Settings
from resilience.degradation.gate import FeatureDisabledError
from resilience.executor import Resilience, ResilientAgentExecutor
from resilience.healing.waiting import EndedHeals
from resilience.policies import BulkheadLimits, RetryStrategy
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock, Faults, immediate_retries, settle

QUICK = RetryConfig(max_retries=2, base_delay=1, jitter=False)


class Backend:
    """A service that gives the outcomes in order, and the last one for ever."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.calls = list(outcomes), 0

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if outcome is not Ellipsis else (args, kwargs)

    async def ask_later(self, *args: Any, **kwargs: Any) -> Any:
        return self.ask(*args, **kwargs)


class Reports(list[tuple[Exception, str, str, int]]):
    """What was reported."""

    def __init__(self, resilience: Callable[[], Resilience]) -> None:
        super().__init__()
        self.resilience = resilience

    def __call__(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        self.append((error, service, operation, retries))
        return self.resilience().classifier.classify(error, {"component": service, "operation": operation})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reports(request: pytest.FixtureRequest) -> Reports:
    return Reports(lambda: request.getfixturevalue("resilience"))


@pytest.fixture
def resilience(clock: FakeClock, reports: Reports) -> Resilience:
    return Resilience(clock=clock, report=reports)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, clock: FakeClock) -> Callable[..., Any]:
    """Protects a service's ``ask``, as a function and as a coroutine function, and calls it."""

    def protected(protect: Callable[..., Any], service: Backend, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return protect(service.ask)(*args, **kwargs)
        return asyncio.run(finish(clock, protect(service.ask_later)(*args, **kwargs)))

    return protected


async def finish(clock: FakeClock, work: Any) -> Any:
    task = asyncio.ensure_future(work)
    for _ in range(1000):
        await clock.run(0.5)
        if task.done():
            break
    return task.result()


REFUSED = ConnectionRefusedError(111, "refused")


def test_a_good_call_is_just_made(resilience: Resilience, reports: Reports, call: Callable[..., Any]) -> None:
    assert call(resilience.protect("gpt-5.2"), Backend(...), 1, two=2) == ((1,), {"two": 2})
    assert reports == []
    assert resilience.circuits.get_or_create("gpt-5.2").metrics.total_calls == 1


def test_what_passes_by_itself_is_tried_again_through_circuit_and_bulkhead(
    resilience: Resilience, reports: Reports, call: Callable[..., Any]
) -> None:
    """In the document's sample: the circuit was looked up and never used."""
    assert call(resilience.protect("gmail_api", retry=QUICK), Backend(REFUSED, REFUSED, 7)) == 7
    metrics = resilience.circuits.get_or_create("gmail_api").metrics
    assert (metrics.total_calls, metrics.failed_calls) == (3, 2)
    assert resilience.bulkheads.get_all_metrics()["gmail_api"]["accepted_requests"] == 3
    assert reports == []


def test_the_original_error_comes_out_reported_once_and_explained(
    resilience: Resilience, reports: Reports, call: Callable[..., Any]
) -> None:
    with pytest.raises(ConnectionRefusedError) as failure:
        call(resilience.protect("gmail_api", retry=QUICK), Backend(REFUSED))
    context = failure.value.error_context  # type: ignore[attr-defined]
    assert (context.kind, context.component) == ("transient.network", "gmail_api")
    assert [(error, service, retries) for error, service, _, retries in reports] == [(REFUSED, "gmail_api", 2)]
    assert reports[0][2].startswith("Backend.ask")
    assert "3 tries failed, and there is no further one: 2 retries are all it gets" in failure.value.__notes__[-1]


def test_the_number_of_calls_is_bounded(resilience: Resilience, call: Callable[..., Any]) -> None:
    """In the document's sample: healing recursed, 979 calls were made."""
    service = Backend(REFUSED)
    with pytest.raises(ConnectionRefusedError):
        call(resilience.protect("gmail_api", retry=QUICK), service)
    assert service.calls == 3


def test_an_open_circuit_refuses_and_the_call_is_not_made(
    resilience: Resilience, reports: Reports, call: Callable[..., Any]
) -> None:
    resilience.circuits.get_or_create("gpt-5.2").isolate("tests")
    service = Backend(7)
    with pytest.raises(CircuitBreakerOpenError):
        call(resilience.protect("gpt-5.2", retry=QUICK), service)
    assert (service.calls, reports) == (0, [])


def test_with_a_fallback_an_open_circuit_still_makes_no_call(resilience: Resilience, call: Callable[..., Any]) -> None:
    """In the document's sample: with a fallback the real call was made."""
    resilience.circuits.get_or_create("gpt-5.2").isolate("tests")
    service = Backend(7)
    assert call(resilience.protect("gpt-5.2", fallback=lambda: "canned"), service) == "canned"
    assert service.calls == 0


def test_retries_end_when_the_circuit_opens(
    resilience: Resilience, reports: Reports, call: Callable[..., Any]
) -> None:
    """What failed is what is told, not that the next try was refused."""
    service = Backend(ConnectionRefusedError(111, "refused"))
    with pytest.raises(ConnectionRefusedError) as failure:
        call(resilience.protect("gpt-5.2", retry=RetryConfig(max_retries=50, base_delay=0.1)), service)
    assert (service.calls, len(reports)) == (3, 1)
    assert "no further one: it was refused" in failure.value.__notes__[-1]
    assert resilience.circuits.get_or_create("gpt-5.2").is_open


def test_fallbacks_are_asked_in_order_with_the_same_arguments(
    resilience: Resilience, reports: Reports, call: Callable[..., Any]
) -> None:
    def broken(question: str) -> str:
        raise LookupError(question)

    def canned(question: str) -> str:
        return f"I cannot say ({question})"

    fallbacks = resilience.protect("gpt-5.2", retry="none", fallback=[broken, canned])
    assert call(fallbacks, Backend(REFUSED), "why?") == "I cannot say (why?)"
    assert len(reports) == 1


def test_if_no_fallback_answers_the_first_error_comes_out(resilience: Resilience, call: Callable[..., Any]) -> None:
    def broken() -> str:
        raise LookupError("nothing there")

    error = ConnectionRefusedError(111, "refused")
    with pytest.raises(ConnectionRefusedError) as failure:
        call(resilience.protect("gpt-5.2", retry="none", fallback=broken), Backend(error))
    assert "the fallback test_if_no" in failure.value.__notes__[-1]
    assert "LookupError: nothing there" in failure.value.__notes__[-1]


def test_a_fallback_may_be_asynchronous_for_what_is(resilience: Resilience, clock: FakeClock) -> None:
    async def ask_another() -> str:
        return "another"

    protect = resilience.protect("gpt-5.2", retry="none", fallback=ask_another)
    assert asyncio.run(finish(clock, protect(Backend(REFUSED).ask_later)())) == "another"
    with pytest.raises(TypeError, match=r"is asynchronous, and Backend\.ask is not"):
        protect(Backend(7).ask)


def test_a_refused_feature_is_an_error_and_no_dictionary(clock: FakeClock, call: Callable[..., Any]) -> None:
    """In the document's sample the caller took a dictionary for the result."""
    allowed = [False]

    def gate(service: str, read_only: bool) -> Callable[[str], None] | None:
        def refuse(_: str) -> None:
            raise FeatureDisabledError(service, "use_gpt_5_2", "SAFE_MODE", "tests")

        return None if allowed[0] or read_only else refuse

    resilience = Resilience(clock=clock, gate=gate)
    service = Backend(7)
    with pytest.raises(FeatureDisabledError):
        call(resilience.protect("gpt-5.2"), service)
    assert call(resilience.protect("gpt-5.2", read_only=True), service) == 7
    assert call(resilience.protect("gpt-5.2", fallback=lambda: 8), service) == 8
    protect = resilience.protect("gpt-5.2")
    allowed[0] = True
    resilience.look_again()
    assert call(protect, service) == 7


def test_an_unknown_strategy_is_an_error_at_once(resilience: Resilience) -> None:
    """In the document's sample it retried everything."""
    with pytest.raises(ValueError, match="no retry strategy 'aggresive'"):
        resilience.protect("gpt-5.2", retry="aggresive")


@pytest.mark.parametrize("name", ["timeout_s", "attempt_timeout_s", "hedge_after_s", "wait_for_healing_s"])
def test_a_time_that_is_none_is_refused(resilience: Resilience, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 is not possible"):
        resilience.protect("gpt-5.2", **{name: 0})  # type: ignore[arg-type]


# Time


def slow(clock: FakeClock, *seconds: float) -> tuple[list[float], Callable[[], Any]]:
    began: list[float] = []

    async def ask() -> str:
        began.append(clock.monotonic())
        await clock.asleep(seconds[min(len(began), len(seconds)) - 1])
        return "answer"

    return began, ask


def test_each_try_has_its_time(resilience: Resilience, reports: Reports, clock: FakeClock) -> None:
    began, ask = slow(clock, 100, 100, 1)
    protected = resilience.protect("gmail_api", retry=RetryConfig(max_retries=2, base_delay=5, jitter=False), attempt_timeout_s=10)
    assert asyncio.run(finish(clock, protected(ask)())) == "answer"
    assert began[1] == pytest.approx(15, rel=0.04)
    assert resilience.circuits.get_or_create("gmail_api").metrics.failed_calls == 2


def test_all_tries_together_have_theirs(resilience: Resilience, reports: Reports, clock: FakeClock) -> None:
    began, ask = slow(clock, 1000)
    protected = resilience.protect("gmail_api", retry=RetryConfig(max_retries=50, base_delay=1, jitter=False), attempt_timeout_s=10, timeout_s=25)
    with pytest.raises(TimeoutError, match="gmail_api did not answer within"):
        asyncio.run(finish(clock, protected(ask)()))
    assert len(began) == 3
    assert clock.monotonic() < 27
    assert [retries for *_, retries in reports] == [2]


def test_waiting_for_a_slot_is_part_of_the_time(clock: FakeClock) -> None:
    settings = Settings(bulkhead=Bulkheads(default=BulkheadLimits(max_concurrent=1, timeout_seconds=600)))
    resilience = Resilience(settings, clock=clock)
    _, ask = slow(clock, 100)
    protected = resilience.protect("gmail_api", retry="none", timeout_s=10)(ask)

    async def scene() -> list[Any]:
        unlimited = resilience.protect("gmail_api", retry="none")(ask)
        tasks = [asyncio.create_task(unlimited()), asyncio.create_task(protected())]
        await clock.run(101)
        return await asyncio.gather(*tasks, return_exceptions=True)

    answer, error = asyncio.run(scene())
    assert answer == "answer"
    assert isinstance(error, TimeoutError)
    assert "found no room within 10 s" in str(error)


def test_cancelling_goes_through_and_leaves_nothing_behind(resilience: Resilience, reports: Reports, clock: FakeClock) -> None:
    _, ask = slow(clock, 100)

    async def scene() -> None:
        task = asyncio.create_task(resilience.protect("gpt-5.2", timeout_s=60, fallback=lambda: 1)(ask)())
        await clock.run(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert resilience.bulkheads.get_all_metrics()["gpt-5.2"]["running"] == 0
    assert resilience.circuits.get_or_create("gpt-5.2").metrics.total_calls == 0
    assert reports == []


def test_what_cannot_be_interrupted_is_not_promised(resilience: Resilience) -> None:
    with pytest.raises(ValueError, match="hedge_after_s needs a coroutine function"):
        resilience.protect("gpt-5.2", hedge_after_s=1)(Backend(1).ask)
    with pytest.raises(ValueError, match="attempt_timeout_s needs a coroutine function"):
        resilience.protect("gpt-5.2", attempt_timeout_s=1)(Backend(1).ask)


def test_a_function_is_not_tried_again_after_its_time(resilience: Resilience, clock: FakeClock) -> None:
    service = Backend(REFUSED)
    protected = resilience.protect("gmail_api", retry=RetryConfig(max_retries=50, base_delay=4, jitter=False), timeout_s=13)
    with pytest.raises(ConnectionRefusedError):
        protected(service.ask)()
    assert (service.calls, clock.monotonic()) == (3, 12)


# Hedging


def test_a_second_call_helps_out_a_slow_one(resilience: Resilience, clock: FakeClock) -> None:
    began, ask = slow(clock, 100, 1)

    async def scene() -> float:
        task = asyncio.create_task(resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())
        await clock.run(7)
        assert await task == "answer"
        return clock.monotonic()

    asyncio.run(scene())
    assert began == [0, 5]
    assert resilience.bulkheads.get_all_metrics()["gpt-5.2"]["running"] == 0


def test_a_quick_call_is_not_made_twice(resilience: Resilience, clock: FakeClock) -> None:
    began, ask = slow(clock, 1)
    assert asyncio.run(finish(clock, resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())) == "answer"
    assert began == [0]


def test_if_the_second_fails_the_first_may_still_answer(resilience: Resilience, clock: FakeClock) -> None:
    calls = 0

    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise REFUSED
        await clock.asleep(10)
        return "answer"

    assert asyncio.run(finish(clock, resilience.protect("gpt-5.2", hedge_after_s=5)(ask)())) == "answer"
    assert calls == 2


# Streams


class Stream:
    """An answer in pieces; ``breaks`` says after how many pieces each attempt fails (None: it does not)."""

    def __init__(self, *breaks: int | None) -> None:
        self.breaks, self.begun, self.closed = list(breaks), 0, 0

    async def ask(self) -> AsyncIterator[int]:
        at = self.breaks[min(self.begun, len(self.breaks) - 1)]
        self.begun += 1
        try:
            for n in range(3):
                if n == at:
                    raise REFUSED
                yield n
        finally:
            self.closed += 1


async def collect(items: AsyncIterator[Any], into: list[Any]) -> list[Any]:
    async for item in items:
        into.append(item)  # noqa: PERF401 -- what came before an error counts
    return into


def test_a_stream_that_fails_before_its_first_item_is_begun_again(
    resilience: Resilience, reports: Reports, clock: FakeClock
) -> None:
    stream = Stream(0, 0, None)
    items = resilience.protect("gmail_api", retry=QUICK)(stream.ask)()
    assert asyncio.run(finish(clock, collect(items, []))) == [0, 1, 2]
    assert (stream.begun, stream.closed, reports) == (3, 3, [])


def test_a_stream_that_is_left_while_it_pauses_takes_no_retry_from_the_budget(resilience: Resilience, clock: FakeClock) -> None:
    protected = resilience.protect("mine", retry=RetryConfig(max_retries=1))(Stream(0).ask)

    async def is_pausing() -> bool:
        waiting = asyncio.ensure_future(collect(protected(), []))
        await settle()
        paused = not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        resilience.circuits.get_or_create("mine").reset()
        return paused

    async def scene() -> None:
        assert [await is_pausing() for _ in range(30)] == [True] * 30  # the budget alone allows twenty

    asyncio.run(scene())


def test_a_stream_that_fails_later_is_not(resilience: Resilience, reports: Reports, clock: FakeClock) -> None:
    stream, got = Stream(2), []  # type: ignore[var-annotated]
    protected = resilience.protect("gmail_api", retry=QUICK, fallback=lambda: "canned")(stream.ask)
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(finish(clock, collect(protected(), got)))
    assert (got, stream.begun, len(reports)) == ([0, 1], 1, 1)


def test_a_stream_has_time_to_begin(resilience: Resilience, clock: FakeClock) -> None:
    async def ask() -> AsyncIterator[int]:
        await clock.asleep(100)
        yield 1

    protected = resilience.protect("gpt-5.2", retry="none", attempt_timeout_s=5)(ask)
    with pytest.raises(TimeoutError, match=r"gpt-5\.2 did not begin to answer within 5 s"):
        asyncio.run(finish(clock, collect(protected(), [])))


def test_a_stream_falls_back_to_another(resilience: Resilience, clock: FakeClock) -> None:
    async def another() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def one() -> str:
        return "whole"

    for make, expected in ((another, ["a", "b"]), (one, ["whole"]), (lambda: "plain", ["plain"])):
        protected = resilience.protect("gmail_api", retry="none", fallback=make)(Stream(0).ask)
        assert asyncio.run(finish(clock, collect(protected(), []))) == expected


def test_a_stream_left_early_is_closed_and_no_failure(resilience: Resilience, clock: FakeClock) -> None:
    stream = Stream(None)

    async def scene() -> None:
        items = resilience.protect("gmail_api")(stream.ask)()
        assert await anext(items) == 0
        await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())
    assert stream.closed == 1
    assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 0
    assert resilience.circuits.get_or_create("gmail_api").metrics.failed_calls == 0


def test_two_streams_in_one_task_do_not_mix(resilience: Resilience) -> None:
    protected = resilience.protect("gmail_api")

    async def scene() -> None:
        one, other = protected(Stream(None).ask)(), protected(Stream(2).ask)()
        await anext(one)
        await anext(other)
        assert await collect(one, []) == [1, 2]
        with pytest.raises(ConnectionRefusedError):
            await collect(other, [])

    asyncio.run(scene())
    metrics = resilience.circuits.get_or_create("gmail_api").metrics
    assert (metrics.successful_calls, metrics.failed_calls) == (1, 1)


def test_a_plain_generator_is_refused(resilience: Resilience) -> None:
    def items() -> Any:
        yield 1

    with pytest.raises(TypeError, match="is a generator; make it asynchronous"):
        resilience.protect("gmail_api")(items)


def test_a_result_may_ask_for_another_try_the_first_one_too(resilience: Resilience, call: Callable[..., Any]) -> None:
    wanting = RetryConfig(max_retries=2, base_delay=1.0, jitter=False, should_retry_result=lambda answer: answer == "wait")
    service = Backend("wait", "wait", 7)
    assert call(resilience.protect("gmail_api", retry=wanting), service) == 7
    assert service.calls == 3
    never = Backend("wait")
    assert call(resilience.protect("gmail_api", retry=wanting, fallback=lambda: "canned"), never) == "canned"
    assert never.calls == 3


def test_a_rule_of_ones_own_says_whose_fault_it_is_and_whether_to_try_again(clock: FakeClock) -> None:
    class Busy(Exception):
        """The service's own word for it."""

    classifier = ErrorClassifier(clock=clock)
    resilience = Resilience(clock=clock, classifier=classifier)
    failing = Backend(Busy(), Busy(), 7)
    with pytest.raises(Busy):
        resilience.protect("mine")(failing.ask)()
    classifier.add_rule(lambda evidence: e.ServiceUnavailableError if "Busy" in evidence.names[0] else None)
    assert resilience.protect("mine")(failing.ask)() == 7
    classifier.add_rule(lambda _: e.ValidationError)
    failed = resilience.circuits.get_or_create("mine").metrics.failed_calls
    with pytest.raises(LookupError):
        resilience.protect("other")(Backend(LookupError()).ask)()
    assert (failed, resilience.circuits.get_or_create("other").metrics.failed_calls) == (2, 0)


# Settings


def test_the_settings_say_what_is_not_said_in_code(clock: FakeClock) -> None:
    settings = Settings(
        services={"mail": Service(retry="mine", timeout_seconds=50, attempt_timeout_seconds=5)},
        retry=Retry(strategies={"mine": RetryStrategy(max_retries=1)}),
        circuit_breaker=CircuitBreakers(services={"mail": CircuitBreakerConfig(failure_threshold=9)}),
        bulkhead=Bulkheads(services={"mail": BulkheadLimits(max_concurrent=2)}),
    )
    resilience = Resilience(settings, clock=clock)
    pipeline = resilience.protect("mail")(Backend(1).ask_later).pipeline  # type: ignore[attr-defined]
    assert (pipeline.retry.config.max_retries, pipeline.total_s, pipeline.attempt_s) == (1, 50, 5)
    assert pipeline.breaker.config.failure_threshold == 9
    assert pipeline.bulkhead.limits.max_concurrent == 2
    pipeline = resilience.protect("mail", retry=QUICK, timeout_s=7)(Backend(1).ask_later).pipeline  # type: ignore[attr-defined]
    assert (pipeline.retry.config, pipeline.total_s) == (QUICK, 7)


def test_new_settings_hold_for_what_is_protected_already(clock: FakeClock, call: Callable[..., Any]) -> None:
    resilience = Resilience(clock=clock)
    protect = resilience.protect("gmail_api")
    failing = Backend(REFUSED, REFUSED)
    protected = protect(failing.ask)
    resilience.circuits.get_or_create("gmail_api").hold_open(100, "elsewhere")
    resilience.configure(
        Settings(
            services={"gmail_api": Service(retry="none")},
            circuit_breaker=CircuitBreakers(services={"gmail_api": CircuitBreakerConfig(failure_threshold=1)}),
            bulkhead=Bulkheads(default=BulkheadLimits(max_concurrent=1, max_queue=0)),
        )
    )
    assert resilience.circuits.get_or_create("gmail_api").state is CircuitState.OPEN
    resilience.circuits.get_or_create("gmail_api").reset()
    with pytest.raises(ConnectionRefusedError):
        protected()
    assert failing.calls == 1
    assert resilience.circuits.get_or_create("gmail_api").state is CircuitState.OPEN
    resilience.circuits.get_or_create("gmail_api").reset()
    bulkhead = resilience.bulkheads.get("gmail_api")
    assert bulkhead is not None
    with bulkhead, pytest.raises(BulkheadFullError):
        call(protect, Backend(7))


def test_what_is_no_longer_used_is_forgotten(resilience: Resilience) -> None:
    for _ in range(50):
        resilience.protect("gmail_api")(Backend(1).ask)()
    gc.collect()
    assert len(resilience._pipelines) == 0


def test_retries_are_bounded_by_the_services_budget(resilience: Resilience, clock: FakeClock) -> None:
    calls = 0
    for _ in range(300):
        service = Backend(e.ServiceUnavailableError("busy"))
        with pytest.raises((e.ServiceUnavailableError, CircuitBreakerOpenError)):
            resilience.protect("mine", retry=RetryConfig(max_retries=5, base_delay=0, jitter=False))(service.ask)()
        calls += service.calls
        resilience.circuits.get_or_create("mine").reset()
    assert 370 <= calls <= 300 + 20 + 0.2 * 300


# Blocks, and the document's executor


def test_a_block_passes_as_one_try(resilience: Resilience) -> None:
    pipeline = resilience.pipeline("gmail_api")

    def broken() -> None:
        with pipeline.passage():
            raise REFUSED

    async def broken_too() -> None:
        async with pipeline.passage_async():
            raise REFUSED

    with pipeline.passage():
        assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 1
    with pytest.raises(ConnectionRefusedError):
        broken()
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(broken_too())
    metrics = pipeline.breaker.metrics
    assert (metrics.successful_calls, metrics.failed_calls) == (1, 2)
    assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 0


def test_the_documents_executor_runs_functions_and_coroutine_functions(resilience: Resilience, clock: FakeClock) -> None:
    executor = ResilientAgentExecutor(resilience)
    context = {"component": "gmail_api", "retry_strategy": "network", "fallback": lambda *_: "canned"}

    async def scene() -> list[Any]:
        return [
            await executor.execute_with_resilience(Backend(7).ask, context, 1),
            await executor.execute_with_resilience(Backend(8).ask_later, context, 1),
            await executor.execute_with_resilience(Backend(e.ValidationError("bad")).ask, context, 1),
        ]

    assert asyncio.run(scene()) == [7, 8, "canned"]


def test_an_error_that_takes_no_attributes_comes_out_all_the_same(resilience: Resilience, call: Callable[..., Any]) -> None:
    class Closed(Exception):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("__"):
                raise AttributeError(name)

    with pytest.raises(Closed):
        call(resilience.protect("gmail_api", retry="none"), Backend(Closed()))


def test_threads_and_loops_with_faults_lose_nothing() -> None:
    """Real time, real threads: whatever happens, each call has one outcome, and in the end nothing is held."""
    settings = Settings(
        circuit_breaker=CircuitBreakers(default=CircuitBreakerConfig(failure_threshold=10_000, error_rate_threshold=1.0)),
        bulkhead=Bulkheads(default=BulkheadLimits(max_concurrent=3, max_queue=1000)),
    )
    resilience = Resilience(settings)
    faults = Faults(seed=7)
    faults.fail(ConnectionResetError, rate=0.3)
    protect = resilience.protect("mine", retry=RetryConfig(max_retries=2), timeout_s=60, fallback=lambda _: "fallback")
    outcomes: list[str] = []

    def answer(n: int) -> str:
        return f"answer {n % 1}"

    async def answer_later(n: int) -> str:
        await asyncio.sleep(0)
        return answer(n)

    plainly, later = protect(faults(answer)), protect(faults(answer_later))

    def sync() -> None:
        outcomes.extend(plainly(n) for n in range(200))

    async def many() -> None:
        for _ in range(10):
            outcomes.extend(await asyncio.gather(*(later(n) for n in range(20))))

    with immediate_retries():
        threads = [threading.Thread(target=sync if n % 2 else lambda: asyncio.run(many())) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 6 * 200
    assert set(outcomes) == {"answer 0", "fallback"}
    metrics = resilience.circuits.get_or_create("mine").metrics
    assert (metrics.total_calls, metrics.failed_calls) == (faults.calls, faults.injected)
    held = resilience.bulkheads.get_all_metrics()["mine"]
    assert (held["running"], held["current_queue"], held["accepted_requests"]) == (0, 0, faults.calls)


class Healer(Reports):
    """Somebody who heals: each report is answered by a heal with the next of these outcomes."""

    def __init__(self, clock: FakeClock, *outcomes: str) -> None:
        super().__init__(lambda: self.resilience_of)
        self.outcomes, self.heals = list(outcomes), EndedHeals(lambda: True, clock)
        self.resilience_of = Resilience(clock=clock, report=self, heals=self.heals)

    def __call__(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        if self.outcomes:
            about = dict.fromkeys(("component", "root_cause", "target"), service)
            self.heals.take([{"id": len(self) + 1, **about, "outcome": self.outcomes.pop(0)}])
        return super().__call__(error, service, operation, retries)


def test_a_call_that_waits_for_healing_is_tried_once_more_and_never_twice(clock: FakeClock, call: Callable[..., Any]) -> None:
    """In the document's sample healing and calling went round in a circle until the stack was full."""
    healer, healed, ill = Healer(clock, "healed", "healed"), Backend(REFUSED, 7), Backend(REFUSED)
    protect = healer.resilience_of.protect("gmail_api", retry="none", wait_for_healing_s=60)
    assert call(protect, healed) == 7
    assert (healed.calls, len(healer)) == (2, 1)
    with pytest.raises(ConnectionRefusedError):
        call(protect, ill)
    assert (ill.calls, len(healer)) == (2, 3)


@pytest.mark.parametrize(("outcome", "waits"), [("escalated", 60), ("healed", None)])
def test_without_a_heal_or_a_wish_for_one_the_fallback_is_asked_at_once(
    clock: FakeClock, call: Callable[..., Any], outcome: str, waits: float | None
) -> None:
    healer, backend = Healer(clock, outcome), Backend(REFUSED)
    protect = healer.resilience_of.protect("gmail_api", retry="none", wait_for_healing_s=waits, fallback=lambda: "instead")
    assert call(protect, backend) == "instead"
    assert backend.calls == 1


def test_a_call_that_is_not_allowed_waits_for_no_heal(clock: FakeClock, call: Callable[..., Any]) -> None:
    heals = EndedHeals(lambda: pytest.fail("asked for a heal"), clock)

    def closed(_: str) -> None:
        raise FeatureDisabledError("gmail_api", "enable_gmail", "MINIMAL", "it burns")

    resilience = Resilience(clock=clock, heals=heals, gate=lambda *_: closed)
    with pytest.raises(FeatureDisabledError):
        call(resilience.protect("gmail_api", wait_for_healing_s=60), Backend(7))


def test_a_call_refused_by_the_open_circuit_waits_for_the_heal_too(clock: FakeClock, call: Callable[..., Any]) -> None:
    heals = EndedHeals(lambda: True, clock)
    resilience = Resilience(clock=clock, heals=heals)
    circuit = resilience.circuits.get_or_create("gmail_api")
    circuit.hold_open(60, "it is ill")
    protect = resilience.protect("gmail_api", retry="none", wait_for_healing_s=60)
    begin = heals.begin

    def healed_meanwhile(service: str) -> Any:
        wait = begin(service)
        circuit.reset("it is well")
        heals.take([{"id": 1, "component": service, "root_cause": service, "target": service, "outcome": "healed"}])
        return wait

    heals.begin = healed_meanwhile  # type: ignore[method-assign]
    assert call(protect, Backend(7)) == 7


def test_a_stream_that_had_not_begun_waits_for_healing_too(clock: FakeClock) -> None:
    healer, tries = Healer(clock, "healed", "healed"), []

    async def read(fails: int) -> list[int]:
        tries.clear()

        @healer.resilience_of.protect("gpt-5.2", retry="none", wait_for_healing_s=60)
        async def numbers() -> AsyncIterator[int]:
            tries.append(1)
            if len(tries) <= fails:
                raise REFUSED
            yield 1

        return [one async for one in numbers()]

    assert asyncio.run(finish(clock, read(1))) == [1]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(finish(clock, read(5)))
    assert len(tries) == 2
