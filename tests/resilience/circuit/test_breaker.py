"""The circuit breaker, by its rules (§3)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from resilience import errors as e
from resilience.circuit.breaker import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    Permit,
)
from resilience.circuit.registry import CircuitBreakerRegistry
from resilience.policies import CIRCUIT_CONFIGS
from resilience.testing import FakeClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
SMALL = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout_seconds=10, half_open_max_calls=2)


class Gone(Exception):
    """The service does not answer."""


def fail(error: BaseException | None = None) -> None:
    raise error or Gone


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


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


# When it opens


@pytest.mark.parametrize(
    ("config", "trace", "because"),
    [
        ({"failure_threshold": 3}, "- - -", "3 calls in a row failed"),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 4, "error_rate_threshold": 0.5},
            "+ - + -",
            "2 of the last 4 calls failed, and 50% are too many",
        ),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 4, "window_calls": 5, "error_rate_threshold": 0.6},
            "- + + + - + - -",
            "3 of the last 5 calls failed, and 60% are too many",
        ),
        (
            {"failure_threshold": 99, "min_calls_for_rate": 3, "window_seconds": 10, "error_rate_threshold": 0.6},
            "- - 20 + - -",
            "2 of the last 3 calls failed, and 60% are too many",
        ),
    ],
)
def test_it_opens_when_its_window_says_so_and_says_why(
    clock: FakeClock, config: dict[str, Any], trace: str, because: str
) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(**config), clock=clock)
    *before, last = happen(breaker, clock, trace)
    assert (set(before), last) == ({"CLOSED"}, "OPEN")
    with pytest.raises(CircuitBreakerOpenError) as refusal:
        breaker.call(lambda: None)
    assert refusal.value.because == because


def test_it_opens_when_too_many_calls_are_slow(clock: FakeClock) -> None:
    policy = CircuitBreakerConfig(slow_call_seconds=1, slow_call_rate_threshold=0.5, min_calls_for_rate=4)
    breaker = CircuitBreaker("x", policy, clock=clock)
    for seconds in (0.5, 1.0, 3, 2):
        assert breaker.state is CLOSED
        breaker.call(clock.advance, seconds)
    assert breaker.state is OPEN
    assert breaker.metrics.slow_calls == 2
    assert breaker.metrics.state_changes[0].because == "2 of the last 4 calls took longer than 1 s, and 50% are too many"


def test_a_slow_probe_is_no_success(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1, timeout_seconds=5), clock=clock)
    breaker.hold_open(5, "elsewhere")
    clock.advance(5)
    breaker.call(clock.advance, 2)
    assert breaker.state is OPEN


@pytest.mark.parametrize(
    ("seconds", "fails", "because", "failed", "slow"),
    [
        (1.0, False, "its time is up", 0, 0),
        (2.0, False, "a probe took longer than 1 s", 0, 1),
        (2.0, True, "a probe failed", 1, 1),
        (0.5, True, "a probe failed", 1, 0),
    ],
)
def test_a_probe_is_counted_as_what_it_was(
    clock: FakeClock, seconds: float, fails: bool, because: str, failed: int, slow: int
) -> None:
    """One that went well, but slowly, was said to have failed."""

    def probe() -> None:
        clock.advance(seconds)
        if fails:
            raise Gone

    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1, timeout_seconds=5), clock=clock)
    breaker.hold_open(5, "elsewhere")
    clock.advance(5)
    with contextlib.suppress(Gone):
        breaker.call(probe)
    metrics = breaker.metrics
    assert metrics.state_changes[-1].because == because
    assert (metrics.total_calls, metrics.failed_calls, metrics.slow_calls) == (1, failed, slow)
    assert metrics.successful_calls == 1 - failed
    assert (metrics.last_failure_time is not None) == fails


def test_a_slow_call_that_ends_late_is_counted_as_slow(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(slow_call_seconds=1), clock=clock)
    late = breaker.admit()
    breaker.isolate()
    clock.advance(2)
    late()
    assert (breaker.metrics.total_calls, breaker.metrics.slow_calls) == (1, 1)


def test_a_result_can_be_a_failure(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer is None)
    for _ in range(3):
        breaker.call(lambda: None)
    assert breaker.state is OPEN

    asynchronous = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer is None)

    async def nothing() -> None:
        """Gives None."""

    for _ in range(3):
        asyncio.run(asynchronous.call(nothing))
    assert asynchronous.state is OPEN


def test_a_question_about_results_that_is_faulty_fails_no_call(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure_result=lambda answer: answer["missing"])
    for _ in range(3):
        assert breaker.call(dict) == {}
    assert (breaker.state, breaker.metrics.successful_calls) == (CLOSED, 3)


@pytest.mark.parametrize(
    "mistake",
    [
        e.ValidationError("bad"), e.InvalidCredentialsError("no"), e.PermissionDeniedError("no"), e.NotFoundError("gone"),
        e.LLMContextWindowError("too long"), json.JSONDecodeError("no", "{", 1), FileNotFoundError(2, "no"),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_a_callers_mistake_does_not_open_a_circuit(breaker: CircuitBreaker, mistake: Exception) -> None:
    """In the document's sample: every exception tripped it."""
    for _ in range(20):
        with pytest.raises(type(mistake)):
            breaker.call(fail, mistake)
    assert breaker.state is CLOSED
    assert breaker.metrics.total_calls == 0


def test_what_counts_can_be_chosen(clock: FakeClock) -> None:
    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure=lambda error: isinstance(error, KeyError))
    for error in (Gone(), Gone(), Gone(), KeyError(), KeyError()):
        with pytest.raises(type(error)):
            breaker.call(fail, error)
    assert breaker.state is CLOSED
    with pytest.raises(KeyError):
        breaker.call(fail, KeyError())
    assert breaker.state is OPEN


def test_a_predicate_that_fails_counts_the_call_as_failed(clock: FakeClock) -> None:
    def unsure(_: Exception) -> bool:
        raise RuntimeError

    breaker = CircuitBreaker("x", SMALL, clock=clock, is_failure=unsure)
    assert happen(breaker, clock, "- - -")[-1] == "OPEN"


@pytest.mark.parametrize("way_out", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_is_neither_success_nor_failure(
    breaker: CircuitBreaker, clock: FakeClock, way_out: type[BaseException]
) -> None:
    happen(breaker, clock, "- -")
    for _ in range(9):
        with pytest.raises(way_out):
            breaker.call(fail, way_out())
    assert breaker.metrics.window.in_a_row == 2
    assert happen(breaker, clock, "-") == ["OPEN"]


# The document's defects


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - - 10")


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


def test_listeners_cannot_break_or_deadlock_a_call(clock: FakeClock) -> None:
    """In the document's sample: one that raised failed a good call, one that reset the circuit hung for ever."""
    seen: list[tuple[str, str, str]] = []

    def listen(name: str, old: CircuitState, new: CircuitState) -> None:
        seen.append((name, old.name, new.name))
        if new is OPEN:
            breaker.reset()
        raise RuntimeError("a listener's own fault")

    def rejected(name: str) -> None:
        breaker.reset()
        raise RuntimeError(name)

    breaker = CircuitBreaker("x", SMALL, on_state_change=listen, on_reject=rejected, clock=clock)
    happen(breaker, clock, "- - -")
    assert seen == [("x", "CLOSED", "OPEN"), ("x", "OPEN", "CLOSED")]
    breaker.isolate()
    happen(breaker, clock, "x +")


def test_listeners_hear_changes_in_their_order_and_a_slow_one_holds_up_no_other_thread(clock: FakeClock) -> None:
    """Two threads told at the same time: a circuit that was closed again was last heard of as open."""
    heard: list[CircuitState] = []
    slow, go_on = threading.Event(), threading.Event()

    def listen(name: str, old: CircuitState, new: CircuitState) -> None:
        if new is OPEN:
            slow.set()
            assert go_on.wait(10)
        heard.append(new)
        raise RuntimeError("a listener's own fault")

    breaker = CircuitBreaker("x", SMALL, on_state_change=listen, clock=clock)
    opens = threading.Thread(target=happen, args=[breaker, clock, "- - -"])
    opens.start()
    assert slow.wait(10)
    breaker.reset()
    happen(breaker, clock, "+")
    assert heard == []
    go_on.set()
    opens.join()
    assert heard == [OPEN, CLOSED]


def test_a_listener_that_leaves_the_program_loses_no_change(clock: FakeClock) -> None:
    heard = []

    def listen(name: str, old: CircuitState, new: CircuitState) -> None:
        heard.append(new)
        if new is CircuitState.ISOLATED:
            breaker.reset()
            raise KeyboardInterrupt

    breaker = CircuitBreaker("x", SMALL, on_state_change=listen, clock=clock)
    with pytest.raises(KeyboardInterrupt):
        breaker.isolate()
    assert breaker.state is CLOSED
    assert heard == [CircuitState.ISOLATED, CLOSED]


def test_an_asynchronous_listener_is_a_task_of_its_own(clock: FakeClock) -> None:
    heard = []

    async def listen(name: str, old: CircuitState, new: CircuitState) -> None:
        heard.append(new)
        await asyncio.sleep(0)
        raise RuntimeError(f"{name} {old}")

    async def scene() -> None:
        breaker = CircuitBreaker("x", SMALL, on_state_change=listen, clock=clock)
        happen(breaker, clock, "- - -")
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert heard == [OPEN]
    happen(CircuitBreaker("x", SMALL, on_state_change=listen, clock=clock), clock, "- - -")  # no loop: logged
    assert heard == [OPEN]


def test_is_open_ends_with_the_open_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it stayed true until somebody called."""
    happen(breaker, clock, "- - -")
    assert (breaker.is_open, breaker.is_closed) == (True, False)
    clock.advance(10)
    assert (breaker.is_open, breaker.is_closed) == (False, False)


def test_the_history_is_bounded(breaker: CircuitBreaker) -> None:
    """In the document's sample it grew for ever."""
    for _ in range(500):
        breaker.isolate()
        breaker.reset()
    assert len(breaker.metrics.state_changes) == 100


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


# Chosen by hand


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


def test_nothing_is_announced_where_nothing_changes(clock: FakeClock) -> None:
    heard = []
    breaker = CircuitBreaker("x", SMALL, on_state_change=lambda *change: heard.append(change[1:]), clock=clock)
    breaker.reset()
    for _ in range(2):
        breaker.isolate()
    for _ in range(2):
        breaker.hold_open(5, "elsewhere")  # follows no more than isolate() lets it
    for _ in range(2):
        breaker.release()
    for _ in range(2):
        breaker.hold_open(5, "elsewhere")
    for _ in range(2):
        breaker.reset()
    isolated = CircuitState.ISOLATED
    assert heard == [(CLOSED, isolated), (isolated, HALF_OPEN), (HALF_OPEN, OPEN), (OPEN, CLOSED)]


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


# What it says of itself


def test_metrics_count_every_call_once(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "+ + - - + - - - x x 10 + - 10 + + + +")
    metrics = breaker.metrics
    assert (metrics.total_calls, metrics.successful_calls, metrics.failed_calls, metrics.rejected_calls) == (14, 8, 6, 2)
    assert metrics.availability == 8 / 14
    assert metrics.window.calls == 2
    assert metrics.last_failure_time is not None
    assert metrics.last_success_time == clock.now()


def test_the_error_rate_is_that_of_the_window(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """In the document's sample: it was for life."""
    happen(breaker, clock, "- - + +")
    assert breaker.metrics.error_rate == 0.5
    happen(breaker, clock, " ".join("+" * 100))
    assert breaker.metrics.error_rate == 0.0


def test_latencies_have_percentiles(breaker: CircuitBreaker, clock: FakeClock) -> None:
    assert breaker.metrics.percentile_ms(0.5) is None
    for n in range(1, 101):
        breaker.call(clock.advance, n / 1000)
        clock.advance(1)  # calm traffic: each call is timed
    assert [round(breaker.metrics.percentile_ms(share) or 0) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 51, 96, 100, 100]


def test_busy_traffic_is_sampled(breaker: CircuitBreaker) -> None:
    for _ in range(1000):
        breaker.call(lambda: None)
    assert 7 < len(breaker.metrics.latencies_ms) < 30
    assert breaker.metrics.total_calls == 1000


def test_the_status_has_what_the_document_asks_for(breaker: CircuitBreaker, clock: FakeClock) -> None:
    happen(breaker, clock, "- - - 10 +")
    permit = breaker.admit()
    status = breaker.get_status()
    assert {name: status[name] for name in ("name", "state", "success_count", "half_open_calls")} == {
        "name": "gpt-5.2", "state": "HALF_OPEN", "success_count": 1, "half_open_calls": 1,
    }  # fmt: skip
    assert set(status["metrics"]) >= {"total_calls", "successful_calls", "failed_calls", "rejected_calls", "error_rate"}
    permit()


# Ways to use it


def test_it_is_a_decorator_that_keeps_the_function(breaker: CircuitBreaker) -> None:
    @breaker
    def double(n: int, *, plus: int = 0) -> int:
        """Twice."""
        return 2 * n + plus

    @breaker
    async def triple(n: int) -> int:
        return 3 * n

    assert (double(2, plus=1), asyncio.run(triple(2)), double.__doc__, double.__name__) == (5, 6, "Twice.", "double")


def test_it_is_a_context_manager_sync_and_async_and_nested(breaker: CircuitBreaker, clock: FakeClock) -> None:
    def broken() -> None:
        with breaker, breaker:
            raise Gone

    async def broken_too() -> None:
        async with breaker:
            raise Gone

    with breaker:
        pass
    with pytest.raises(Gone):
        broken()
    assert breaker.metrics.failed_calls == 2
    with pytest.raises(Gone):
        asyncio.run(broken_too())
    assert breaker.state is OPEN
    with pytest.raises(CircuitBreakerOpenError), breaker:
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_inside_a_generator_keeps_its_own_permit(breaker: CircuitBreaker, clock: FakeClock, fails: bool) -> None:
    """The generator is resumed inside the block of another circuit, which got its result; its own waited for ever."""
    other = CircuitBreaker("other", SMALL, clock=clock)
    half_open(breaker, clock)

    def rows() -> Iterator[int]:
        with breaker:
            yield 1
            if fails:
                raise Gone

    lazy = rows()
    assert next(lazy) == 1
    with contextlib.suppress(Gone), other:
        with contextlib.suppress(Gone):
            assert list(lazy) == []
        assert breaker.get_status()["half_open_calls"] == 0
        assert (breaker.state, other.total_calls) == (OPEN if fails else HALF_OPEN, 0)
    assert (breaker.total_calls, other.total_calls, other.metrics.failed_calls) == (4, 1, 0)


def test_leaving_a_block_that_was_not_entered_here_says_so(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """It was 'not enough values to unpack'."""
    said: list[str] = []

    def leave(stack: contextlib.ExitStack) -> None:
        try:
            stack.close()
        except RuntimeError as error:
            said.append(str(error))

    with contextlib.ExitStack() as stack:
        stack.enter_context(breaker)
        thread = threading.Thread(target=leave, args=[stack.pop_all()])
        thread.start()
        thread.join()
    with CircuitBreaker("other", SMALL, clock=clock), pytest.raises(RuntimeError, match="was left by a task or thread") as left:
        breaker.__exit__(Gone, Gone("why"), None)
        breaker.__exit__(Gone, Gone("why"), None)
    assert said == [
        "the circuit 'gpt-5.2' was left by a task or thread that has not entered it; leave the block where it was entered"
    ]
    assert isinstance(left.value.__cause__, Gone)


def test_tasks_do_not_mix_up_their_permits(breaker: CircuitBreaker, clock: FakeClock) -> None:
    half_open(breaker, clock)

    async def probe(seconds: float) -> None:
        async with breaker:
            await clock.asleep(seconds)

    async def scene() -> None:
        tasks = [asyncio.create_task(probe(seconds)) for seconds in (2, 1)]
        await clock.run(3)
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert breaker.state is CLOSED


# Many at once


def test_threads_and_loops_lose_no_call() -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=10_000, error_rate_threshold=1.0, window_calls=50))
    each, threads = 2000, 6

    @breaker
    def work(n: int) -> None:
        if n % 10 == 0:
            raise Gone

    @breaker
    async def work_too(n: int) -> None:
        if n % 10 == 0:
            raise Gone

    def sync() -> None:
        for n in range(each):
            with contextlib.suppress(Gone):
                work(n)

    async def many() -> None:
        for n in range(each):
            with contextlib.suppress(Gone):
                await work_too(n)

    running = [threading.Thread(target=sync if n % 2 else lambda: asyncio.run(many())) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    metrics = breaker.metrics
    assert (metrics.total_calls, metrics.failed_calls) == (each * threads, each * threads // 10)
    assert metrics.window.calls == 50


def test_callers_do_not_wait_for_each_other(breaker: CircuitBreaker) -> None:
    """All are inside at the same time, or the barrier breaks."""
    together = threading.Barrier(5, timeout=10)
    threads = [threading.Thread(target=breaker.call, args=[together.wait]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.metrics.successful_calls == 5


def test_threads_together_open_it_once_and_probe_within_the_limit() -> None:
    clock = FakeClock()
    breaker = CircuitBreaker("x", SMALL, clock=clock)
    inside, most, lock = 0, 0, threading.Lock()
    start = threading.Barrier(8)

    def probe() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1
        raise Gone

    def run() -> None:
        start.wait()
        for _ in range(300):
            try:
                breaker.call(probe)
            except (Gone, CircuitBreakerOpenError):
                clock.advance(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = [(change.old, change.new) for change in breaker.metrics.state_changes]
    assert set(changes) <= {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN)}
    assert all(one[1] is other[0] for one, other in itertools.pairwise(changes))


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


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestBreaker = BreakerMachine.TestCase


# The registry


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

