"""A circuit around a function, a coroutine function or a block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerOpenError
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, HALF_OPEN, OPEN, SMALL, Gone, half_open


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
