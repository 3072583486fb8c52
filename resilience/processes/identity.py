"""Which process is which. A process is known by its number and a token in its environment, which all that it starts
inherit: numbers are given out again, and children may leave their parent.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final

import psutil
from msgspec import Struct

TOKEN: Final = "WINCLAW_PROCESS"  # noqa: S105 -- a variable's name, and no secret
_SAME_MOMENT_S: Final = 0.05
_TRIES: Final = 20


class Identity(Struct, frozen=True):
    """Which process: ``started`` is when the system says that it did, in seconds since 1970."""

    pid: int
    started: float
    token: str

    def find(self) -> psutil.Process | None:
        """The process, if it still runs and is no other of the same number.

        It must have the token. One that hides its environment, as programs do that write a title over it, must have
        started at this very moment; of the others that is not asked, for it moves when the system's clock is set.
        """
        try:
            found = psutil.Process(self.pid)
            token = token_of(found)
            same = token == self.token if token is not None else abs(found.create_time() - self.started) < _SAME_MOMENT_S
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def carriers(beginning: str) -> dict[str, list[psutil.Process]]:
    """This user's processes, by their token, as far as that begins so; the oldest first."""
    found: dict[str, list[psutil.Process]] = {}
    for one in psutil.process_iter():
        token = token_of(one) if one.pid != os.getpid() else None
        if token is not None and token.startswith(beginning):
            found.setdefault(token, []).append(one)
    return {token: sorted(some, key=_started) for token, some in found.items()}


def end_carriers(token: str) -> None:
    """Kills whatever has ``token``."""
    end_all(lambda: [one for one in carriers(token).get(token, []) if _is_alive(one)])


def end_all(find: Callable[[], list[psutil.Process]]) -> None:
    """Kills what ``find`` finds, again and again until that is nothing, for it may go on starting others.

    On Windows what has just begun cannot be looked at yet; it is known by its parent, which starts no more once it is held.
    """
    for _ in range(_TRIES):
        if not (left := find()):
            return
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.suspend()
                if sys.platform == "win32":
                    left += [child for child in one.children() if child not in left and child.pid != os.getpid()]
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(left, timeout=0.5)


def token_of(process: psutil.Process) -> str | None:
    """The token in a process's environment; None where it has none, or nobody may look."""
    try:
        return process.environ().get(TOKEN)
    except (psutil.Error, OSError, ValueError):
        return None


def identity_of(process: psutil.Process, token: str) -> Identity | None:
    """Which process this is; None if it has ended."""
    try:
        return Identity(process.pid, process.create_time(), token)
    except psutil.Error:
        return None


def _started(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return 0.0


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
