"""Time in tests: a clock that moves only when told to, and retries that do not wait."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from resilience.clock import count_immediate_waits


class FakeClock:
    """A clock that stands still until ``advance``. Tasks that wait on it go on when it has advanced far enough.

    ``sleep`` moves the clock itself, for there is nobody else in a test who would.

    Args:
        now: the wall clock's first reading, an aware datetime.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0
        self._changing = threading.Lock()
        self._waiting: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by ``seconds``.

        Raises:
            ValueError: for a negative number; time does not run backwards here.
        """
        if seconds < 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds}")
        self._move_to(self._monotonic + seconds)

    def _move_to(self, moment: float) -> None:
        with self._changing:
            self._now += timedelta(seconds=moment - self._monotonic)
            self._monotonic = moment
            while self._waiting and self._waiting[0][0] <= self._monotonic:
                _, _, loop, done = heapq.heappop(self._waiting)
                with suppress(RuntimeError):  # the loop is closed; nobody waits there any more
                    loop.call_soon_threadsafe(_finish, done)

    def sleep(self, seconds: float) -> None:
        """Moves both clocks forward by ``seconds``, at once."""
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Waits until the clock has advanced by ``seconds``."""
        await self._after(seconds)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """Has the running event loop call ``callback(*args)`` when the clock has advanced by ``seconds``."""
        self._after(seconds).add_done_callback(lambda _: callback(*args))

    def _after(self, seconds: float) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        with self._changing:
            heapq.heappush(self._waiting, (self._monotonic + seconds, next(self._order), loop, done))
        return done

    async def run(self, seconds: float) -> None:
        """Advances by ``seconds``, from one waiting task's moment to the next, and lets each go on before the next."""
        end = self._monotonic + seconds
        await settle()
        while self._waiting and self._waiting[0][0] <= end:
            self._move_to(max(self._monotonic, self._waiting[0][0]))
            await settle()
        self._move_to(max(self._monotonic, end))
        await settle()


async def settle(turns: int = 20) -> None:
    """Lets the other tasks of this loop run until they wait; ``turns`` is how many steps each may take."""
    for _ in range(turns):
        await asyncio.sleep(0)


@contextmanager
def immediate_retries() -> Iterator[None]:
    """Until the block ends, no retry in this process pauses before it tries again, whichever clock it was given.

    For tests of code that was decorated when it was imported. Blocks may be nested: pauses are back after the last.
    It holds for every thread and task, also for those that the block did not start.
    """
    count_immediate_waits(1)
    try:
        yield
    finally:
        count_immediate_waits(-1)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
