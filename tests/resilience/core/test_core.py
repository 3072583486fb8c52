"""The core's turns: what waits, what is told, and who is answered."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import ConfirmationNeededError, HowIsolated, Look
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event, EventType, Heartbeat
from resilience.testing import FakeClock
from tests.resilience.core.cores import SAFE, choose, journal_of, report


def test_nobody_sees_an_event_before_it_is_on_disk(core: Core, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(events: tuple[Event, ...], _: State) -> None:
        conn = sqlite3.connect(tmp_path / "journal.db")
        seen.extend((event.id, conn.execute("SELECT count(*) FROM errors WHERE id = ?", [event.id]).fetchone()[0]) for event in events)
        conn.close()

    core.subscribe(look)
    ids = core.report([report(), report()]).result(10)
    assert seen == [(ids[0], 1), (ids[1], 1)]


def test_a_report_sent_twice_is_published_once(core: Core) -> None:
    seen: list[int] = []
    core.subscribe(lambda events, _: seen.extend(event.id for event in events))
    first = core.report([report(key="k")]).result(10)
    assert core.report([report(key="k")]).result(10) == first == seen


def test_what_waits_is_written_together(core: Core) -> None:
    journal = journal_of(core)
    journal.may_go_on.clear()
    groups: list[int] = []
    core.subscribe(lambda events, _: groups.append(len(events)))
    futures = [core.report([report()]) for _ in range(50)]
    journal.may_go_on.set()
    ids = [future.result(10)[0] for future in futures]
    assert ids == list(range(ids[0], ids[0] + 50))
    assert len(groups) <= 3


def test_a_listener_that_raises_takes_nobody_down(core: Core) -> None:
    seen: list[int] = []

    def broken(*_: object) -> None:
        raise RuntimeError("broken listener")

    core.subscribe(broken)
    core.subscribe(lambda events, _: seen.extend(event.id for event in events))
    ids = core.report([report()]).result(10)
    assert seen == ids


def test_a_subscription_ends(core: Core) -> None:
    seen: list[int] = []
    end = core.subscribe(lambda events, _: seen.extend(event.id for event in events))
    end()
    core.report([report()]).result(10)
    assert seen == []


def test_leaving_safe_mode_takes_a_confirmation(core: Core) -> None:
    choose(core, SAFE)
    for level in (None, DegradationLevel.FULL, DegradationLevel.MINIMAL):
        with pytest.raises(ConfirmationNeededError):
            choose(core, level)
    assert core.state.standing.level is SAFE
    choose(core, None, confirmed=True)
    assert core.state.standing.level is DegradationLevel.FULL


def test_too_much_waiting_is_refused_not_piled_up(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience.core.core.MAX_WAITING", 20)
    journal_of(core).may_go_on.clear()
    futures: list[Future[list[int]]] = []
    with pytest.raises(CoreBusyError):
        futures.extend(core.report([report()]) for _ in range(2000))
    journal_of(core).may_go_on.set()
    assert all(future.result(10) for future in futures)


def test_what_waits_is_written_before_it_stops(core: Core) -> None:
    futures = [core.report([report()]) for _ in range(200)]
    core.stop()
    assert all(future.result(0) for future in futures)
    with pytest.raises(CoreBusyError):
        core.report([report()])


def test_heartbeats_make_events_only_when_something_changes(core: Core, clock: FakeClock) -> None:
    for _ in range(3):
        core.beat(Heartbeat(agent="a", pid=7)).result(10)
    version = core.state.version
    clock.advance(5)
    core.beat(Heartbeat(agent="a", pid=7)).result(10)
    assert core.state.version == version
    assert [event.type for event in core.history.events(0)] == ["agent.connected"]


def test_a_silent_agent_is_lost(core: Core, clock: FakeClock) -> None:
    core.beat(Heartbeat(agent="a", pid=7)).result(10)
    version = core.state.version
    clock.advance(60)
    state = core.wait_for_change(version, 10)
    assert not state.agents[("a", 7)].alive
    assert core.history.events(0)[-1].type == EventType.AGENT_LOST


def test_a_wait_ends_with_the_change_and_with_the_core(core: Core) -> None:
    version = core.state.version
    found: list[State] = []
    waiter = threading.Thread(target=lambda: found.append(core.wait_for_change(version, 30)))
    waiter.start()
    choose(core, SAFE)
    waiter.join(10)
    assert found[0].standing.level is SAFE
    last = threading.Thread(target=core.wait_for_change, args=[core.state.version, 30])
    last.start()
    core.stop()
    last.join(10)
    assert not last.is_alive()


def test_a_defect_in_one_input_does_not_touch_the_others(core: Core) -> None:
    journal_of(core).may_go_on.clear()
    first = core.report([report()])
    bad = core.announce(EventType.APP_STARTED, "x", body=object())
    good = core.report([report()])
    journal_of(core).may_go_on.set()
    assert first.result(10)
    with pytest.raises(TypeError):
        bad.result(10)
    assert good.result(10)


def test_it_says_whether_its_thread_turns_whatever_the_disk_does(core: Core) -> None:
    """A disk that hangs is no reason to end WinClaw; a thread that is stuck is one."""
    journal_of(core).may_go_on.clear()
    waiting = core.announce(EventType.APP_STARTED, "x")
    assert core.answers(10)
    journal_of(core).may_go_on.set()
    waiting.result(10)
    stuck, freed = threading.Event(), threading.Event()

    def listen(*_: object) -> None:
        stuck.set()
        assert freed.wait(10)

    core.subscribe(listen)
    core.announce(EventType.APP_STARTED, "x")
    assert stuck.wait(10)
    assert not core.answers(0.01)
    freed.set()
    core.stop()
    assert not core.answers(10)


def test_a_look_at_the_clock_that_fails_is_logged(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for its answer, so nobody else would ever know that time stands still."""
    failed = threading.Event()
    decide = core._decisions.decide

    def broken(state: State, an_input: Any) -> Any:
        if isinstance(an_input, Look):
            failed.set()
            raise KeyError("x")
        return decide(state, an_input)

    core._decisions.decide = broken  # type: ignore[method-assign]
    assert failed.wait(10)
    assert core.report([report()]).result(10)
    assert "the core could not look at the clock" in caplog.text


def test_one_who_waits_no_longer_takes_no_answer_from_the_others(core: Core) -> None:
    """A caller may cancel what it waits for; what was written is answered to everybody else of its group."""
    journal = journal_of(core)
    journal.may_go_on.clear()
    first = core.announce(EventType.APP_STARTED, "keeps the disk busy")
    waiting = [core.report([report(message=str(number))]) for number in range(3)]
    waiting[0].cancel()
    journal.may_go_on.set()
    first.result(10)
    assert [len(one.result(10)) for one in waiting[1:]] == [1, 1]


def test_a_flood_does_not_keep_time_from_passing(core: Core) -> None:
    """Agents that are gone and isolations that are over are seen by a look, which has its turn while others wait."""
    core.switch_circuit("gmail_api", "isolate", actor="x", origin="y", how=HowIsolated(for_s=1)).result(10)
    cast("FakeClock", core.clock).advance(2)
    released = threading.Event()
    core.subscribe(lambda _, state: released.set() if not state.isolations else None)
    flooding = threading.Event()

    def flood() -> None:
        while not flooding.is_set():
            with contextlib.suppress(CoreBusyError):
                core.report([report()])

    thread = threading.Thread(target=flood)
    thread.start()
    assert released.wait(20)
    flooding.set()
    thread.join()


def test_what_is_too_much_is_deleted_faster_than_a_flood_comes_in(core: Core) -> None:
    """A chunk a second would let the file grow for as long as the flood lasts; commits have their turn between chunks."""
    journal, chunks, many = journal_of(core), list[int](), threading.Event()
    first, goes_on = threading.Event(), threading.Event()

    def forget(*_: object) -> bool:
        chunks.append(1)
        first.set()
        assert goes_on.wait(10)
        if len(chunks) == 20:
            many.set()
        return len(chunks) < 30

    journal.forget = forget  # type: ignore[method-assign]
    assert first.wait(10)
    waiting = core.report([report()])
    goes_on.set()
    assert waiting.result(10)
    assert many.wait(5)
