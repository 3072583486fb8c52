"""Ending what goes on starting others."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from resilience.processes.identity import end_all
from tests.resilience.processes.conftest import TREE, is_alive


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere, what has just begun is found by what it has inherited")
def test_what_is_found_is_ended_with_what_it_has_started_which_nobody_finds_yet() -> None:
    with subprocess.Popen(TREE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        end_all(lambda: [psutil.Process(parent.pid)] if parent.poll() is None else [])
        assert [pid for pid in children if is_alive(pid)] == []


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere, a signal is sent")
def test_the_program_is_its_own_helper_where_ctrl_break_is_pressed_and_says_if_it_could_not() -> None:
    nobody = max(psutil.pids()) + 40_000
    assert subprocess.run([sys.executable, "-m", "tray", "--send-break", str(nobody)], check=False).returncode == 1
