"""Watches what a tree of processes uses, and names the first limit that it is past."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import psutil

from resilience.sandbox.limits import ResourceLimits

_MB: Final = 1024 * 1024


class TreeWatch:
    """Looks at the tree below one process again and again. Belongs to one thread.

    Args:
        pid: its head. counts_head: whether the head itself is part of it; a guard is not.
    """

    def __init__(self, pid: int, limits: ResourceLimits, *, counts_head: bool) -> None:
        self._limits, self._counts_head = limits, counts_head
        self._head: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self._head = psutil.Process(pid)
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._written: dict[tuple[int, float], int] = {}
        self.peak_mb = 0.0

    @property
    def cpu_s(self) -> float:
        """Processor time used by all that was seen, also by what has ended."""
        return sum(self._cpu_s.values())

    def look(self) -> tuple[str, float] | None:
        """The limit that is passed, and what is used; None while all is well."""
        memory, files, connections, count = 0, 0, 0, 0
        for one in self._tree():
            with contextlib.suppress(psutil.Error, OSError), one.oneshot():
                if one.status() == psutil.STATUS_ZOMBIE:
                    continue
                count += 1
                if count > self._limits.max_processes:  # at once: measuring a storm takes longer than it needs to grow
                    return "max_processes", count
                key, times = (one.pid, one.create_time()), one.cpu_times()
                self._cpu_s[key] = times.user + times.system
                memory += one.memory_info().rss
                files = max(files, _handles(one))
                self._written[key] = int(_io(one))
                connections += len(one.net_connections("inet"))
        limits, self.peak_mb = self._limits, max(self.peak_mb, memory / _MB)
        used = {
            "max_memory_mb": memory / _MB, "max_cpu_seconds": self.cpu_s,
            "max_file_descriptors": files, "max_network_connections": connections,
            "max_disk_io_mb": sum(self._written.values()) / _MB,
        }  # fmt: skip
        return next(((name, value) for name, value in used.items() if value > getattr(limits, name)), None)

    def kill(self) -> None:
        """Ends the tree that is seen now, without asking."""
        for one in self._tree():
            with contextlib.suppress(psutil.Error):
                one.kill()

    def _tree(self) -> list[psutil.Process]:
        if self._head is None:
            return []
        found: list[psutil.Process] = [self._head] if self._counts_head else []
        with contextlib.suppress(psutil.Error):
            below = self._head.children(recursive=True)
            keepers = [] if self._counts_head else self._head.children()  # a guard's only child is a guard, too
            found += [one for one in below if one not in keepers]
        return found


def _handles(process: psutil.Process) -> int:
    """Open files; Windows counts handles of all sorts, which are no files, so there only files are counted."""
    counted: Any = getattr(process, "num_fds", None)
    return int(counted()) if counted is not None else len(process.open_files())


def _io(process: psutil.Process) -> int:
    counters: Any = getattr(process, "io_counters", None)
    return int(counters().write_bytes) if counters is not None else 0
