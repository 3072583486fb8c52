"""What is measured, of real processes and of this machine; and what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from resilience.clock import SystemClock
from resilience.detection import metrics
from resilience.detection.anomaly_watch import AnomalyWatch
from resilience.detection.metrics import TreeMeter, TreeUse, machine_use
from tests.resilience.processes.conftest import House, until

HOG = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; x = bytearray(60_000_000); print(1, flush=True); time.sleep(1000)'])\n"
    "time.sleep(1000)\n"
)


def test_a_tree_is_measured_with_all_that_it_has_started() -> None:
    with subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            use = TreeMeter(SystemClock()).look({"hog": child.pid})["hog"]
        finally:
            for one in [*psutil.Process(child.pid).children(recursive=True), child]:
                one.kill()
    assert use.memory_mb > 60
    assert use.processes >= 2


def test_who_is_older_than_its_parent_is_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows an orphan's parent is named by a number that was given out again."""
    with subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        head = psutil.Process(child.pid)
        below = {number: [one.pid for one in psutil.Process(number).children()] for number in (head.pid, *(one.pid for one in head.children()))}
        stranger = psutil.Process().pid
        try:
            monkeypatch.setattr(metrics, "_children", lambda: below)
            whole = TreeMeter(SystemClock()).look({"hog": head.pid})["hog"].processes
            monkeypatch.setattr(metrics, "_children", lambda: {number: [stranger, *some] for number, some in below.items()})
            assert TreeMeter(SystemClock()).look({"hog": head.pid})["hog"].processes == whole
        finally:
            for one in [*head.children(recursive=True), child]:
                one.kill()
    assert whole >= 2


def test_cpu_is_measured_from_look_to_look() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        meter = TreeMeter(SystemClock())
        try:
            assert meter.look({"busy": child.pid})["busy"].cpu_percent == 0
            until(lambda: meter.look({"busy": child.pid})["busy"].cpu_percent > 10)
        finally:
            child.kill()


def test_what_has_ended_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert TreeMeter(SystemClock()).look({"gone": child.pid}) == {}


def test_the_machine_is_measured() -> None:
    found = machine_use()
    assert 0 <= found["cpu_percent"] <= 100
    assert 0 < found["memory_percent"] < 100


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, {})


def test_what_is_unusual_is_announced_once_and_its_end_too(house: House) -> None:
    uses = {"agent": TreeUse(200.0, 5.0, 1)}
    watch = AnomalyWatch(lambda: uses, house.core, lambda: {"cpu_percent": 10.0, "memory_percent": 40.0})
    for _ in range(30):
        watch.look()
    uses["agent"] = TreeUse(900.0, 5.0, 1)
    for _ in range(5):
        watch.look()
    uses["agent"] = TreeUse(210.0, 5.0, 1)
    for _ in range(5):
        watch.look()
    told = until(lambda: len(found := house.core.history.events(0, 100)) == 2 and found)
    house.stop()
    assert [(one.type, one.component, one.body["metric"]) for one in told] == [
        ("anomaly.began", "agent", "memory_mb"), ("anomaly.ended", "agent", "memory_mb"),
    ]  # fmt: skip
    assert (told[0].body["value"], told[0].body["low"], told[0].body["high"]) == (900.0, 100.0, 300.0)
