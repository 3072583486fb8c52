"""A circuit beside a plain model, through anything that can happen to it, in any order."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerOpenError, Permit
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import SMALL, Gone


class BreakerMachine(RuleBasedStateMachine):
    """A breaker beside a plain model of the rules; whatever happens, in whatever order, they agree."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = CircuitBreaker("x", SMALL, clock=self.clock)
        self.state, self.epoch, self.is_own = "CLOSED", 0, False
        self.run, self.until, self.successes = 0, 0.0, 0
        self.outcomes: list[bool] = []
        self.permits: list[tuple[Permit, int, float]] = []
        self.made = self.bad = 0

    def probes(self) -> list[tuple[Permit, int, float]]:
        return [one for one in self.permits if one[1] == self.epoch]

    def go(self, state: str) -> None:
        self.state, self.epoch, self.run, self.successes, self.outcomes = state, self.epoch + 1, 0, 0, []

    def open(self, at: float) -> None:
        self.go("OPEN")
        self.until = at + SMALL.timeout_seconds

    def pass_time(self) -> None:
        now = self.clock.monotonic()
        if self.state == "HALF_OPEN" and self.probes():
            due = min(started for *_, started in self.probes()) + SMALL.reset_timeout_seconds
            if now >= due:
                self.open(due)
        if self.state == "OPEN" and now >= self.until:
            self.go("HALF_OPEN")

    @rule()
    def begin(self) -> None:
        self.pass_time()
        allowed = self.state == "CLOSED" or (self.state == "HALF_OPEN" and len(self.probes()) < SMALL.half_open_max_calls)
        try:
            permit = self.breaker.admit()
        except CircuitBreakerOpenError:
            assert not allowed
        else:
            assert allowed
            self.permits.append((permit, self.epoch, self.clock.monotonic()))

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), how=st.sampled_from(["well", "badly", "cancelled"]))
    def end(self, data: st.DataObject, how: str) -> None:
        one = data.draw(st.sampled_from(self.permits))
        self.permits.remove(one)
        permit, epoch, _ = one
        if how == "well":
            permit()
        else:
            self.breaker.failed(permit, Gone() if how == "badly" else asyncio.CancelledError())
        self.made += how != "cancelled"
        self.bad += how == "badly"
        if epoch != self.epoch or how == "cancelled":
            return
        if self.state == "CLOSED":
            self.run = self.run + 1 if how == "badly" else 0
            self.outcomes.append(how == "badly")
            last = self.outcomes[-SMALL.window_calls :]
            too_many = len(last) >= SMALL.min_calls_for_rate and sum(last) / len(last) >= SMALL.error_rate_threshold
            if self.run == SMALL.failure_threshold or (how == "badly" and too_many):
                self.open(self.clock.monotonic())
        elif how == "badly":
            self.open(self.clock.monotonic())
        else:
            self.successes += 1
            if self.successes == SMALL.success_threshold:
                self.go("CLOSED")

    @rule(seconds=st.sampled_from([0.5, 1.0, 9.0, 10.0, 59.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(told=st.booleans())
    def reset(self, told: bool) -> None:
        self.breaker.reset(told=told)
        if not (told and self.is_own):
            self.is_own = False
            self.go("CLOSED")

    @rule(told=st.booleans())
    def isolate(self, told: bool) -> None:
        self.breaker.isolate(told=told)
        self.is_own = self.is_own or not told
        if self.state != "ISOLATED":
            self.go("ISOLATED")

    @rule(told=st.booleans())
    def release(self, told: bool) -> None:
        self.pass_time()
        self.breaker.release(told=told)
        if self.state in ("ISOLATED", "OPEN") and not (told and self.is_own):
            self.is_own = False
            self.go("HALF_OPEN")

    @rule(seconds=st.sampled_from([1.0, 20.0]))
    def hold_open(self, seconds: float) -> None:
        self.pass_time()
        self.breaker.hold_open(seconds, "elsewhere")
        if not self.is_own:
            self.go("OPEN")
            self.until = self.clock.monotonic() + seconds

    @invariant()
    def nobody_is_let_through_while_it_is_isolated(self) -> None:
        if self.state == "ISOLATED":
            with pytest.raises(CircuitBreakerOpenError, match="is ISOLATED"):
                self.breaker.admit()

    @invariant()
    def what_is_told_is_never_a_step_to_where_it_is(self) -> None:
        changes = self.breaker.metrics.state_changes
        assert all(change.old is not change.new for change in changes)
        assert all(one.new is other.old for one, other in itertools.pairwise(changes))

    @invariant()
    def agrees(self) -> None:
        self.pass_time()
        assert self.breaker.state.name == self.state
        metrics = self.breaker.metrics
        assert (metrics.total_calls, metrics.failed_calls) == (self.made, self.bad)


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60)
TestBreaker = BreakerMachine.TestCase
