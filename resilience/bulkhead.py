"""The bulkhead: so many calls to a service at once, so many in the queue, and no more (§7.2).

Slots are tokens in a list: entering takes one, leaving puts one back, each one atomic step. Only who finds none, or finds
others waiting, takes the lock, and stands in the queue; a slot that comes free goes to the first of it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from msgspec.structs import replace

from resilience.circuit.window import Tally
from resilience.clock import Clock, SystemClock
from resilience.policies import BulkheadLimits
from resilience.refusals import RefusedError
from resilience.wrapping import is_async, refuse_generators

P = ParamSpec("P")
R = TypeVar("R")
_LAST: Final = -1
_NONE: Final = 1 << 62  # an index that no list has


class BulkheadFullError(RefusedError):
    """All slots are taken, and the queue is full; the call was not made (§7.2).

    Attributes:
        name: the bulkhead's. running: calls under way. queued: calls waiting. limit: slots. max_queue: places to wait.
        waited_s: how long this call has waited.
    """

    kind = "refused.bulkhead_full"
    gate = "bulkhead"
    _said = "is full"

    def __init__(self, name: str, running: int, queued: int, limit: int, max_queue: int, waited_s: float = 0.0) -> None:
        held = f"{running} of {limit} calls running, {queued} of {max_queue} waiting"
        super().__init__(f"the bulkhead {name!r} {self._said.format(waited_s)}: {held}")
        self.name, self.running, self.queued, self.limit, self.max_queue = name, running, queued, limit, max_queue
        self.waited_s = waited_s


class BulkheadTimeoutError(BulkheadFullError):
    """No slot came free in time; the call was not made (§7.2)."""

    kind = "refused.bulkhead_timeout"
    _said = "had no room within {:g} s"


class _Waiter:
    """One place in the queue."""

    __slots__ = ("has_slot", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.has_slot = False


class Bulkhead:
    """One service's slots. For threads and tasks alike; of any number of event loops.

    Use it as a decorator (``@bulkhead``), as a context manager (``with`` or ``async with``), or by ``call``. Waiting is
    first come, first served, between all of them.

    Args:
        name: the service's.
        max_concurrent: calls at the same time. max_queue: calls that may wait.
        timeout_seconds: how long a call waits at most; 0: not at all.

    Raises:
        ValueError: one of them is out of its limits; it says which.
    """

    def __init__(
        self,
        name: str,
        max_concurrent: int = 10,
        max_queue: int = 100,
        timeout_seconds: float = 30.0,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.limits = BulkheadLimits(
            max_concurrent=max_concurrent, max_queue=max_queue, timeout_seconds=timeout_seconds
        ).sound()
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()  # a coroutine that the garbage collector ends may leave while its thread is in here
        self._slots: list[None] = [None] * max_concurrent
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()
        self._owed = 0  # slots to be taken out of use, as soon as they come free
        self._most = max_concurrent  # slots there are, those included
        self._accepted = Tally()
        self._rejected = self._late = self._left = 0

    # What callers use.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, with a slot for each call; coroutine functions stay coroutine functions."""
        refuse_generators(function)
        bulkhead, waiting = self, self._waiting
        take, give, accepted = self._slots.pop, self._slots.append, self._accepted.tick
        if is_async(function):

            @functools.wraps(function)
            async def within_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                try:  # try_enter and leave, written out: they are half of what a call costs here
                    take(_LAST if not waiting else _NONE)
                except IndexError:
                    await bulkhead.aenter()
                else:
                    accepted()
                try:
                    return await function(*args, **kwargs)
                finally:
                    give(None)
                    if waiting or bulkhead._owed:
                        bulkhead.serve()

            return cast("Callable[P, R]", within_async)

        @functools.wraps(function)
        def within(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                take(_LAST if not waiting else _NONE)
            except IndexError:
                bulkhead.enter()
            else:
                accepted()
            try:
                return function(*args, **kwargs)
            finally:
                give(None)
                if waiting or bulkhead._owed:
                    bulkhead.serve()

        return within

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``function(*args, **kwargs)`` in a slot; of a coroutine function, a coroutine to await.

        Raises:
            BulkheadFullError: there is no slot, and no place to wait. BulkheadTimeoutError: it waited in vain.
        """
        return self(function)(*args, **kwargs)

    def acquire(self) -> Self:
        """The document's name for the block: ``async with bulkhead.acquire():``, or ``with``."""
        return self

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        await self.aenter()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    # What executors use: each entry is followed by one ``leave``.

    def try_enter(self) -> bool:
        """Whether there was a slot; it is taken. There is none for whom others wait."""
        if self._waiting:
            return False
        try:
            self._slots.pop()
        except IndexError:
            return False
        self._accepted.tick()
        return True

    def leave(self) -> None:
        """Gives a slot back.

        Raises:
            RuntimeError: nobody is inside who could leave.
        """
        if len(self._slots) >= self._most:
            raise RuntimeError(f"the bulkhead {self.name!r} was left more often than entered")
        self._slots.append(None)
        if self._waiting or self._owed:  # looked at after the slot is there, so that nobody waits beside a free one
            self.serve()

    def enter(self) -> None:
        """Takes a slot, waiting for it in this thread.

        Raises:
            BulkheadFullError: there is no place to wait. BulkheadTimeoutError: none came free in time.
        """
        if self.try_enter():
            return
        turn = threading.Lock()
        turn.acquire()
        waiter = self._stand_in_line(turn.release)
        try:
            turn.acquire(timeout=self.limits.timeout_seconds)
        except BaseException:
            self._give_up(waiter)
            raise
        self._take(waiter)

    async def aenter(self) -> None:
        """Takes a slot, waiting for it in this task.

        Raises:
            BulkheadFullError: there is no place to wait. BulkheadTimeoutError: none came free in time.
        """
        if self.try_enter():
            return
        import asyncio  # noqa: PLC0415 -- who is here has it

        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        waiter = self._stand_in_line(lambda: loop.call_soon_threadsafe(_finish, turn))
        timer: Any = None
        if not waiter.has_slot:
            if not self.limits.timeout_seconds:
                self._take(waiter)
            timer = self._clock.call_later(self.limits.timeout_seconds, _finish, turn)
        try:
            await turn
        except BaseException:
            self._give_up(waiter)
            raise
        finally:
            if hasattr(timer, "cancel"):
                timer.cancel()
        self._take(waiter)

    # What those use who watch over it.

    def resize(
        self, max_concurrent: int | None = None, max_queue: int | None = None, timeout_seconds: float | None = None
    ) -> None:
        """Takes other limits while it runs. New slots are given out at once; those too many go as they come free.

        Raises:
            ValueError: one is out of its limits; nothing has changed.
        """
        given = _given(max_concurrent=max_concurrent, max_queue=max_queue, timeout_seconds=timeout_seconds)
        new = replace(self.limits, **given).sound()
        if new == self.limits:
            return
        with self._lock:
            more = new.max_concurrent - self.limits.max_concurrent
            self.limits = new
            self._owed += max(-more, 0)
            self._most += max(more, 0)
            self._slots.extend([None] * max(more, 0))
            self.serve()

    def get_metrics(self) -> dict[str, Any]:
        """What there is to say of it (§7.2)."""
        with self._lock:
            free, accepted = len(self._slots), self._accepted.value
            rejected, late, left, queued = self._rejected, self._late, self._left, len(self._waiting)
            running = self._most - free
        return {
            "name": self.name,
            "max_concurrent": self.limits.max_concurrent,
            "max_queue": self.limits.max_queue,
            "current_queue": queued,
            "available_slots": free,
            "running": running,
            "total_requests": accepted + rejected + late + left + queued,
            "accepted_requests": accepted,
            "rejected_requests": rejected,
            "timeout_requests": late,
        }

    def _stand_in_line(self, wake: Callable[[], object]) -> _Waiter:
        waiter = _Waiter(wake)
        with self._lock:
            self._waiting[waiter] = None
            self.serve()  # a slot may have come free since we looked
            if not waiter.has_slot and len(self._waiting) > self.limits.max_queue:
                del self._waiting[waiter]
                self._rejected += 1
                raise self._refusal(BulkheadFullError)
        return waiter

    def _take(self, waiter: _Waiter) -> None:
        """Ends a wait that is over: with a slot, or with none that came in time."""
        with self._lock:
            if not waiter.has_slot:
                del self._waiting[waiter]
                self._late += 1
                raise self._refusal(BulkheadTimeoutError, self.limits.timeout_seconds)

    def _give_up(self, waiter: _Waiter) -> None:
        """Ends a wait that somebody interrupted; a slot that it got in the same moment goes to the next."""
        with self._lock:
            if not waiter.has_slot:
                self._left += self._waiting.pop(waiter, self) is None
                return
        self.leave()

    def serve(self) -> None:
        """Takes slots that are owed out of use, then gives free ones to those who wait."""
        with self._lock, contextlib.suppress(IndexError):  # somebody who has not seen that others wait may be quicker
            while self._owed and self._slots:
                self._slots.pop()
                self._owed -= 1
                self._most -= 1
            while self._waiting and self._slots:
                self._slots.pop()
                if not self._waiting:  # served in between, from a coroutine that was ended
                    self._slots.append(None)
                    return
                waiter, _ = self._waiting.popitem(last=False)
                waiter.has_slot = True
                try:
                    waiter.wake()
                except RuntimeError:  # its event loop is closed: nobody will ever use it
                    waiter.has_slot = False
                    self._left += 1
                    self._slots.append(None)
                else:
                    self._accepted.tick()

    def _refusal(self, kind: type[BulkheadFullError], waited_s: float = 0.0) -> BulkheadFullError:
        limits = self.limits
        running = self._most - len(self._slots)
        return kind(self.name, running, len(self._waiting), limits.max_concurrent, limits.max_queue, waited_s)


class BulkheadRegistry:
    """The bulkheads of a program, one for each service (§7.2)."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._bulkheads: dict[str, Bulkhead] = {}
        self._lock = threading.Lock()

    def get_or_create(
        self,
        name: str,
        max_concurrent: int | None = None,
        max_queue: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Bulkhead:
        """The bulkhead called ``name``, made if there is none.

        Raises:
            ValueError: there is one already, with other limits than those that are given.
        """
        given = _given(max_concurrent=max_concurrent, max_queue=max_queue, timeout_seconds=timeout_seconds)
        with self._lock:
            bulkhead = self._bulkheads.get(name)
            if bulkhead is None:
                bulkhead = self._bulkheads[name] = Bulkhead(name, **given, clock=self._clock)
        if bulkhead.limits != replace(bulkhead.limits, **given):
            raise ValueError(f"the bulkhead {name!r} exists with other limits ({bulkhead.limits}); change it with its resize()")
        return bulkhead

    def get(self, name: str) -> Bulkhead | None:
        """The bulkhead called ``name``; None if there is none."""
        return self._bulkheads.get(name)

    def get_all_metrics(self) -> dict[str, dict[str, Any]]:
        """What there is to say of each, by name."""
        return {name: bulkhead.get_metrics() for name, bulkhead in list(self._bulkheads.items())}


def _given(**limits: float | None) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _finish(turn: Any) -> None:
    if not turn.done():
        turn.set_result(None)
