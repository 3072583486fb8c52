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
    circuits, shared = CircuitBreakerRegistry(clock=clock), SharedCircuits("me", lambda: None)
    breaker = circuits.get_or_create("pay")
    shared.join(breaker)
    breaker.isolate("the program's own decision")
    shared.follow([told(circuit, agent=agent, retry_after_s=5.0)], circuits)
    clock.advance(6)
    with pytest.raises(CircuitBreakerOpenError, match="is ISOLATED: the program's own decision"):
        breaker.call(lambda: None)


def test_an_isolation_by_a_person_ends_as_the_person_says() -> None:
    circuits, shared = CircuitBreakerRegistry(clock=FakeClock()), SharedCircuits("me", lambda: None)
    breaker = circuits.get_or_create("pay")
    for version, (circuit, state) in enumerate(
        [("ISOLATED", ISOLATED), ("HALF_OPEN", CircuitState.HALF_OPEN), ("ISOLATED", ISOLATED), ("CLOSED", CircuitState.CLOSED)], 1
    ):  # fmt: skip
        shared.follow([told(circuit, version=version, agent="")], circuits)
        assert breaker.state is state
