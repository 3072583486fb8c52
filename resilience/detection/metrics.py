"""What is used of the machine: by all, and by single processes with everything that they have started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

import psutil
from msgspec import Struct

from resilience.clock import Clock

_MB: Final = 1024 * 1024


class TreeUse(Struct, frozen=True):
    """What a process and its descendants use: memory in MB, CPU in percent of one core since the last look."""

    memory_mb: float
    cpu_percent: float
    processes: int


def machine_use() -> dict[str, float]:
    """CPU since this thread looked last, memory and swap in use, in percent of what there is."""
    found = {"cpu_percent": psutil.cpu_percent(), "memory_percent": psutil.virtual_memory().percent}
    with contextlib.suppress(OSError, RuntimeError):  # Windows' counters may be turned off
        found["swap_percent"] = psutil.swap_memory().percent
    return found


class TreeMeter:
    """Looks at trees of processes; CPU is measured from one look to the next. Belongs to one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._looked_s = clock.monotonic()

    def look(self, heads: Mapping[str, int]) -> dict[str, TreeUse]:
        """What each tree uses, by the name of its head; one that has ended is left out.

        Args:
            heads: the processes' numbers by name.
        """
        now_s = self._clock.monotonic()
        past_s, self._looked_s = now_s - self._looked_s, now_s
        known, self._cpu_s = self._cpu_s, {}
        below = _children() if heads else {}
        found: dict[str, TreeUse] = {}
        for name, pid in heads.items():
            memory, spent_s, count = 0, 0.0, 0
            for one in _tree(pid, below):
                with contextlib.suppress(psutil.Error), one.oneshot():
                    key, times = (one.pid, one.create_time()), one.cpu_times()
                    cpu_s = times.user + times.system
                    memory += one.memory_info().rss
                    count += 1
                    spent_s += max(cpu_s - known.get(key, cpu_s), 0.0)
                    self._cpu_s[key] = cpu_s
            if count:
                found[name] = TreeUse(memory / _MB, 100 * spent_s / past_s if past_s > 0 else 0.0, count)
        return found


def _children() -> dict[int, list[int]]:
    """The numbers of each process's children: one pass over the machine for all trees."""
    found: dict[int, list[int]] = {}
    for one in psutil.process_iter(["ppid"]):
        if one.info["ppid"] is not None:
            found.setdefault(one.info["ppid"], []).append(one.pid)
    return found


def _tree(pid: int, below: Mapping[int, list[int]]) -> Iterator[psutil.Process]:
    """A process and its descendants, as far as they live; a child of one that has ended is found no more.

    Windows goes on naming the parent of an orphan, whose number may be another's by now: who is older is no child.
    """
    waiting, seen = [(pid, 0.0)], set[int]()
    while waiting:
        number, born = waiting.pop()
        if number in seen:
            continue
        seen.add(number)
        with contextlib.suppress(psutil.Error):
            one = psutil.Process(number)
            if (began := one.create_time()) >= born:
                waiting += [(child, began) for child in below.get(number, [])]
                yield one
