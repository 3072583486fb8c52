"""The whole way of a call through a service's policies (§10.1)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from resilience import ErrorClassifier
from resilience import errors as e
from resilience.circuit.breaker import CircuitBreakerConfig, CircuitBreakerOpenError
from resilience.config.settings import Bulkheads, CircuitBreakers, Settings
from resilience.degradation.gate import FeatureDisabledError
from resilience.executor import Resilience
from resilience.policies import BulkheadLimits
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock, Faults, immediate_retries
from tests.resilience.calls import QUICK, REFUSED, Backend, Reports, finish, slow


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


def test_a_fallback_whose_error_cannot_speak_is_named_all_the_same(resilience: Resilience, call: Callable[..., Any]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def broken() -> str:
        raise Mute

    with pytest.raises(ConnectionRefusedError) as failure:
        call(resilience.protect("gpt-5.2", retry="none", fallback=broken), Backend(ConnectionRefusedError(111, "refused")))
    assert "broken failed, too: Mute: (a Mute whose words cannot be read: RuntimeError)" in failure.value.__notes__[-1]


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
    outcomes: list[tuple[int, str]] = []

    def answer(n: int) -> str:
        return f"answer {n}"

    async def answer_later(n: int) -> str:
        await asyncio.sleep(0)
        return answer(n)

    plainly, later = protect(faults(answer)), protect(faults(answer_later))

    def sync() -> None:
        outcomes.extend((n, plainly(n)) for n in range(200))

    async def many() -> None:
        for _ in range(10):
            outcomes.extend(enumerate(await asyncio.gather(*(later(n) for n in range(20)))))

    with immediate_retries():
        threads = [threading.Thread(target=sync if n % 2 else lambda: asyncio.run(many())) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 6 * 200
    assert {answer for n, answer in outcomes if answer != f"answer {n}"} == {"fallback"}
    metrics = resilience.circuits.get_or_create("mine").metrics
    assert (metrics.total_calls, metrics.failed_calls) == (faults.calls, faults.injected)
    held = resilience.bulkheads.get_all_metrics()["mine"]
    assert (held["running"], held["current_queue"], held["accepted_requests"]) == (0, 0, faults.calls)


# Time


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
