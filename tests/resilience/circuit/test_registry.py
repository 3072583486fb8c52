"""The circuits of all services, by name."""

from __future__ import annotations

import asyncio
import threading

import pytest

from resilience.circuit.breaker import CircuitBreakerConfig
from resilience.circuit.registry import CircuitBreakerRegistry
from resilience.policies import CIRCUIT_CONFIGS
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, SMALL, happen


def test_a_registry_knows_the_documents_services(clock: FakeClock) -> None:
    registry = CircuitBreakerRegistry(CIRCUIT_CONFIGS, clock=clock)
    assert registry.get("gpt-5.2") is None
    breaker = registry.get_or_create("gpt-5.2")
    assert breaker is registry.get_or_create("gpt-5.2") is registry.get("gpt-5.2")
    assert (breaker.config.failure_threshold, breaker.config.timeout_seconds) == (3, 10.0)
    assert registry.get_or_create("mine").config == CircuitBreakerConfig()
    assert set(registry.get_all_status()) == {"gpt-5.2", "mine"}


def test_another_policy_for_a_known_name_is_not_ignored(clock: FakeClock) -> None:
    """In the document's sample: the second was dropped in silence."""
    registry = CircuitBreakerRegistry(clock=clock)
    registry.get_or_create("x", SMALL)
    registry.get_or_create("x", SMALL)
    with pytest.raises(ValueError, match="exists with another policy"):
        registry.get_or_create("x", CircuitBreakerConfig())


def test_a_registry_takes_other_policies_while_it_runs(clock: FakeClock) -> None:
    registry = CircuitBreakerRegistry(clock=clock)
    breaker = registry.get_or_create("x")
    happen(breaker, clock, "- -")
    registry.configure({"x": SMALL}, CircuitBreakerConfig(failure_threshold=7))
    assert happen(breaker, clock, "-") == ["OPEN"]
    assert registry.get_or_create("new").config.failure_threshold == 7
    registry.reset_all()
    assert breaker.state is CLOSED


def test_what_the_document_awaits_may_be_awaited_and_need_not_be(clock: FakeClock) -> None:
    """Resetting all could not be awaited, and resetting one did nothing when it was not."""
    registry = CircuitBreakerRegistry(default=SMALL, clock=clock)
    breaker = registry.get_or_create("x")

    async def scene() -> None:
        happen(breaker, clock, "- - -")
        await registry.reset_all()
        assert breaker.state is CLOSED
        happen(breaker, clock, "- - -")
        await breaker.manual_reset()

    asyncio.run(scene())
    assert breaker.state is CLOSED
    happen(breaker, clock, "- - -")
    breaker.manual_reset()
    assert breaker.state is CLOSED


def test_what_the_document_awaits_may_be_made_a_task_of(clock: FakeClock) -> None:
    breaker = CircuitBreakerRegistry(default=SMALL, clock=clock).get_or_create("x")

    async def scene() -> None:
        await asyncio.create_task(breaker.manual_reset())

    asyncio.run(scene())
    asyncio.run(breaker.manual_reset())
    breaker.manual_reset().close()
    with pytest.raises(KeyError):
        breaker.manual_reset().throw(KeyError("cancelled"))


def test_threads_get_one_circuit_for_one_name() -> None:
    registry, found = CircuitBreakerRegistry(), []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(registry.get_or_create("x"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
