"""Faults on order: by script, by rate, for a while; in functions, coroutines and streams."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.testing import Answer, Fail, FakeClock, Faults, Slow, TimeOut, settle
from tests.resilience.testing.called import CodeError, acount, agreet, count, greet, outcome_of


def test_without_rules_a_call_is_made_as_ever() -> None:
    faults = Faults()
    call = faults(greet)
    assert call("Ada") == "hello Ada"
    assert call(name="Bob") == "hello Bob"
    assert (faults.calls, faults.injected) == (2, 0)


@pytest.mark.parametrize(
    ("call", "is_still"),
    [
        (greet, lambda call: not inspect.iscoroutinefunction(call)),
        (agreet, inspect.iscoroutinefunction),
        (count, inspect.isgeneratorfunction),
        (acount, inspect.isasyncgenfunction),
    ],
)
def test_a_wrapped_call_stays_what_it_was(call: Callable[..., Any], is_still: Callable[[object], bool]) -> None:
    wrapped = Faults()(call)
    assert is_still(wrapped)
    assert wrapped.__name__ == call.__name__
    assert inspect.signature(wrapped) == inspect.signature(call)


def test_a_script_is_followed_call_by_call_and_then_the_rules_go_on() -> None:
    clock = FakeClock()
    faults = Faults(clock=clock)
    faults.answer("by rule")
    faults.script("ok", ConnectionError, Slow(2), KeyError("key"))
    faults.script(TimeOut(3), Answer(None), lambda: OSError("made"), Fail(ValueError("wrong")))
    call = faults(greet)
    assert [(outcome_of(call), clock.monotonic()) for _ in range(9)] == [
        ("hello you", 0.0), ("ConnectionError", 0.0), ("hello you", 2.0), ("KeyError", 2.0), ("TimeoutError", 5.0),
        (None, 5.0), ("OSError", 5.0), ("ValueError", 5.0), ("by rule", 5.0),
    ]  # fmt: skip
    assert (faults.calls, faults.injected) == (9, 8)


def test_a_call_that_met_a_fault_was_not_made() -> None:
    made: list[int] = []
    faults = Faults()
    call = faults(made.append)
    faults.script(ConnectionError, TimeOut(0), Answer("nonsense"), "ok")
    assert [outcome_of(lambda: call(1)) for _ in range(4)] == ["ConnectionError", "TimeoutError", "nonsense", None]
    assert made == [1]


def test_coroutines_wait_on_the_clock_as_functions_do() -> None:
    clock = FakeClock()
    faults = Faults(clock=clock)
    faults.script(Slow(2), TimeOut(3), ConnectionError, Answer("nonsense"), "ok")
    call = faults(agreet)

    async def scene() -> None:
        slow = asyncio.create_task(call("Ada"))
        await clock.run(1.9)
        assert not slow.done()
        await clock.run(0.1)
        assert slow.result() == "hello Ada"
        late = asyncio.create_task(call())
        await clock.run(2.9)
        assert not late.done()
        await clock.run(0.1)
        assert isinstance(late.exception(), TimeoutError)
        with pytest.raises(ConnectionError):
            await call()
        assert await call() == "nonsense"
        assert await call() == "hello you"

    asyncio.run(scene())


def test_an_object_whose_call_is_a_coroutine_is_one() -> None:
    class Agent:
        async def __call__(self) -> str:
            return "asked"

    async def scene() -> None:
        clock = FakeClock()
        for agent in (Agent(), AsyncMock(return_value="asked")):
            faults = Faults(clock=clock)
            faults.slow(1)
            task = asyncio.create_task(faults(agent)())
            await settle()
            assert not task.done()
            await clock.run(1)
            assert task.result() == "asked"

    asyncio.run(scene())


# Hanging.


def test_a_hanging_coroutine_is_made_when_released_and_later_ones_hang_again() -> None:
    faults = Faults()
    faults.hang()
    call = faults(agreet)

    async def scene() -> None:
        for _ in range(2):
            task = asyncio.create_task(call())
            await settle()
            assert faults.hanging == 1
            faults.release()
            assert await task == "hello you"
            assert faults.hanging == 0

    asyncio.run(scene())


def test_a_cancelled_call_hangs_no_longer() -> None:
    faults = Faults()
    faults.script("hang", "hang")
    call = faults(agreet)

    async def scene() -> None:
        cancelled, released = asyncio.create_task(call()), asyncio.create_task(call())
        await settle()
        cancelled.cancel()
        faults.release()  # in the same turn, before the cancelled task has noticed
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await released == "hello you"
        assert faults.hanging == 0

    asyncio.run(scene())


def test_hanging_threads_are_released() -> None:
    faults = Faults()
    faults.hang()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(faults(greet)) for _ in range(2)]
        while faults.hanging < 2:
            assert not any(one.done() for one in calls)
        faults.release()
        assert [one.result(10) for one in calls] == ["hello you"] * 2


def test_clearing_releases_and_forgets_rules_and_script() -> None:
    faults = Faults()
    faults.script("hang", ConnectionError)
    faults.fail(ConnectionError)
    call = faults(agreet)

    async def scene() -> None:
        hanging = asyncio.create_task(call())
        await settle()
        faults.clear()
        assert await hanging == "hello you"
        assert await call() == "hello you"

    asyncio.run(scene())
    assert (faults.calls, faults.injected) == (2, 1)


# Streams.


@pytest.mark.parametrize(
    ("outcome", "items", "error"),
    [
        ("ok", [1, 2, 3], None),
        (Slow(0), [1, 2, 3], None),
        (Answer(9), [9], None),
        (ConnectionError, [], ConnectionError),
        (TimeOut(0), [], TimeoutError),
        (Fail(ConnectionError, after_items=2), [1, 2], ConnectionError),
        (Fail(ConnectionError, after_items=3), [1, 2, 3], ConnectionError),
        (Fail(ConnectionError, after_items=9), [1, 2, 3], ConnectionError),
    ],
)
def test_a_stream_fails_before_or_between_its_items(outcome: Any, items: list[int], error: type[Exception] | None) -> None:
    faults = Faults()
    faults.script(outcome, outcome)
    call, acall = faults(count), faults(acount)

    def read(keep: Callable[[int], None]) -> None:
        for item in call():
            keep(item)

    async def aread(keep: Callable[[int], None]) -> None:
        async for item in acall():
            keep(item)

    for one in (read, lambda keep: asyncio.run(aread(keep))):
        seen: list[int] = []
        if error is None:
            one(seen.append)
        else:
            with pytest.raises(error):
                one(seen.append)
        assert seen == items


def test_a_stream_that_fails_or_is_left_closes_its_source() -> None:
    faults = Faults()
    faults.script(Fail(ConnectionError, after_items=1), "ok", Fail(ConnectionError, after_items=1), "ok")
    call, acall, closed = faults(count), faults(acount), list[bool]()

    async def scene() -> None:
        with pytest.raises(ConnectionError):
            _ = [item async for item in acall(closed)]
        assert len(closed) == 1
        stream = acall(closed)
        assert await anext(stream) == 1
        await stream.aclose()
        assert len(closed) == 2

    asyncio.run(scene())
    with pytest.raises(ConnectionError):
        list(call(closed))
    assert len(closed) == 3
    left = call(closed)
    assert next(left) == 1
    left.close()
    assert len(closed) == 4


def test_a_call_that_is_no_stream_fails_at_once() -> None:
    faults = Faults()
    faults.fail(ConnectionError, after_items=2)
    with pytest.raises(ConnectionError):
        faults(greet)()


# Dice, rates and outages.

RATES = st.lists(st.integers(0, 100), min_size=1, max_size=4).map(lambda parts: [one / max(100, sum(parts)) for one in parts])


def thrown(seed: int, rates: list[float], calls: int) -> list[Any]:
    """What ``calls`` calls came to, with an answer of its own for each rate; None is a call without a fault."""
    faults = Faults(clock=FakeClock(), seed=seed)
    for number, rate in enumerate(rates):
        faults.answer(number, rate=rate)
    call = faults(lambda: None)
    outcomes = [call() for _ in range(calls)]
    assert faults.injected == calls - outcomes.count(None)
    return outcomes


@given(st.integers(), RATES)
def test_the_same_seed_gives_the_same_faults(seed: int, rates: list[float]) -> None:
    assert thrown(seed, rates, 50) == thrown(seed, rates, 50)


def test_another_seed_gives_other_faults() -> None:
    assert len({tuple(thrown(seed, [0.5], 50)) for seed in range(20)}) == 20


@given(st.integers(0, 20), RATES)
def test_the_observed_rate_is_near_the_asked_one(seed: int, rates: list[float]) -> None:
    """Within six standard deviations of a fair throw, and exactly so at 0 and 1."""
    calls = 10_000
    outcomes = thrown(seed, rates, calls)
    for number, rate in enumerate(rates):
        assert abs(outcomes.count(number) - calls * rate) <= 6 * math.sqrt(calls * rate * (1 - rate)) + 1e-6 * calls


def test_an_outage_begins_and_ends_on_the_clock() -> None:
    clock = FakeClock()
    clock.advance(100)
    faults = Faults(clock=clock)
    call = faults(greet)
    faults.fail(ConnectionError, during=(10, 60))
    faults.answer("limited", during=(60, 70))
    seen = []
    for at in (100, 109.5, 110, 159.5, 160, 169.5, 170):
        clock.advance(at - clock.monotonic())
        seen.append(outcome_of(call))
    assert seen == ["hello you", "hello you", "ConnectionError", "ConnectionError", "limited", "limited", "hello you"]


def test_threads_share_the_counters_and_the_script() -> None:
    faults, calls, start = Faults(), 2000, threading.Barrier(8)
    faults.script(*[ConnectionError, "ok"] * (calls * 4))
    call = faults(greet)

    def many() -> int:
        start.wait(10)
        return sum(outcome_of(call) == "ConnectionError" for _ in range(calls))

    with ThreadPoolExecutor(8) as pool:
        failed = sum(one.result(60) for one in [pool.submit(many) for _ in range(8)])
    assert (faults.calls, faults.injected, failed) == (8 * calls, 4 * calls, 4 * calls)


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        (lambda faults: faults.slow(1, rate=1.5), "rate must be from 0 .* not 1.5"),
        (lambda faults: faults.slow(1, rate=-0.1), "rate must be from 0 .* not -0.1"),
        (lambda faults: faults.hang(rate=math.nan), "rate must be from 0 .* not nan"),
        (lambda faults: faults.slow(-1), "seconds must be a number of seconds, 0 or more, not -1"),
        (lambda faults: faults.time_out(math.inf), "after_s must be .* not inf"),
        (lambda faults: faults.hang(during=(60, 10)), r"during must end after it begins, not \(60, 10\)"),
        (lambda faults: faults.fail(OSError, after_items=-1), "after_items must be 0 or more"),
        (lambda faults: faults.fail("gone"), "an exception, .* is needed, not 'gone'"),
        (lambda faults: faults.fail(int), "an exception, .* is needed, not <class 'int'>"),
        (lambda faults: faults.fail(CodeError), r"CodeError: .* give a function instead: lambda: CodeError\(...\)"),
        (lambda faults: faults.script("ok", "okay"), '\'okay\' is no outcome: say "ok", "hang"'),
        (lambda faults: faults.script("ok", Slow), "is no outcome: .*Slow.seconds"),
    ],
)
def test_nonsense_is_refused_when_it_is_ordered(order: Callable[[Faults], None], complaint: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=complaint):
        order(faults)
    assert faults(greet)() == "hello you"
    assert faults.injected == 0


def test_rates_that_sum_above_one_at_some_moment_are_refused() -> None:
    faults = Faults(clock=FakeClock())
    for rate in (0.555, 0.335, 0.11):  # as floats they sum to a little more
        faults.slow(1, rate=rate, during=(0, 20))
    faults.hang(rate=1, during=(20, 30))
    with pytest.raises(ValueError, match=r"at most 1, not 1.25: .* lower them, or clear\(\) the old rules"):
        faults.fail(OSError, rate=0.25)
    faults.clear()
    faults.fail(OSError, rate=0.25)
