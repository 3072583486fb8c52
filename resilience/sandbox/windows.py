"""A sandboxed program on Windows: in a job that limits it, and ends with whoever holds it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from resilience.processes.identity import TOKEN, end_carriers
from resilience.sandbox.limits import ResourceLimits

assert sys.platform == "win32"

import pywintypes  # noqa: E402 -- only Windows has them
import win32job  # noqa: E402

from resilience.processes import windows as system  # noqa: E402

_MB: Final = 1024 * 1024
_TICKS: Final = 10_000_000
COUNTS_HEAD: Final = True


class Child:
    """A program that runs in a job of its own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, limits: ResourceLimits, *, network: bool
    ) -> None:
        del network  # Windows cuts nobody off; it is watched
        self._token = f"sandbox:{os.getpid()}:{uuid4().hex}"
        self.process = subprocess.Popen(
            list(command), env={**environment, TOKEN: self._token}, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, close_fds=True, **system.OF_ITS_OWN,
        )  # fmt: skip
        self._job = system.job_for(self.process, _limited_job(limits))

    def hit(self) -> str | None:
        """None: a job does not say which limit it has enforced."""
        return None

    def strike(self) -> None:
        """Ends everything in its job at once; a storm grows faster than its processes can be named."""
        system.end_group(self.process.pid, self._job)

    def end(self) -> None:
        """Ends it and everything in its job."""
        self.strike()
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()

    def outcome(self) -> dict[str, Any]:
        """How it ended; what it has left behind ends now."""
        cpu_s, peak_kb = 0.0, 0.0
        with contextlib.suppress(pywintypes.error):
            used = win32job.QueryInformationJobObject(self._job, win32job.JobObjectBasicAccountingInformation)
            cpu_s = (used["TotalUserTime"] + used["TotalKernelTime"]) / _TICKS
            limits = win32job.QueryInformationJobObject(self._job, win32job.JobObjectExtendedLimitInformation)
            peak_kb = limits["PeakJobMemoryUsed"] / 1024
        system.end_group(self.process.pid, self._job)
        end_carriers(self._token)
        return {"code": self.process.returncode, "cpu_s": cpu_s, "peak_kb": peak_kb, "network_cut_off": False}


def _limited_job(limits: ResourceLimits) -> Any:
    job = win32job.CreateJobObject(None, "")
    told = win32job.QueryInformationJobObject(job, win32job.JobObjectExtendedLimitInformation)
    basic = told["BasicLimitInformation"]
    basic["LimitFlags"] = (
        win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        | win32job.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
        | win32job.JOB_OBJECT_LIMIT_JOB_MEMORY
        | win32job.JOB_OBJECT_LIMIT_ACTIVE_PROCESS
        | win32job.JOB_OBJECT_LIMIT_JOB_TIME
    )
    basic["ActiveProcessLimit"] = limits.max_processes + 1  # the watcher names what is past the limit; this holds until then
    basic["PerJobUserTimeLimit"] = int((limits.max_cpu_seconds + 1) * _TICKS)
    told["JobMemoryLimit"] = 2 * limits.max_memory_mb * _MB
    with contextlib.suppress(pywintypes.error):
        win32job.SetInformationJobObject(job, win32job.JobObjectExtendedLimitInformation, told)
    return job
