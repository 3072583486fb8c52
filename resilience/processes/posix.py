"""Programs on POSIX: each in a session of its own, whose group ends with it; its end is told by the kernel."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

import psutil

from resilience.processes.identity import Identity

assert sys.platform != "win32"

_POLL_S: Final = 0.2
OF_ITS_OWN: Final[dict[str, Any]] = {"start_new_session": True}


def appending(path: Path) -> IO[bytes]:
    """``path``, open so that whatever writes to it writes at its end, also after somebody has emptied it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)


def job_for(child: subprocess.Popen[bytes]) -> object:  # noqa: ARG001 -- here the session is what holds it together
    """Nothing."""
    return None


def job_around(process: psutil.Process) -> object:  # noqa: ARG001
    """Nothing."""
    return None


def wait_for(child: subprocess.Popen[bytes], job: object) -> int:  # noqa: ARG001
    """The exit code of a child, when it and the rest of its group have ended."""
    # While its end is only looked at, and not yet taken, its number cannot be given to another process or group.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    end_group(child.pid, None)
    return child.wait()


def wait_for_stranger(identity: Identity) -> int | None:
    """Waits for the end of what is no child of ours; nobody tells its exit code."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(identity.pid)
            try:
                if identity.find() is not None:
                    poll = select.poll()
                    poll.register(fd, select.POLLIN)
                    poll.poll()
            finally:
                os.close(fd)
            return None
    while (found := identity.find()) is not None:
        with contextlib.suppress(psutil.TimeoutExpired):
            found.wait(_POLL_S)
    return None


def ask_to_stop(pid: int, signal_name: str) -> None:
    """Sends a signal to a process and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, getattr(signal, f"SIG{signal_name}"))


def end_group(pid: int, job: object) -> None:  # noqa: ARG001
    """Kills a process and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
