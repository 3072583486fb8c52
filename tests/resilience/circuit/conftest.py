"""A small circuit on a fake clock, and traces of what happens to it."""

from __future__ import annotations

import pytest

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerOpenError, CircuitState
from resilience.testing import FakeClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
SMALL = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout_seconds=10, half_open_max_calls=2)


class Gone(Exception):
    """The service does not answer."""


def fail(error: BaseException | None = None) -> None:
    raise error or Gone


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker("gpt-5.2", SMALL, clock=clock)


def happen(breaker: CircuitBreaker, clock: FakeClock, what: str) -> list[str]:
    """Plays a trace: ``+`` a success, ``-`` a failure, ``x`` a refusal that must come, digits: seconds that pass."""
    seen = []
    for word in what.split():
        if word.isdigit():
            clock.advance(int(word))
        elif word == "x":
            with pytest.raises(CircuitBreakerOpenError):
                breaker.call(lambda: None)
        elif word == "-":
            with pytest.raises(Gone):
                breaker.call(fail)
        else:
            assert breaker.call(lambda: 7) == 7
        seen.append(breaker.state.name)
    return seen


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - - 10")
