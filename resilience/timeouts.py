"""Time limits of calls, many at once: one coarse wheel for each event loop, instead of a timer for each call (§10.1).

A limit is a place in a bucket of those that end at about the same moment; a timer looks at the bucket when its time has
come. So a limit costs two dictionary steps, and ends up to 3 % late, never early.
"""

from __future__ import annotations

import asyncio
from asyncio import current_task, get_running_loop
from typing import Final
from weakref import ref

from resilience.clock import Clock, SystemClock

_BUCKETS: Final = 32


class Limit:
    """The time that the current task has for something. Made by ``TimeLimits.begin``, ended by ``finish``."""

    __slots__ = ("_cancelling", "_task", "bucket", "is_over")

    def __init__(self, task: asyncio.Task[object], bucket: set[Limit]) -> None:
        self._task, self.bucket = task, bucket
        self._cancelling = task.cancelling()
        self.is_over = False

    def expire(self) -> None:
        """Cancels what the task is doing: its time is up."""
        self.is_over = True
        self._task.cancel()

    def finish(self, error: BaseException | None) -> bool:
        """Ends the limit. Whether ``error``, which ended what was limited, came from the limit and not from outside."""
        self.bucket.discard(self)
        if not self.is_over:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)


class _Wheel:
    """The limits of one event loop."""

    loop: ref[asyncio.AbstractEventLoop]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.newest: dict[float, tuple[float, set[Limit]]] = {}
        """For each length of time the latest bucket, and until when limits of that length go into it."""
        self._buckets: dict[float, set[Limit]] = {}

    def bucket(self, seconds: float, now_s: float) -> set[Limit]:
        """The bucket of those that end ``seconds`` after ``now_s``, or a little later."""
        if len(self.newest) > _BUCKETS:  # limits that are computed, each another
            self.newest.clear()
        grain = seconds / _BUCKETS
        moment = ((now_s + seconds) // grain + 1) * grain
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = set()
            self._clock.call_later(moment - now_s, self._empty, moment)
        self.newest[seconds] = moment - seconds, bucket
        return bucket

    def _empty(self, moment: float) -> None:
        for limit in self._buckets.pop(moment):
            limit.expire()


class TimeLimits:
    """The limits of a program's asynchronous calls, over all its event loops."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._wheels: dict[int, _Wheel] = {}

    def begin(self, seconds: float, now_s: float) -> Limit:
        """Limits what the current task does from here to ``Limit.finish``.

        Args:
            seconds: more than 0. now_s: the clock's reading.
        """
        loop = get_running_loop()
        wheel = self._wheels.get(id(loop)) or self._add(loop)
        newest = wheel.newest.get(seconds)
        bucket = newest[1] if newest is not None and now_s < newest[0] else wheel.bucket(seconds, now_s)
        task = current_task(loop)
        assert task is not None, "a time limit needs a task"
        limit = Limit(task, bucket)
        bucket.add(limit)
        return limit

    def _add(self, loop: asyncio.AbstractEventLoop) -> _Wheel:
        number, wheels = id(loop), self._wheels
        wheel = wheels[number] = _Wheel(self._clock)
        wheel.loop = ref(loop, lambda _: wheels.pop(number, None))  # before its number can be another's
        return wheel
