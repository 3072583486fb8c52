"""Circuits that people, programs and other agents open, close, isolate and release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitState
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, HALF_OPEN, OPEN, half_open, happen


def test_an_isolated_circuit_opens_only_by_hand_and_then_probes(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.isolate("tests")
    clock.advance(1_000_000)
    assert happen(breaker, clock, "x") == ["ISOLATED"]
    breaker.release()
    assert happen(breaker, clock, "+ +") == ["HALF_OPEN", "CLOSED"]
    breaker.release()
    assert breaker.state is CLOSED


def test_an_open_circuit_that_is_released_probes_at_once_and_is_no_better_than_before(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Somebody knows that the service is back; whoever was wrong has won nothing, for it opens again as the next time."""
    assert happen(breaker, clock, "- - -")[-1] == "OPEN"
    breaker.release("its probe is well")
    assert breaker.state is HALF_OPEN
    assert happen(breaker, clock, "-") == ["OPEN"]
    breaker.release()
    assert happen(breaker, clock, "+ +") == ["HALF_OPEN", "CLOSED"]


def test_a_programs_own_isolation_is_not_ended_by_what_is_told(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Neither another agent's open circuit nor a release told by WinClaw; before, calls were made against the program's will."""
    breaker.isolate("the program's own decision")
    breaker.hold_open(5, "another agent saw 3 calls in a row fail")
    assert happen(breaker, clock, "x 6 x") == ["ISOLATED"] * 3
    breaker.isolate("a person isolates it, too", told=True)
    breaker.release(told=True)
    breaker.reset(told=True)
    assert happen(breaker, clock, "x") == ["ISOLATED"]
    assert [change.because for change in breaker.metrics.state_changes] == ["the program's own decision"]
    breaker.release()
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (lambda breaker: breaker.release(told=True), HALF_OPEN),
        (lambda breaker: breaker.reset(told=True), CLOSED),
        (lambda breaker: breaker.hold_open(5, "elsewhere"), OPEN),
    ],
    ids=["release", "reset", "hold_open"],
)
def test_what_is_told_ends_an_isolation_that_was_told(breaker: CircuitBreaker, told: Any, state: CircuitState) -> None:
    """A person's command through WinClaw governs what a person has isolated."""
    breaker.isolate("a person", told=True)
    told(breaker)
    assert breaker.state is state


def test_a_program_can_make_a_told_isolation_its_own(breaker: CircuitBreaker) -> None:
    breaker.isolate("a person", told=True)
    breaker.isolate("the program, too")
    breaker.release(told=True)
    assert breaker.state is CircuitState.ISOLATED
    assert len(breaker.metrics.state_changes) == 1


def test_a_closed_circuit_that_is_reset_forgets_its_failures(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- -")
    breaker.reset()
    assert breaker.metrics.window.calls == 0
    assert happen(breaker, clock, "- - -") == ["CLOSED", "CLOSED", "OPEN"]
    assert breaker.metrics.total_calls == 5


class Slower:
    """The breaker's lock, which somebody else was quicker to take: that happens while this caller waits for it."""

    def __init__(self, lock: Any, first: Callable[[], object]) -> None:
        self.lock, self.first = lock, [first]

    def __enter__(self) -> None:
        while self.first:
            self.first.pop()()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


@pytest.mark.parametrize("way_in", ["isolate", "fail"])
def test_a_release_does_not_open_again_what_another_thread_has_closed(breaker: CircuitBreaker, clock: FakeClock, way_in: str) -> None:
    """Whether there is something to release is decided under the lock."""
    if way_in == "isolate":
        breaker.isolate()
    else:
        happen(breaker, clock, "- - -")
    breaker._lock = Slower(breaker._lock, breaker.reset)  # type: ignore[assignment]
    breaker.release()
    assert breaker.state is CLOSED


def test_a_release_finds_the_circuit_as_the_clock_has_it(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """A hanging probe was overdue, and nobody had looked: the release did nothing, and then the circuit opened again."""
    half_open(breaker, clock)
    breaker.admit()
    clock.advance(65)
    breaker.release()
    assert breaker.state is HALF_OPEN
    assert happen(breaker, clock, "+ +")[-1] == "CLOSED"


def test_following_another_circuit_does_not_forget_how_often_it_has_opened(clock: FakeClock) -> None:
    policy = CircuitBreakerConfig(failure_threshold=1, timeout_seconds=10, timeout_growth=2, success_threshold=1)
    breaker = CircuitBreaker("x", policy, clock=clock)
    assert happen(breaker, clock, "- 10 -")[-1] == "OPEN"
    breaker.hold_open(5, "elsewhere")
    assert happen(breaker, clock, "x 5 -") == ["OPEN", "HALF_OPEN", "OPEN"]
    assert breaker.get_status()["retry_after_s"] == 40
    clock.advance(40)
    breaker.hold_open(5, "elsewhere, while it is probed here")
    assert happen(breaker, clock, "5 -") == ["HALF_OPEN", "OPEN"]
    assert breaker.get_status()["retry_after_s"] == 80


def test_a_disabled_circuit_lets_everything_through(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(mode="disabled", failure_threshold=1), clock=clock)
    assert set(happen(breaker, clock, "- - - -")) == {"DISABLED"}
    breaker.isolate()
    assert happen(breaker, clock, "+") == ["DISABLED"]
    assert breaker.metrics.failed_calls == 4


def test_an_observing_circuit_says_what_it_would_do_and_refuses_nothing(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(mode="observe", failure_threshold=2, timeout_seconds=10), clock=clock)
    assert happen(breaker, clock, "- - + - 10") == ["CLOSED", "OPEN", "OPEN", "OPEN", "HALF_OPEN"]
    assert breaker.metrics.rejected_calls == 2
    assert breaker.metrics.total_calls == 4


def test_it_follows_another_circuit_and_then_finds_out_itself(breaker: CircuitBreaker, clock: FakeClock) -> None:
    breaker.hold_open(5, "another agent saw 3 calls in a row fail")
    assert happen(breaker, clock, "x 5 + +") == ["OPEN", "HALF_OPEN", "HALF_OPEN", "CLOSED"]
    assert [change.told for change in breaker.metrics.state_changes] == [True, False, False]
