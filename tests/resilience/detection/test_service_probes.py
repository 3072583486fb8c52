"""What WinClaw's own probes of services tell the core, and tell again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.core import CoreBusyError
from resilience.core.inputs import ProbeTold
from resilience.core.state import State
from resilience.degradation.levels import at_first
from resilience.detection.policy import Probe
from resilience.detection.service_probes import ServiceProbes
from resilience.detection.status import ProbeStatus
from resilience.journal.journal import JournalError
from resilience.testing import FakeClock

CLOCK = FakeClock()
SETTINGS = Settings(services={"store": Service(probe=Probe(tcp="127.0.0.1:1"))})
WELL, ILL = ProbeStatus(well=True, what="it took a connection"), ProbeStatus(well=False, what="refused", failing_s=0.0)


class World:
    """Stands in for the core and the prober: what is probed is found as the test says."""

    def __init__(self) -> None:
        self.state = State(standing=at_first(CLOCK.now()), settings=SETTINGS)
        self.told: list[bool] = []
        self.errors = 0
        self.answers: list[Future[Any]] = []
        self.is_busy = False
        self.find: Callable[[ProbeStatus], None]

    def subscribe(self, _: Any) -> Callable[[], None]:
        return lambda: None

    def tell(self, an_input: ProbeTold) -> Future[Any]:
        if self.is_busy:
            raise CoreBusyError("too much is waiting")
        assert an_input.found is not None
        self.told.append(an_input.found.well)
        self.answers.append(Future())
        return self.answers[-1]

    def report(self, _: Any) -> None:
        self.errors += 1

    def watch(self, _name: str, _probe: Probe, tell: Callable[[ProbeStatus], None], *, interval_s: float) -> None:
        assert interval_s > 0
        self.find = tell


@pytest.fixture
def world() -> World:
    one = World()
    ServiceProbes(one, one, CLOCK).start()  # type: ignore[arg-type]
    return one


def test_what_was_configured_last_is_watched_whoever_came_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core commits another configuration at the moment when the first one is about to be taken."""
    probes, watched = ServiceProbes(world, world, CLOCK), dict[str, Probe]()  # type: ignore[arg-type]
    monkeypatch.setattr(world, "watch", lambda name, probe, tell, interval_s: watched.update({name: probe}))
    lock, later = probes._changing, Settings(services={"store": Service(probe=Probe(tcp="127.0.0.1:2"))})

    class JustBefore:
        def __enter__(self) -> None:
            monkeypatch.setattr(probes, "_changing", lock)
            world.state = replace(world.state, settings=later)
            probes._heard((), world.state)
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr(probes, "_changing", JustBefore())
    probes.start()
    probes._heard((), world.state)
    assert [probe.tcp for name, probe in watched.items() if "store" in name] == ["127.0.0.1:2"]


def test_only_a_change_is_told_and_only_what_fails_is_an_error(world: World) -> None:
    for status in (WELL, WELL, ILL, ILL, WELL):
        world.find(status)
    assert world.told == [True, False, True]
    assert world.errors == 1


def test_what_the_disk_refused_is_told_again_with_the_next_look(world: World) -> None:
    """Else a circuit would stay closed before a service that everybody can see is down."""
    world.find(ILL)
    world.answers[0].set_exception(JournalError("full"))
    world.find(ILL)
    world.answers[1].set_result([1])
    world.find(ILL)
    assert world.told == [False, False]


def test_what_a_busy_core_did_not_hear_is_told_again_with_the_next_look(world: World) -> None:
    world.is_busy = True
    world.find(ILL)
    world.is_busy = False
    world.find(ILL)
    assert world.told == [False]
