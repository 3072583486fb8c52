"""A control group (cgroup v2) for a sandboxed program, where this user may make one: the kernel then holds the tree together."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Final
from uuid import uuid4

from resilience.sandbox.limits import ResourceLimits

ROOT: Final = Path("/sys/fs/cgroup")
_MB: Final = 1024 * 1024
_GUARDS_MB: Final = 32
"""What the guard itself may use."""
_THREADS: Final = 16
"""The kernel counts threads; the watcher counts processes, and names the limit."""
_TRIES: Final = 200
_TRY_EVERY_S: Final = 0.01


class Cgroup:
    """One group, made for one run. ``path`` is where a process writes ``0`` to ``cgroup.procs`` to enter it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hit(self) -> str | None:
        """The limit that the kernel has enforced; None if it did not have to."""
        if _count(self.path / "memory.events", "oom_kill"):
            return "max_memory_mb"
        return "max_processes" if _count(self.path / "pids.events", "max") else None

    def kill(self) -> None:
        """Kills all that is in it at once."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def close(self) -> None:
        """Kills whatever is left in it, and removes it; a group that will not go stays behind, empty."""
        self.kill()
        for _ in range(_TRIES):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            threading.Event().wait(_TRY_EVERY_S)


def make(limits: ResourceLimits, root: Path = ROOT) -> Cgroup | None:
    """A group with ``limits``; None where there is no cgroup v2 with these controllers that this user may use."""
    for parent in _parents(root):
        try:
            if not {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
                continue
            path = parent / f"winclaw-{uuid4().hex[:12]}"
            path.mkdir()
        except OSError:
            continue
        group = Cgroup(path)
        try:
            (path / "memory.max").write_text(str((limits.max_memory_mb + _GUARDS_MB) * _MB))
            (path / "memory.oom.group").write_text("1")
            (path / "pids.max").write_text(str(_THREADS * (limits.max_processes + 2)))
        except OSError:
            group.close()
            continue
        with contextlib.suppress(OSError):
            (path / "memory.swap.max").write_text("0")
        return group
    return None


def _parents(root: Path) -> list[Path]:
    """This process's own group and the one above it: a group with processes of its own cannot limit groups below it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                own = root / line[3:].lstrip("/")
                return [own, own.parent] if own != root else [own]
    return []


def _count(file: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name} ")), 0)
    return 0
