"""The circuit breaker, by its rules (§3)."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerOpenError, CircuitState
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, HALF_OPEN, OPEN, SMALL, Gone, half_open, happen


@pytest.mark.parametrize(
    ("trace", "ends"),
    [
        ("- -", CLOSED),
        ("- - -", OPEN),
        ("- - + - -", CLOSED),
        ("- - + - - -", OPEN),
        ("- - - x x", OPEN),
        ("- - - 9 x", OPEN),
        ("- - - 10", HALF_OPEN),
        ("- - - 10 +", HALF_OPEN),
        ("- - - 10 + +", CLOSED),
        ("- - - 10 -", OPEN),
        ("- - - 10 + - x", OPEN),
        ("- - - 10 - 9 x", OPEN),
        ("- - - 10 - 10 + +", CLOSED),
        ("- - - 10 + + - -", CLOSED),
        ("- - - 10 + + - - -", OPEN),
    ],
)
def test_the_state_machine(breaker: CircuitBreaker, clock: FakeClock, trace: str, ends: CircuitState) -> None:
    happen(breaker, clock, trace)
    assert breaker.state is ends


# The document's defects


def test_half_open_is_not_closed_by_the_clock(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it closed after 60 s with its probe still hanging."""
    half_open(breaker, clock)
    clock.advance(1_000_000)
    assert breaker.state is HALF_OPEN


def test_a_probe_that_hangs_opens_the_circuit_again_and_gives_its_slot_back(
    breaker: CircuitBreaker, clock: FakeClock
) -> None:
    """In the document's sample it never came back, and kept its slot."""
    half_open(breaker, clock)
    hanging = [breaker.admit(), breaker.admit()]
    happen(breaker, clock, "x")
    clock.advance(60)
    assert breaker.state is OPEN
    clock.advance(10)
    assert happen(breaker, clock, "+ +")[-1] == "CLOSED"
    for permit in hanging:
        breaker.failed(permit, Gone())
    assert breaker.state is CLOSED


@pytest.mark.parametrize(
    ("patience", "then", "because"),
    [
        (5, 5, "a probe did not answer within 5 s"),
        (600, 60, "a probe did not answer within 60 s"),
        (60, 60, "a probe did not answer within 60 s"),
    ],
)
def test_the_probe_that_is_due_first_opens_the_circuit_again(
    breaker: CircuitBreaker, clock: FakeClock, patience: float, then: float, because: str
) -> None:
    """Also where the policy has changed between them; only the oldest was looked at."""
    half_open(breaker, clock)
    hanging = [breaker.admit()]
    breaker.configure(replace(SMALL, reset_timeout_seconds=patience))
    hanging.append(breaker.admit())
    clock.advance(then - 1)
    assert breaker.state is HALF_OPEN
    clock.advance(1)
    assert breaker.state is OPEN
    assert breaker.metrics.state_changes[-1].because == because


def test_more_successes_than_slots_can_close_it(clock: FakeClock) -> None:
    """In the document's sample: three successes with two slots locked it up for ever."""
    policy = CircuitBreakerConfig(failure_threshold=3, success_threshold=3, half_open_max_calls=2, timeout_seconds=10)
    breaker = CircuitBreaker("x", policy, clock=clock)
    half_open(breaker, clock)
    assert happen(breaker, clock, "+ + +") == ["HALF_OPEN", "HALF_OPEN", "CLOSED"]


def test_a_cancelled_probe_gives_its_slot_back_and_does_not_vote(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample it kept its slot."""
    half_open(breaker, clock)

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    async def scene() -> None:
        tasks = [asyncio.create_task(breaker.call(hang)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(CircuitBreakerOpenError):
            breaker.admit()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scene())
    assert breaker.state is HALF_OPEN
    assert happen(breaker, clock, "+ +")[-1] == "CLOSED"


def test_the_window_does_not_survive_closing(clock: FakeClock) -> None:
    """In the document's sample: one failure reopened it."""
    policy = CircuitBreakerConfig(
        failure_threshold=99, error_rate_threshold=0.5, min_calls_for_rate=4, success_threshold=1, timeout_seconds=10
    )
    breaker = CircuitBreaker("x", policy, clock=clock)
    assert happen(breaker, clock, "- - - - 10 + - - -")[-1] == "CLOSED"


def test_failures_that_come_late_do_not_prolong_the_open_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: they did, and announced it again."""
    late = [breaker.admit() for _ in range(5)]
    happen(breaker, clock, "- - - 9")
    for permit in late:
        breaker.failed(permit, Gone())
    clock.advance(1)
    assert breaker.state is HALF_OPEN
    assert [change.new for change in breaker.metrics.state_changes] == [OPEN, HALF_OPEN]


def test_calls_admitted_before_it_opened_are_no_probes(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample they were."""
    early = [breaker.admit() for _ in range(5)]
    half_open(breaker, clock)
    for permit in early:
        permit()
    assert breaker.state is HALF_OPEN
    assert breaker.metrics.successful_calls == 5


def test_a_late_success_breaks_no_run_of_failures(breaker: CircuitBreaker, clock: FakeClock) -> None:
    late = breaker.admit()
    half_open(breaker, clock)
    happen(breaker, clock, "+ + - -")
    late()
    assert happen(breaker, clock, "-") == ["OPEN"]


def test_a_success_ends_a_run_of_failures(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it only took one off, so F F S F F tripped a threshold of three."""
    assert happen(breaker, clock, "- - + - -")[-1] == "CLOSED"


def test_one_failure_is_one_transition(clock: FakeClock) -> None:
    """In the document's sample: when the run and the rate were both reached, it opened twice."""
    policy = CircuitBreakerConfig(failure_threshold=3, min_calls_for_rate=3, error_rate_threshold=0.1)
    breaker = CircuitBreaker("x", policy, clock=clock)
    happen(breaker, clock, "- - -")
    assert len(breaker.metrics.state_changes) == 1


def test_is_open_ends_with_the_open_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it stayed true until somebody called."""
    happen(breaker, clock, "- - -")
    assert (breaker.is_open, breaker.is_closed) == (True, False)
    clock.advance(10)
    assert (breaker.is_open, breaker.is_closed) == (False, False)


def test_it_serves_several_event_loops(breaker: CircuitBreaker) -> None:
    """In the document's sample: its lock belonged to the first."""

    async def answer() -> int:
        return 1

    assert [asyncio.run(breaker.call(answer)) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"failure_threshold": 0}, "failure_threshold=0 is not possible"),
        ({"error_rate_threshold": 1.5}, "error_rate_threshold=1.5"),
        ({"timeout_seconds": -1}, "timeout_seconds=-1"),
        ({"min_calls_for_rate": 11, "window_calls": 10}, "min_calls_for_rate: the window holds 10 calls"),
        ({"timeout_growth": 2, "max_timeout_seconds": 1}, "max_timeout_seconds: the longest, 1, is shorter"),
        ({"mode": "sometimes"}, "mode='sometimes'"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CircuitBreaker("x", CircuitBreakerConfig(**given))


# Probing


def test_waiting_callers_are_not_all_let_in_at_once(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """What four of the peers do when the open time is over."""
    half_open(breaker, clock)
    let_in: list[int] = []

    async def ask(n: int) -> None:
        let_in.append(n)
        await clock.asleep(1)

    async def scene() -> list[Any]:
        tasks = [asyncio.create_task(breaker.call(ask, n)) for n in range(100)]
        await clock.run(1)
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(scene())
    assert let_in == [0, 1]
    assert sum(isinstance(answer, CircuitBreakerOpenError) for answer in answers) == 98
    assert breaker.state is CLOSED


def test_it_can_stay_open_longer_each_time(clock: FakeClock) -> None:
    policy = CircuitBreakerConfig(
        failure_threshold=1, timeout_seconds=10, timeout_growth=2, max_timeout_seconds=35, success_threshold=1
    )
    breaker = CircuitBreaker("x", policy, clock=clock)
    waits = []
    happen(breaker, clock, "-")
    for _ in range(4):
        wait_s = breaker.get_status()["retry_after_s"]
        waits.append(wait_s)
        clock.advance(wait_s)
        happen(breaker, clock, "-")
    assert waits == [10, 20, 35, 35]
    clock.advance(35)
    assert happen(breaker, clock, "+ -") == ["CLOSED", "OPEN"]
    assert breaker.get_status()["retry_after_s"] == 10


def test_a_circuit_that_was_probed_in_vain_for_days_still_refuses_calls(clock: FakeClock) -> None:
    """However often its open time has grown, it is the longest at most; it overflowed, and let every call through."""
    policy = CircuitBreakerConfig(failure_threshold=1, timeout_seconds=30, timeout_growth=10.0, max_timeout_seconds=300)
    breaker = CircuitBreaker("x", policy, clock=clock)
    for _ in range(400):
        happen(breaker, clock, "- x 300")
    assert breaker.metrics.state_changes[-2].retry_after_s == 300


# Why it refused


def test_a_refusal_says_why_as_data(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "+ - - - 4")
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.call(lambda: None)
    refusal = pickle.loads(pickle.dumps(caught.value))
    assert refusal.reason == {
        "gate": "circuit", "name": "gpt-5.2", "state": "OPEN", "because": "3 calls in a row failed", "retry_after_s": 6.0,
        "counts": {"calls": 4, "failures": 3, "slow": 0, "in_a_row": 3},
    }  # fmt: skip
    assert str(refusal) == "the circuit 'gpt-5.2' is OPEN: 3 calls in a row failed; it may be tried again in 6.0 s"
    assert refusal.kind == "refused.circuit_open"


def test_a_refused_call_is_not_made(breaker: CircuitBreaker) -> None:
    breaker.isolate("somebody asked")
    made: list[int] = []
    with pytest.raises(CircuitBreakerOpenError, match="is ISOLATED: somebody asked"):
        breaker.call(made.append, 1)
    assert made == []


def test_each_refusal_is_an_error_of_its_own(breaker: CircuitBreaker) -> None:
    """One that is raised again and again gathers a traceback without end."""
    breaker.isolate()
    raised = []
    for _ in range(3):
        with pytest.raises(CircuitBreakerOpenError) as refusal:
            breaker.call(lambda: None)
        raised.append((refusal.value, len(refusal.traceback)))
    assert len({id(error) for error, _ in raised}) == 3
    assert len({length for _, length in raised}) == 1


# Another policy while it runs


def test_a_new_policy_keeps_the_window(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=5), clock=clock)
    happen(breaker, clock, "+ - -")
    breaker.configure(CircuitBreakerConfig(failure_threshold=3))
    assert breaker.metrics.window.failures == 2
    assert happen(breaker, clock, "-") == ["OPEN"]


def test_a_new_policy_keeps_an_open_circuit_open_for_as_long_as_it_says(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - - 5")
    breaker.configure(CircuitBreakerConfig(timeout_seconds=20))
    clock.advance(14)
    assert breaker.state is OPEN
    clock.advance(1)
    assert breaker.state is HALF_OPEN


def test_a_policy_that_cannot_work_changes_nothing(breaker: CircuitBreaker) -> None:
    with pytest.raises(ValueError, match="failure_threshold"):
        breaker.configure(CircuitBreakerConfig(failure_threshold=-1))
    assert breaker.config == SMALL


def test_it_can_be_disabled_and_enabled_again(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - -")
    breaker.configure(CircuitBreakerConfig(mode="disabled"))
    assert happen(breaker, clock, "+") == ["DISABLED"]
    breaker.configure(SMALL)
    assert breaker.state is CLOSED


def test_a_window_of_time_that_changes_its_length_begins_anew(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(window_seconds=10, failure_threshold=9), clock=clock)
    happen(breaker, clock, "- - +")
    breaker.configure(CircuitBreakerConfig(window_seconds=20))
    assert breaker.metrics.window.calls == 0
    assert (breaker.metrics.total_calls, breaker.metrics.failed_calls) == (3, 2)
