"""Processes that nobody has woken: on Windows each is suspended at first, and who starts it may end before it wakes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.resilience.processes.conftest import until

if sys.platform == "win32":
    from resilience.processes.windows import OF_ITS_OWN, end_group, job_around, run_helper
else:
    pytest.skip("elsewhere, a signal is sent", allow_module_level=True)

SLEEP = "import time; time.sleep(1000)"
SUSPENDED = 0x4


def running(mark: str) -> list[int]:
    """The processes with ``mark`` as their last argument."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.cmdline()[-1:] == [mark]:
                found.append(one.pid)
        except (psutil.Error, OSError):  # it ends, or begins
            continue
    return found


def test_it_says_how_a_helper_ended() -> None:
    assert run_helper([sys.executable, "-c", "raise SystemExit(7)"], 60) == 7


@pytest.mark.parametrize("flags", [0, SUSPENDED])
def test_an_overdue_helper_is_ended_from_outside_also_one_that_was_never_woken(flags: int) -> None:
    """What it would do against its own hanging, it has not done while it is suspended, as each process is at first."""
    mark = f"overdue-{flags}"
    assert run_helper([sys.executable, "-c", SLEEP, mark], 0.2, flags) is None
    until(lambda: not running(mark))


@pytest.mark.parametrize("flags", [0, SUSPENDED])
def test_who_sends_a_helper_and_is_killed_leaves_none(flags: int) -> None:
    """Also one that its sender had not woken yet."""
    mark = f"orphan-{flags}"
    code = f"""if True:
        from resilience.processes.windows import run_helper
        run_helper({[sys.executable, "-c", SLEEP, mark]!r}, 1000, {flags})"""
    with subprocess.Popen([sys.executable, "-c", code]) as sender:
        try:
            until(lambda: running(mark))
        finally:
            sender.kill()
    until(lambda: not running(mark))


def test_a_helper_that_cannot_be_started_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        run_helper(["no-such-program.exe"], 1)


def test_a_process_that_was_never_woken_runs_when_the_next_winclaw_takes_it_over(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    code = f"from pathlib import Path; Path({str(sign)!r}).touch(); {SLEEP}"
    with subprocess.Popen([sys.executable, "-c", code], **OF_ITS_OWN) as child:
        job = job_around(psutil.Process(child.pid))
        try:
            until(sign.exists)
        finally:
            end_group(child.pid, job)
