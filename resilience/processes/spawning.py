"""Starting a program, waiting for its end, ending it with everything that it has started.

WinClaw's own end does not touch it: its output goes to a file from birth, it is in a session or job of its own, and the
next WinClaw takes it over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from resilience import home
from resilience.processes.identity import TOKEN, Identity, end_carriers, token_of
from resilience.processes.output import OUTPUT
from resilience.processes.policy import Process

if sys.platform == "win32":
    from resilience.processes import windows as system
else:
    from resilience.processes import posix as system


class Running:
    """A program that was started here, or taken over from the WinClaw before."""

    def __init__(self, identity: Identity, child: subprocess.Popen[bytes] | None, job: object = None) -> None:
        self.identity, self._child, self._job = identity, child, job

    def wait(self) -> int | None:
        """Waits for its end, told by the system; returns the exit code (negative: a signal), None where nobody can tell.

        What it has left behind in its group or job ends with it; ``sweep`` finds what has gone elsewhere.
        """
        if self._child is not None:
            return system.wait_for(self._child, self._job)
        return system.wait_for_stranger(self.identity)

    def ask_to_stop(self, signal_name: str) -> None:
        """Asks it and its group to end; nothing happens where it has ended already."""
        if self.identity.find() is not None:
            system.ask_to_stop(self.identity.pid, signal_name)

    def kill(self) -> None:
        """Ends it and everything that carries its token, wherever that has gone, without asking."""
        if self.identity.find() is not None:
            system.end_group(self.identity.pid, self._job)
        self.sweep()

    def sweep(self) -> None:
        """Ends everything that carries its token; a few milliseconds where there is nothing."""
        end_carriers(self.identity.token)


def start(policy: Process, folder: Path, winclaw_home: Path, token: str) -> Running:
    """Starts a process; its output goes to the end of a file in ``folder``, which is its own, and it reads from nothing.

    Raises:
        Exception: it cannot be started; an OSError, or on Windows whatever its library raises.
    """
    work = home.make_private_folder(folder / "work")
    with system.appending(folder / OUTPUT) as file:
        child = subprocess.Popen(
            list(policy.command), env={**_environment(policy, winclaw_home), TOKEN: token}, cwd=policy.folder or work,
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, close_fds=True, **system.OF_ITS_OWN,
        )  # fmt: skip
    try:
        job = system.job_for(child)
    except Exception:  # it is not to be left behind half started
        child.kill()
        child.wait()
        raise
    try:
        started = psutil.Process(child.pid).create_time()
    except psutil.Error:  # it has ended already
        started = 0.0
    return Running(Identity(child.pid, started, token), child, job)


def take_over(identity: Identity) -> Running | None:
    """The program of an earlier WinClaw, if it still runs."""
    found = identity.find()
    return None if found is None else Running(identity, None, system.job_around(found))


def wait_for_end(pid: int) -> int | None:
    """Waits for the end of any process, told by the system; returns its exit code, None where that is not told to strangers."""
    try:
        process = psutil.Process(pid)
        identity = Identity(pid, process.create_time(), token_of(process) or "")
    except psutil.Error:  # it has ended already
        return None
    return system.wait_for_stranger(identity)


def _environment(policy: Process, winclaw_home: Path) -> dict[str, str]:
    """The variables that a process is born with: WinClaw's own, where it finds WinClaw, and those of its configuration.

    Raises:
        ValueError: one is to be taken from a variable that WinClaw does not have.
    """
    own = {**os.environ, "WINCLAW_HOME": str(winclaw_home)}
    for name, value in policy.environment.items():
        if value.startswith("env:") and value[4:] not in os.environ:
            raise ValueError(f"its {name} comes from the variable {value[4:]}, which WinClaw does not have")
        own[name] = os.environ[value[4:]] if value.startswith("env:") else value
    return own


def why_not(policy: Process, error: Exception) -> str:
    """Why a process could not be started, for people."""
    if isinstance(error, OSError) and policy.folder is not None and not Path(policy.folder).is_dir():
        return f"there is no folder {policy.folder}"
    if isinstance(error, FileNotFoundError):
        return f"there is no program {policy.command[0]!r}; give its whole path"
    return f"it could not be started: {error}"
