"""A sample a minute, of the machine and of each service, in the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from resilience.core.core import Core
from resilience.detection.call_counts import Calls
from resilience.detection.sampler import MAX_SERVICES, Sampler
from resilience.events import CircuitReport, Heartbeat
from resilience.journal.samples import KEPT, Sample, minute_of
from resilience.testing import FakeClock
from tests.resilience.core.conftest import clock, core, start  # noqa: F401 -- fixtures
from tests.resilience.core.cores import report
from tests.resilience.journal.journals import edit, rows


class Desk:
    """A core with an agent that counts its calls, and a sampler that looks when it is told to."""

    def __init__(self, core: Core, clock: FakeClock) -> None:  # noqa: F811
        self.core, self.clock = core, clock
        self.values: dict[tuple[str, str], float] = {}
        self.sampler = Sampler(core, lambda: self.values)
        self.first = minute_of(clock.now())

    def beat(self, agent: str = "a", pid: int | None = 1, **calls: tuple[int, int, float]) -> None:
        """Has an agent tell of so many calls and failures since it began, and of its p95, by service."""
        circuits = tuple(
            CircuitReport(service=name, state="CLOSED", calls=made, failures=failed, p95_ms=p95) for name, (made, failed, p95) in calls.items()
        )
        self.core.beat(Heartbeat(agent=agent, pid=pid, circuits=circuits)).result(10)

    def machine(self, cpu: float, memory: float) -> None:
        self.values = {("machine", "cpu_percent"): cpu, ("machine", "memory_percent"): memory, ("gateway", "memory_mb"): 4.0}

    def after(self, seconds: float) -> None:
        """Looks again so much later."""
        self.clock.advance(seconds)
        self.sampler.look()

    def stored(self) -> list[tuple[int, Sample]]:
        return [(minute - self.first, one) for minute, one in self.core.history.samples(0, 2**40)]


@pytest.fixture
def desk(core: Core, clock: FakeClock) -> Desk:  # noqa: F811
    clock.advance(60 - clock.now().timestamp() % 60)  # to where a minute begins
    return Desk(core, clock)


def test_a_minute_is_written_when_the_next_one_has_begun(desk: Desk) -> None:
    desk.machine(10, 50)
    desk.beat(gpt=(100, 10, 5.0))
    desk.sampler.look()
    desk.beat(gpt=(104, 11, 7.0), gmail=(2, 0, 90.0))
    desk.machine(20, 60)
    desk.after(55)
    assert desk.stored() == []
    desk.beat(gpt=(105, 11, 6.0), gmail=(2, 0, 90.0))
    desk.machine(30, 70)
    desk.after(5)
    assert desk.stored() == [
        (0, Sample("gmail", calls=2, failures=0, p95_ms=90.0)), (0, Sample("gpt", calls=5, failures=1, p95_ms=7.0)), (0, Sample("machine", 20.0, 60.0)),
    ]  # fmt: skip
    desk.after(60)
    assert [one for minute, one in desk.stored() if minute == 1] == [Sample("machine", 30.0, 70.0)], "who calls nothing has no row"


def test_what_was_called_lately_is_known_at_once_and_forgotten_after_a_minute(desk: Desk) -> None:
    desk.beat(gpt=(0, 0, 1.0))
    desk.sampler.look()
    desk.beat(gpt=(6, 3, 9.0))
    desk.after(5)
    assert desk.sampler.lately == {"gpt": Calls(6, 3, 9.0)}
    desk.beat(gpt=(8, 3, 4.0))
    desk.after(5)
    assert desk.sampler.lately == {"gpt": Calls(8, 3, 9.0)}
    desk.after(55)
    assert desk.sampler.lately == {"gpt": Calls(2, 0, 4.0)}
    desk.after(5)
    assert desk.sampler.lately == {}


def test_charts_survive_a_restart_and_nothing_is_counted_twice(start: Callable[[], Core], clock: FakeClock, tmp_path: Path) -> None:  # noqa: F811
    clock.advance(60 - clock.now().timestamp() % 60)
    first = Desk(start(), clock)
    first.beat()
    first.sampler.look()
    first.beat(gpt=(50, 5, 1.0))
    first.after(60)
    first.core.stop()
    second = Desk(start(), clock)
    second.beat(gpt=(70, 5, 1.0))
    second.sampler.look()
    second.beat(gpt=(71, 5, 1.0))
    second.after(60)
    assert [(minute + 1, one.calls) for minute, one in second.stored()] == [(0, 50), (1, 1)]


def test_of_many_services_those_are_kept_that_are_called_most(desk: Desk) -> None:
    desk.beat()
    desk.sampler.look()
    desk.beat(**{f"s{number:03}": (number + 1, 0, 1.0) for number in range(MAX_SERVICES + 20)})
    desk.after(60)
    kept = [one.component for _, one in desk.stored()]
    assert kept == [f"s{number:03}" for number in range(20, MAX_SERVICES + 20)]


def test_a_service_may_be_called_as_the_machine_is(desk: Desk) -> None:
    desk.beat()
    desk.sampler.look()
    desk.machine(10, 50)
    desk.beat(machine=(3, 1, 2.0))
    desk.after(60)
    assert desk.stored() == [(0, Sample("machine", 10.0, 50.0, 3, 1, 2.0))]


def test_what_is_older_than_a_week_is_forgotten(desk: Desk) -> None:
    desk.machine(10, 50)
    desk.sampler.look()
    desk.after(60)
    desk.after(KEPT.total_seconds())
    assert [minute for minute, _ in desk.stored()] == [1]
    desk.after(60)
    assert [minute for minute, _ in desk.stored()] == [KEPT.days * 24 * 60 + 1]


def test_a_minute_that_cannot_be_written_is_lost_and_nothing_else(desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.db"
    edit(path, "CREATE TRIGGER full BEFORE INSERT ON samples BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
    desk.machine(10, 50)
    desk.sampler.look()
    with caplog.at_level(logging.WARNING):
        desk.after(60)
    assert "what was measured in a minute is lost" in caplog.text
    assert desk.core.report([report()]).result(10)
    assert desk.core.state.notices == ()
    edit(path, "DROP TRIGGER full")
    desk.after(60)
    assert rows(path, "SELECT count(*) FROM samples") == [(1,)]


def test_a_core_that_ends_takes_no_more(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.machine(10, 50)
    desk.sampler.look()
    desk.core.stop()
    desk.after(60)
    assert "WinClaw is not running" in caplog.text
