"""What a circuit's listeners hear of it, and that they harm nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from resilience.circuit.breaker import CircuitBreaker, CircuitState
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, HALF_OPEN, OPEN, SMALL, happen


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
