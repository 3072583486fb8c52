"""What an agent's circuits follow, and what they do not (§3)."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.agent.circuits import SharedCircuits
from resilience.circuit.breaker import CircuitBreakerOpenError, CircuitState
from resilience.circuit.registry import CircuitBreakerRegistry
from resilience.testing import FakeClock

ISOLATED = CircuitState.ISOLATED


def told(circuit: str, *, version: int = 1, agent: str = "other", retry_after_s: float | None = None) -> dict[str, Any]:
    """What the API says of the machine's circuit to the service ``pay``."""
    return {
        "name": "pay", "version": version, "agent": agent, "pid": 7, "circuit": circuit, "because": "3 in a row",
        "retry_after_s": retry_after_s,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("circuit", "agent"),
    [("OPEN", "other"), ("CLOSED", "other"), ("HALF_OPEN", "other"), ("HALF_OPEN", ""), ("CLOSED", ""), ("ISOLATED", "")],
)
def test_a_programs_own_isolation_outlasts_whatever_the_machine_says(circuit: str, agent: str) -> None:
    """Another agent's circuit that opened led to calls five seconds later; one that closed, at once."""
    clock = FakeClock()
    shared = SharedCircuits("me", lambda: None)
    breaker = CircuitBreakerRegistry(clock=clock, on_create=shared.join).get_or_create("pay")
    breaker.isolate("the program's own decision")
    shared.follow([told(circuit, agent=agent, retry_after_s=5.0)])
    clock.advance(6)
    with pytest.raises(CircuitBreakerOpenError, match="is ISOLATED: the program's own decision"):
        breaker.call(lambda: None)


def test_of_more_circuits_than_can_be_told_those_that_matter_are() -> None:
    """The 201st was never told, even when it was isolated; nor that it had closed again."""
    shared = SharedCircuits("me", lambda: None)
    circuits = CircuitBreakerRegistry(clock=FakeClock(), on_create=shared.join)
    breakers = [circuits.get_or_create(f"s{number}") for number in range(203)]
    assert len(shared.reports()) == 200
    breakers[202].isolate()
    assert shared.reports()[0]["state"] == "ISOLATED"
    for breaker in (breakers[200], breakers[202], breakers[201]):
        breaker.isolate()
        breaker.reset()
    told = shared.reports()
    assert [(one["service"], one["state"]) for one in told[:3]] == [("s201", "CLOSED"), ("s202", "CLOSED"), ("s200", "CLOSED")]
    assert len(told) == 200


def test_an_isolation_by_a_person_ends_as_the_person_says() -> None:
    shared = SharedCircuits("me", lambda: None)
    breaker = CircuitBreakerRegistry(clock=FakeClock(), on_create=shared.join).get_or_create("pay")
    for version, (circuit, state) in enumerate(
        [("ISOLATED", ISOLATED), ("HALF_OPEN", CircuitState.HALF_OPEN), ("ISOLATED", ISOLATED), ("CLOSED", CircuitState.CLOSED)], 1
    ):  # fmt: skip
        shared.follow([told(circuit, version=version, agent="")])
        assert breaker.state is state
