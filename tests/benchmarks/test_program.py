"""What the program, with its guardian, costs: to start, to import, to leave running, to be killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.program import Program

START_S, IMPORT_MS, IDLE_SHARE, MEMORY_MB = 1.5, 60, 0.005, 100


@pytest.mark.benchmark
def test_it_answers_soon_after_the_start_and_is_quiet_when_idle(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", port=25000, guarded=True)
    began = time.perf_counter()
    program.start()
    started_s = time.perf_counter() - began
    both = [psutil.Process(program.process.pid), psutil.Process(program.pid)]

    def used_s() -> float:
        return sum(times.user + times.system for times in (one.cpu_times() for one in both))

    threading.Event().wait(3)  # what starting leaves behind is over
    before_s = used_s()
    threading.Event().wait(15)
    idle = (used_s() - before_s) / 15
    memory_mb = sum(one.memory_info().rss for one in both) / 1e6
    killed = program.pid
    both[1].kill()
    began = time.perf_counter()
    while program.pid in (None, killed) or not program.answers():
        threading.Event().wait(0.005)
    back_s = time.perf_counter() - began
    program.stop()
    print(f"\nkilled with -9, it answers again after {back_s:.2f} s")
    print(f"answers after {started_s:.2f} s (under {START_S}); idle {idle:.2%} of a core (under {IDLE_SHARE:.1%}), {memory_mb:.0f} MB (under {MEMORY_MB})")
    assert started_s < START_S
    assert idle < IDLE_SHARE
    assert memory_mb < MEMORY_MB


@pytest.mark.benchmark
def test_importing_the_library_is_cheap() -> None:
    timed = "import time; began = time.perf_counter(); import resilience; print((time.perf_counter() - began) * 1000)"
    times = sorted(float(subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True).stdout) for _ in range(15))
    print(f"\nimport resilience: {times[7]:.0f} ms (under {IMPORT_MS})")
    assert times[7] < IMPORT_MS
