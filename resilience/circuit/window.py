"""What of the latest calls a circuit looks at: how many there were, how many failed, were slow, failed in a row. Pure.

A success only takes a number; failures remember theirs. How many of the last N calls failed is then how many remembered
numbers are above the latest minus N, and a run of failures is one whose numbers follow each other. So a success costs
one atomic step and no lock, and nothing is stored for it.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Final, NamedTuple

_SLICES: Final = 10


class Counts(NamedTuple):
    """What a window holds. ``in_a_row`` failures end it; the others are how many of its ``calls``."""

    calls: int = 0
    failures: int = 0
    slow: int = 0
    in_a_row: int = 0


class Tally:
    """A count that many threads can add to at once: ``tick`` adds one and says how many there are; it is atomic."""

    __slots__ = ("_numbers", "tick")

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.tick = self._numbers.__next__

    @property
    def value(self) -> int:
        """How many there are, read without adding one."""
        return int(repr(self._numbers)[6:-1]) - 1  # count(7): the next one is the seventh


class CallWindow:
    """The last ``size`` calls. ``tick`` counts one that went well; it is atomic. All else needs the owner's lock.

    Args:
        size: calls, 1 or more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._tally = Tally()
        self.tick = self._tally.tick
        self._failures: deque[int] = deque()
        self._slow: deque[int] = deque()
        self._in_a_row = 0
        self._last_failure = 0

    def add(self, now_s: float, *, failed: bool, slow: bool) -> Counts:
        """Counts a call that is over; returns what the window holds with it."""
        del now_s
        number = self.tick()
        if slow:
            self._slow.append(number)
        if failed:
            self._in_a_row = self._in_a_row + 1 if number == self._last_failure + 1 else 1
            self._last_failure = number
            self._failures.append(number)
        return self._counts(number)

    def counts(self, now_s: float) -> Counts:
        """What the window holds."""
        del now_s
        return self._counts(self.total)

    @property
    def total(self) -> int:
        """Calls since the window was made; read without counting one."""
        return self._tally.value

    def _counts(self, number: int) -> Counts:
        for numbers in (self._failures, self._slow):
            while numbers and numbers[0] <= number - self.size:
                numbers.popleft()
        in_a_row = self._in_a_row if number == self._last_failure else 0
        return Counts(min(number, self.size), len(self._failures), len(self._slow), in_a_row)


class TimeWindow:
    """The calls of the last ``seconds``, in ten slices: the oldest slice goes as a whole. It needs the owner's lock.

    Args:
        seconds: more than 0.
    """

    def __init__(self, seconds: float) -> None:
        self._slice_s = seconds / _SLICES
        self._slices: deque[list[int]] = deque()  # number of the slice, calls, failures, slow calls
        self._in_a_row = 0
        self.total = 0

    def add(self, now_s: float, *, failed: bool, slow: bool) -> Counts:
        """Counts a call that is over at ``now_s``; returns what the window holds with it."""
        number = int(now_s / self._slice_s)
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append([number, 0, 0, 0])
        latest = self._slices[-1]
        latest[1] += 1
        latest[2] += failed
        latest[3] += slow
        self.total += 1
        self._in_a_row = self._in_a_row + 1 if failed else 0
        return self.counts(now_s)

    def counts(self, now_s: float) -> Counts:
        """What the window holds at ``now_s``."""
        oldest = int(now_s / self._slice_s) - _SLICES
        while self._slices and self._slices[0][0] <= oldest:
            self._slices.popleft()
        calls, failures, slow = (sum(one[at] for one in self._slices) for at in (1, 2, 3))
        return Counts(calls, failures, slow, self._in_a_row)
