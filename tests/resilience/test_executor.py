"""What is protected how: by what the code says, by the settings, as a block, and as the document's executor."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from resilience import errors as e
from resilience.agent_executor import ResilientAgentExecutor
from resilience.bulkhead import BulkheadFullError
from resilience.circuit.breaker import CircuitBreakerConfig, CircuitBreakerOpenError, CircuitState
from resilience.config.settings import Bulkheads, CircuitBreakers, Retry, Service, Settings
from resilience.degradation.gate import FeatureDisabledError
from resilience.executor import Resilience
from resilience.pipeline import Passage
from resilience.policies import BulkheadLimits, RetryStrategy
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock
from tests.resilience.calls import QUICK, REFUSED, Backend


def test_an_unknown_strategy_is_an_error_at_once(resilience: Resilience) -> None:
    """In the document's sample it retried everything."""
    with pytest.raises(ValueError, match="no retry strategy 'aggresive'"):
        resilience.protect("gpt-5.2", retry="aggresive")


@pytest.mark.parametrize("name", ["timeout_s", "attempt_timeout_s", "hedge_after_s", "wait_for_healing_s"])
def test_a_time_that_is_none_is_refused(resilience: Resilience, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 is not possible"):
        resilience.protect("gpt-5.2", **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1.0])
@pytest.mark.parametrize("name", ["timeout_s", "attempt_timeout_s", "hedge_after_s", "wait_for_healing_s"])
def test_a_time_that_never_ends_is_refused(resilience: Resilience, name: str, seconds: float) -> None:
    """No clock can wait for it; who wants no limit gives none."""
    with pytest.raises(ValueError, match=f"{name}={seconds} is not possible: finite seconds above 0, or None for no limit"):
        resilience.protect("gpt-5.2", **{name: seconds})  # type: ignore[arg-type]


def test_a_strategy_that_cannot_work_is_refused(resilience: Resilience) -> None:
    with pytest.raises(ValueError, match="max_retries"):
        resilience.protect("gpt-5.2", retry=RetryConfig(max_retries=-1))


def test_what_is_forbidden_while_a_function_is_protected_holds_for_it(clock: FakeClock) -> None:
    """Safe Mode comes on in another thread between the question what is allowed and the answer."""
    state: dict[str, Any] = {"gate": None, "safe mode comes": True}

    def refuse(_: str) -> None:
        raise REFUSED

    def gate(_service: str, _read_only: bool) -> Any:
        now = state["gate"]
        if state.pop("safe mode comes", False):
            state["gate"] = refuse
            resilience.look_again()
        return now

    resilience = Resilience(clock=clock, gate=gate)
    made = resilience.pipeline("gpt-5.2")
    assert made.gate is refuse


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
    assert (pipeline.retry.config.max_retries, pipeline.timeout_s, pipeline.attempt_timeout_s) == (1, 50, 5)
    assert pipeline.breaker.config.failure_threshold == 9
    assert pipeline.bulkhead.limits.max_concurrent == 2
    pipeline = resilience.protect("mail", retry=QUICK, timeout_s=7)(Backend(1).ask_later).pipeline  # type: ignore[attr-defined]
    assert (pipeline.retry.config, pipeline.timeout_s) == (QUICK, 7)


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
        with Passage(pipeline):
            raise REFUSED

    async def broken_too() -> None:
        async with Passage(pipeline):
            raise REFUSED

    with Passage(pipeline):
        assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 1
    with pytest.raises(ConnectionRefusedError):
        broken()
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(broken_too())
    metrics = pipeline.breaker.metrics
    assert (metrics.successful_calls, metrics.failed_calls) == (1, 2)
    assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 0


def test_what_fails_in_a_block_is_reported_and_comes_out_even_where_the_report_fails(clock: FakeClock) -> None:
    reported = []

    def report(error: Exception, service: str, operation: str, retries: int) -> Any:
        reported.append((service, operation, retries))
        if len(reported) > 1:
            raise LookupError("the report itself")
        return "what is known"

    pipeline = Resilience(clock=clock, report=report).pipeline("gmail_api")
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError), Passage(pipeline, "send"):
            raise ConnectionRefusedError(111, "refused")
    with pytest.raises(FeatureDisabledError), Passage(pipeline, "send"):
        raise FeatureDisabledError("another", "use_it", "SAFE_MODE", "tests")
    assert reported == [("gmail_api", "send", 0)] * 2


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


def test_the_documents_executor_awaits_what_a_plain_function_gives(resilience: Resilience) -> None:
    """A lambda around a coroutine function: its failure is the operation's."""
    executor = ResilientAgentExecutor(resilience)
    backend = Backend(ConnectionResetError(), 8)
    context = {"component": "gmail_api", "retry_strategy": "none"}

    async def scene() -> Any:
        with pytest.raises(ConnectionResetError):
            await executor.execute_with_resilience(lambda: backend.ask_later(1), context)
        return await executor.execute_with_resilience(lambda: backend.ask_later(1), context)

    assert asyncio.run(scene()) == 8
    metrics = resilience.circuits.get_or_create("gmail_api").metrics
    assert (metrics.failed_calls, metrics.successful_calls) == (1, 1)
