"""The prober keeps looking, tells what it finds, and forgets at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from resilience.clock import Clock, SystemClock
from resilience.detection.policy import Probe
from resilience.detection.prober import Prober
from resilience.detection.status import Outcome, ProbeStatus

PROBE = Probe(tcp="127.0.0.1:1", interval_s=0.1)


class Script:
    """Looks that find what the test puts in."""

    def __init__(self) -> None:
        self.found: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()

    def __call__(self, probe: Probe, clock: Clock) -> Outcome:
        found = self.found.get()
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def prober(script: Script) -> Iterator[Prober]:
    one = Prober(SystemClock(), script)
    yield one
    one.stop()
    for _ in range(10):
        script.found.put(Outcome(True, 0, ""))


def test_it_tells_what_each_look_found(prober: Prober, script: Script) -> None:
    told: queue.SimpleQueue[ProbeStatus] = queue.SimpleQueue()
    prober.watch("one", PROBE, told.put, interval_s=1)
    for ok in (True, False, False, True):
        script.found.put(Outcome(ok, 0.0, "seen"))
    assert [told.get(timeout=10).well for _ in range(4)] == [True, True, False, True]


def test_a_look_that_breaks_and_a_listener_that_breaks_end_nothing(prober: Prober, script: Script) -> None:
    told: queue.SimpleQueue[bool | None] = queue.SimpleQueue()

    def tell(status: ProbeStatus) -> None:
        told.put(status.well)
        raise RuntimeError("the listener is broken")

    prober.watch("one", PROBE, tell, interval_s=1)
    script.found.put(RuntimeError("the look is broken"))
    script.found.put(Outcome(True, 0.0, "seen"))
    script.found.put(Outcome(True, 0.0, "seen"))
    assert [told.get(timeout=10), told.get(timeout=10)] == [True, True]


def test_what_is_forgotten_is_told_no_more_even_of_a_look_under_way(script: Script) -> None:
    under_way, go_on, told = threading.Event(), threading.Event(), []

    def ask(probe: Probe, clock: Clock) -> Outcome:
        under_way.set()
        assert go_on.wait(10)
        return Outcome(True, 0.0, "late")

    prober = Prober(SystemClock(), ask)
    prober.watch("one", PROBE, told.append, interval_s=1)
    thread = next(one for one in threading.enumerate() if one.name == "probe-one")
    assert under_way.wait(10)
    prober.forget("one")
    go_on.set()
    thread.join(10)
    assert told == []


def test_one_that_hangs_delays_no_other(script: Script) -> None:
    hangs, told = threading.Event(), threading.Event()

    def ask(probe: Probe, clock: Clock) -> Outcome:
        if probe.process:
            hangs.wait(10)
        return Outcome(True, 0.0, "seen")

    prober = Prober(SystemClock(), ask)
    for number in range(20):
        prober.watch(f"hangs-{number}", Probe(process="x"), lambda _: None, interval_s=1)
    prober.watch("other", PROBE, lambda _: told.set(), interval_s=1)
    assert told.wait(10)
    hangs.set()
    prober.stop()
