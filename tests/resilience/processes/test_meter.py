"""What processes use is measured, shown, and held to their limits."""

from __future__ import annotations

from resilience.processes.meter import Meter
from tests.resilience.processes.conftest import Houses, process, python, until


def test_a_process_that_uses_too_much_memory_is_started_again(house: Houses) -> None:
    hog = "import time; print('up'); held = bytearray(120_000_000); time.sleep(1000)"
    winclaw = house(agent=process(python(hog), max_memory_mb=100, max_restarts=1)).start()
    meter = Meter(winclaw.supervisor, winclaw.core, every_s=0.05)
    meter.start()
    try:
        failed = winclaw.becomes("agent", "failed")
    finally:
        meter.stop()
    assert "MB of 100 allowed" in failed.why
    assert failed.why.endswith(", and was started again once within 60 s")
    stopping = next(one for one in winclaw.core.history.events(0, 100) if one.type == "process.stopping")
    assert stopping.body["because"].startswith("it used 1")


def test_what_it_uses_is_shown(house: Houses) -> None:
    winclaw = house(agent=process()).start()
    meter = Meter(winclaw.supervisor, winclaw.core, every_s=0.05)
    meter.start()
    winclaw.becomes("agent", "running")
    view = until(lambda: next((one for one in winclaw.core.view()["processes"] if one["memory_mb"]), None))
    meter.stop()
    assert 1 < view["memory_mb"] < 200
    assert view["cpu_percent"] >= 0
