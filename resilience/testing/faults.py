"""Faults on order: calls that fail, lag, hang, time out or answer nonsense, by seeded dice or by script."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, ParamSpec, TypeVar, cast

from resilience.clock import Clock, SystemClock
from resilience.testing.outcomes import (
    Answer,
    Fail,
    Fault,
    Hang,
    Outcome,
    Raisable,
    Slow,
    TimeOut,
    as_fault,
    error_of,
    wait_s,
)

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class _Rule:
    fault: Fault
    rate: float
    start_s: float  # of the clock's monotonic()
    end_s: float

    def holds(self, now_s: float) -> bool:
        return self.start_s <= now_s < self.end_s


class Faults:
    """Injects faults into the calls that it wraps: ``ask = faults(ask)``.

    A call gets the script's next outcome; when there is none, one throw of the dice decides by the rules' rates.
    Threads may share it. The same seed gives the same faults in the order in which the calls are made.

    Rules take ``rate``, the share of calls they strike, 0 to 1, and ``during``, the seconds from now between which they
    hold, e.g. ``(10, 60)`` for an outage that begins in 10 seconds and lasts 50.

    Args:
        clock: what slow calls and timeouts wait on; by default the machine's.
        seed: of the dice.

    Attributes:
        calls: how many calls were made so far.
        injected: how many of them were given a fault.
    """

    def __init__(self, *, clock: Clock | None = None, seed: int = 0) -> None:
        self.calls = 0
        self.injected = 0
        self._clock = clock or SystemClock()
        self._dice = random.Random(seed)  # noqa: S311 -- faults must be repeatable, not secret
        self._changing = threading.Lock()
        self._rules: list[_Rule] = []
        self._script: deque[Fault | None] = deque()
        self._held: set[Future[None]] = set()

    def fail(
        self, error: Raisable, *, after_items: int = 0, rate: float = 1.0, during: tuple[float, float] | None = None
    ) -> None:
        """Calls raise ``error``; see ``Fail`` for what it may be.

        Raises:
            ValueError: for what cannot be raised, for a rate outside 0 to 1, for rates that sum to more than 1, and
                for an outage that ends before it begins. So do the other rules.
        """
        self._add(Fail(error, after_items), rate, during)

    def slow(self, seconds: float, *, rate: float = 1.0, during: tuple[float, float] | None = None) -> None:
        """Calls are made ``seconds`` late."""
        self._add(Slow(seconds), rate, during)

    def hang(self, *, rate: float = 1.0, during: tuple[float, float] | None = None) -> None:
        """Calls are not made before ``release``."""
        self._add(Hang(), rate, during)

    def time_out(self, after_s: float, *, rate: float = 1.0, during: tuple[float, float] | None = None) -> None:
        """Calls raise ``TimeoutError`` after ``after_s`` seconds."""
        self._add(TimeOut(after_s), rate, during)

    def answer(self, value: Any, *, rate: float = 1.0, during: tuple[float, float] | None = None) -> None:
        """Calls return ``value`` instead of what they should."""
        self._add(Answer(value), rate, during)

    def script(self, *outcomes: Outcome) -> None:
        """The next calls end in exactly this order; then the rules go on. A further script is appended.

        Args:
            outcomes: ``"ok"``, ``"hang"``, anything that ``fail`` takes, or a ``Fail``, ``Slow``, ``TimeOut``, ``Answer``.

        Raises:
            ValueError: for anything else; nothing of this script is kept then.
        """
        faults = [as_fault(outcome) for outcome in outcomes]
        with self._changing:
            self._script.extend(faults)

    def release(self) -> None:
        """Calls that hang now are made. Later ones hang again."""
        with self._changing:
            held, self._held = self._held, set()
        for one in held:
            one.set_result(None)

    def clear(self) -> None:
        """Forgets the rules and the script and releases what hangs; counters and dice stay as they are."""
        with self._changing:
            self._rules.clear()
            self._script.clear()
        self.release()

    @property
    def hanging(self) -> int:
        """How many calls hang now."""
        return len(self._held)

    def __call__(self, call: Callable[_P, _R]) -> Callable[_P, _R]:
        """``call`` with faults: a function, a coroutine function or a (sync or async) generator function.

        What is not declared ``async`` is taken for a function, even if what it returns can be awaited. Streams meet
        their fault when the first item is asked for; what is sent into an async one is not passed on.
        """
        shapes = (call, type(call).__call__)  # an object that can be called is what its __call__ is
        wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]
        if any(map(inspect.iscoroutinefunction, shapes)):
            wrapper = self._coroutine
        elif any(map(inspect.isasyncgenfunction, shapes)):
            wrapper = self._async_stream
        elif any(map(inspect.isgeneratorfunction, shapes)):
            wrapper = self._stream
        else:
            wrapper = self._function
        return cast(Callable[_P, _R], functools.wraps(call)(wrapper(call)))

    def _function(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*args: Any, **kwargs: Any) -> Any:
            fault = self._next()
            self._strike(fault)
            return fault.value if isinstance(fault, Answer) else call(*args, **kwargs)

        return faulty

    def _coroutine(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def faulty(*args: Any, **kwargs: Any) -> Any:
            fault = self._next()
            await self._astrike(fault)
            return fault.value if isinstance(fault, Answer) else await call(*args, **kwargs)

        return faulty

    def _stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*args: Any, **kwargs: Any) -> Iterator[Any]:
            fault = self._next()
            if isinstance(fault, Fail) and fault.after_items:
                with closing(call(*args, **kwargs)) as items:
                    yield from islice(items, fault.after_items)
            self._strike(fault)
            if isinstance(fault, Answer):
                yield fault.value
            else:
                yield from call(*args, **kwargs)

        return faulty

    def _async_stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def faulty(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            fault = self._next()
            if not (isinstance(fault, Fail) and fault.after_items):
                await self._astrike(fault)
            if isinstance(fault, Answer):
                yield fault.value
                return
            given = 0
            async with aclosing(call(*args, **kwargs)) as items:
                async for item in items:
                    yield item
                    given += 1
                    if isinstance(fault, Fail) and given == fault.after_items:
                        break
            if isinstance(fault, Fail):
                await self._astrike(fault)

        return faulty

    def _add(self, fault: Fault, rate: float, during: tuple[float, float] | None) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be from 0 (never) to 1 (every call), not {rate}")
        start_s, end_s = during or (-math.inf, math.inf)
        if not start_s < end_s:
            raise ValueError(f"during must end after it begins, not ({start_s}, {end_s})")
        now_s = self._clock.monotonic()
        with self._changing:
            rules = [*self._rules, _Rule(fault, rate, now_s + start_s, now_s + end_s)]
            if (highest := _highest_sum(rules)) > 1:
                raise ValueError(
                    f"rates may sum to at most 1, not {highest:g}: a call meets one fault; lower them, or clear() the old rules"
                )
            self._rules = rules

    def _next(self) -> Fault | None:
        now_s = self._clock.monotonic()
        with self._changing:
            self.calls += 1
            fault = self._script.popleft() if self._script else _choose(self._rules, now_s, self._dice.random())
            self.injected += fault is not None
        return fault

    def _strike(self, fault: Fault | None) -> None:
        if isinstance(fault, Hang):
            with self._holding() as released:
                released.result()
        elif seconds := wait_s(fault):
            self._clock.sleep(seconds)
        if (error := error_of(fault)) is not None:
            raise error

    async def _astrike(self, fault: Fault | None) -> None:
        if isinstance(fault, Hang):
            with self._holding() as released:
                await asyncio.wrap_future(released)
        elif seconds := wait_s(fault):
            await self._clock.asleep(seconds)
        if (error := error_of(fault)) is not None:
            raise error

    @contextmanager
    def _holding(self) -> Iterator[Future[None]]:
        released: Future[None] = Future()
        released.set_running_or_notify_cancel()  # a cancelled task must not cancel it: release would stumble over that
        with self._changing:
            self._held.add(released)
        try:
            yield released
        finally:
            with self._changing:
                self._held.discard(released)


def _choose(rules: Iterable[_Rule], now_s: float, die: float) -> Fault | None:
    """The fault on whose stretch of 0..1 ``die`` falls, of the rules that hold at ``now_s``; None beyond the last."""
    reached = 0.0
    for rule in rules:
        if rule.holds(now_s):
            reached += rule.rate
            if die < reached:
                return rule.fault
    return None


def _highest_sum(rules: list[_Rule]) -> float:
    """The most that rates sum to at any moment; it is reached when some rule begins. Rounded: 0.555 + 0.335 + 0.11 is 1."""
    return max(round(sum(one.rate for one in rules if one.holds(rule.start_s)), 9) for rule in rules)
