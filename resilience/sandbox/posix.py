"""A sandboxed program on Linux and other POSIX systems: behind a guard, in a session of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from resilience.processes import posix as system
from resilience.processes.identity import TOKEN, end_carriers
from resilience.sandbox import cgroup
from resilience.sandbox.limits import ResourceLimits

assert sys.platform != "win32"

_MB: Final = 1024 * 1024
_GUARD: Final = Path(__file__).with_name("guard.py")
COUNTS_HEAD: Final = False
_PATIENCE_S: Final = 2.0
_MOST_TOLD: Final = 65_536  # what a pipe holds


class Child:
    """A program that runs behind its guard."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, limits: ResourceLimits, *, network: bool
    ) -> None:
        self._token = f"sandbox:{os.getpid()}:{uuid4().hex}"
        self._group = cgroup.make(limits) if sys.platform == "linux" else None
        with ExitStack() as theirs, ExitStack() as failed:
            failed.callback(self._leave_group)
            told_alive, self._alive = _pipe(theirs, failed)
            self._report, told_report = _pipe(failed, theirs)
            told = {
                "cgroup": str(self._group.path) if self._group is not None else None,
                "alive": told_alive.fileno(), "report": told_report.fileno(), "command": list(command), "network": network,
                "rlimits": {  # what the watcher would name at its next look; these hold until then
                    "RLIMIT_CPU": math.ceil(limits.max_cpu_seconds), "RLIMIT_NOFILE": 2 * limits.max_file_descriptors,
                    "RLIMIT_FSIZE": limits.max_disk_io_mb * _MB, "RLIMIT_DATA": 2 * limits.max_memory_mb * _MB, "RLIMIT_CORE": 0,
                },
            }  # fmt: skip
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), json.dumps(told)], env={**environment, TOKEN: self._token}, cwd=folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=(told_alive.fileno(), told_report.fileno()), **system.OF_ITS_OWN,
            )  # fmt: skip
            failed.pop_all()

    def hit(self) -> str | None:
        """The limit that the kernel says it has enforced, for which nothing needs to be measured."""
        return self._group.hit() if self._group is not None else None

    def strike(self) -> None:
        """Ends everything at once, where the system can; a storm grows faster than its processes can be named."""
        if self._group is not None:
            self._group.kill()

    def end(self) -> None:
        """Has the guard end everything; where the guard is gone, looks for what it has left."""
        self._alive.close()
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            system.end_group(self.process.pid, None)
            self.process.wait()

    def outcome(self) -> dict[str, Any]:
        """How it ended, as the guard tells. If it has not, ``code`` is None, and what it has left is ended. All is closed then.

        Raises:
            OSError: the program could not be started.
        """
        self._alive.close()
        os.set_blocking(self._report.fileno(), False)  # the guard has ended; what it has left may hold the other end for ever
        text = self._report.read(_MOST_TOLD) or b""
        self._report.close()
        told: dict[str, Any] = {}
        self._leave_group()
        with suppress(ValueError):
            told = json.JSONDecoder().raw_decode(text.decode())[0]  # what is told first: why it could not start
        if "errno" in told:
            raise OSError(told["errno"], told["message"])
        if not told:
            system.end_group(self.process.pid, None)
            end_carriers(self._token)
            return {"code": None, "cpu_s": 0.0, "peak_kb": 0, "network_cut_off": False}
        if sys.platform == "darwin":
            told["peak_kb"] /= 1024
        return told

    def _leave_group(self) -> None:
        """Ends the control group with all that is left in it."""
        group, self._group = self._group, None
        if group is not None:
            group.close()


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """A pipe, where to read and where to write; each end is closed with its stack."""
    reads, writes = os.pipe()
    return reader.enter_context(os.fdopen(reads, "rb", 0)), writer.enter_context(os.fdopen(writes, "wb", 0))
