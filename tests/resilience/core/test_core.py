from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import ConfirmationNeededError, HowIsolated
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event, EventType, Heartbeat, Report
from resilience.journal.history import ErrorFilter, History
from resilience.journal.journal import Journal, JournalError, Written
from resilience.journal.schema import Record
from resilience.redaction import Redactor
from resilience.testing import FakeClock

SAFE = DegradationLevel.SAFE_MODE


class BrittleJournal(Journal):
    """A real journal whose commit can be made to fail, or to wait."""

    failure: Exception | None = None
    may_go_on = threading.Event()
    may_go_on.set()

    def commit(self, records: Any, state: Any = None) -> list[Written]:
        assert self.may_go_on.wait(10)
        if self.failure is not None:
            raise JournalError("the disk says no") from self.failure
        return super().commit(records, state)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Core]]:
    started: list[Core] = []

    def start_one() -> Core:
        journal = BrittleJournal(tmp_path / "journal.db", clock.now())
        journal.may_go_on = threading.Event()
        journal.may_go_on.set()
        core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock)
        core.start()
        started.append(core)
        return core

    yield start_one
    for core in started:
        core.stop()
        core.history.close()


@pytest.fixture
def core(start: Callable[[], Core]) -> Core:
    return start()


def journal_of(core: Core) -> BrittleJournal:
    journal = core._journal
    assert isinstance(journal, BrittleJournal)
    return journal


def report(**changes: Any) -> Report:
    return Report(**{"type": "TimeoutError", "message": "late", "component": "gpt-5.2", "operation": "ask", **changes})


def choose(core: Core, level: DegradationLevel | None, *, confirmed: bool = False) -> list[int]:
    return core.set_level(level, actor="test", origin="here", confirmed=confirmed).result(10)


def break_root(path: Path, table: str) -> None:
    """Overwrites the page that a table begins with."""
    conn = sqlite3.connect(path)
    root = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0]
    size = conn.execute("PRAGMA page_size").fetchone()[0]
    conn.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


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


def test_secrets_never_reach_the_journal(core: Core, tmp_path: Path) -> None:
    secret = "sk-live-abcdefghijklmnopqrst"
    chain = {"type": "OSError", "message": secret, "metadata": {"authorization": "abcdef", "text": secret}}
    core.report(
        [report(message=f"key {secret}", stack=f"x = '{secret}'", metadata={"api_key": "abcdef"}, cause=_cause(chain))]
    ).result(10)
    core.stop()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert b"abcdef" not in stored


def _cause(said: dict[str, Any]) -> Any:
    import msgspec

    from resilience.events import Cause

    return msgspec.convert(said, Cause)


def test_safe_mode_is_on_disk_before_it_is_shown_and_in_the_audit_log(core: Core, tmp_path: Path) -> None:
    stored: list[str] = []

    def look(_: object, state: State) -> None:
        if state.standing.level is SAFE:
            conn = sqlite3.connect(tmp_path / "journal.db")
            stored.append(conn.execute("SELECT value FROM state WHERE name = 'standing'").fetchone()[0])
            conn.close()

    core.subscribe(look)
    choose(core, SAFE)
    assert len(stored) == 1
    assert '"level":5' in stored[0]
    events = core.history.events(0)
    assert [(event.type, event.body.get("actor"), event.body.get("origin")) for event in events][-2:] == [
        ("command", "test", "here"),
        ("level.changed", None, None),
    ]


def test_safe_mode_survives_a_restart(start: Callable[[], Core]) -> None:
    first = start()
    choose(first, SAFE)
    first.stop()
    second = start()
    assert second.state.standing.level is SAFE
    assert second.state.standing.pinned


def test_leaving_safe_mode_takes_a_confirmation(core: Core) -> None:
    choose(core, SAFE)
    for level in (None, DegradationLevel.FULL, DegradationLevel.MINIMAL):
        with pytest.raises(ConfirmationNeededError):
            choose(core, level)
    assert core.state.standing.level is SAFE
    choose(core, None, confirmed=True)
    assert core.state.standing.level is DegradationLevel.FULL


def test_when_the_disk_refuses_nothing_is_acknowledged_and_the_user_is_told(core: Core) -> None:
    journal_of(core).failure = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(JournalError):
        core.report([report()]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal"]
    assert "Safe Mode" not in core.state.notices[0].action, "it is off"
    journal_of(core).failure = None
    assert core.report([report()]).result(10)
    assert core.state.notices == ()


def test_safe_mode_holds_even_if_the_disk_refuses_and_is_written_when_it_can_be(core: Core, start: Callable[[], Core]) -> None:
    """The off switch must work on a full disk; it says that it would not survive a restart."""
    journal_of(core).failure = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(JournalError):
        choose(core, SAFE)
    assert core.state.standing.level is SAFE
    assert "would not survive a restart" in core.state.notices[0].action
    journal_of(core).failure = None
    core.report([report()]).result(10)
    core.stop()
    assert start().state.standing.level is SAFE


def test_safe_mode_that_could_not_be_written_is_written_by_the_goodbye(core: Core, start: Callable[[], Core]) -> None:
    """The disk has room again just before WinClaw is quit."""
    journal_of(core).failure = OSError("full")
    with pytest.raises(JournalError):
        choose(core, SAFE)
    journal_of(core).failure = None
    core.stop()
    core.history.close()
    assert start().state.standing.level is SAFE


def test_safe_mode_that_is_on_disk_is_not_said_to_be_lost(core: Core) -> None:
    """Nor when a person has tried to choose another level, which the disk refused."""
    choose(core, SAFE)
    journal_of(core).failure = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(JournalError):
        choose(core, DegradationLevel.MINIMAL, confirmed=True)
    assert core.state.standing.level is SAFE
    assert "Safe Mode" not in core.state.notices[0].action


def test_no_other_level_is_shown_without_being_on_disk(core: Core) -> None:
    journal_of(core).failure = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(JournalError):
        choose(core, DegradationLevel.MINIMAL)
    assert core.state.standing.level is DegradationLevel.FULL


def test_a_journal_that_breaks_in_use_is_set_aside_and_the_report_kept(core: Core, tmp_path: Path) -> None:
    choose(core, SAFE)
    core.report([report()]).result(10)
    core.switch_circuit("gmail_api", "isolate", actor="test", origin="here").result(10)
    broken = sqlite3.DatabaseError("database disk image is malformed")
    broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    journal = journal_of(core)
    original = Journal.commit
    tries: list[int] = []

    def breaks_once(records: list[Record], state: Any = None) -> list[Written]:
        tries.append(1)
        if len(tries) == 1:
            raise JournalError("malformed") from broken
        return original(journal, records, state)

    journal.commit = breaks_once  # type: ignore[method-assign, assignment]
    ids = core.report([report(message="kept")]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal_set_aside"]
    assert len(list(tmp_path.glob("journal.damaged-*.db"))) == 1
    found = core.history.error(ids[0])
    assert found is not None
    assert found.body["message"] == "kept"
    assert core.history.events(0)[-1].type == "journal.set_aside"
    assert journal.state("standing")["level"] == 5
    assert [one["component"] for one in journal.state("isolations")] == ["gmail_api"]  # else it would end with the next start


def test_a_damaged_journal_that_cannot_be_renamed_is_set_aside_as_soon_as_it_can_be(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows somebody may have it open. Until then nothing is acknowledged, and the user is told why."""
    choose(core, SAFE)
    core.report([report()]).result(10)
    journal = journal_of(core)
    journal.failure = sqlite3.DatabaseError("database disk image is malformed")
    journal.failure.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    in_use = PermissionError(13, "in use")

    def rename(*_: object) -> None:
        journal.failure = None  # from now on it is the journal that says that it is damaged
        raise in_use

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        for _ in range(3):
            with pytest.raises(JournalError, match="in use"):
                core.report([report()]).result(10)
        assert [notice.name for notice in core.state.notices] == ["journal"]
        assert "in use" in core.state.notices[0].cause
    ids = core.report([report(message="kept")]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal_set_aside"]
    assert core.history.error(ids[0]) is not None
    assert core.history.events(0)[-1].type == "journal.set_aside"
    assert len(list(tmp_path.glob("journal.damaged-*.db"))) == 1
    assert journal.state("standing")["level"] == 5


def test_that_a_journal_was_set_aside_is_told_even_if_the_new_one_refuses_at_first(core: Core) -> None:
    journal = journal_of(core)
    core.report([report()]).result(10)
    journal.failure = sqlite3.DatabaseError("database disk image is malformed")
    journal.failure.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    with pytest.raises(JournalError):  # as damaged as the first
        core.report([report()]).result(10)
    assert journal.set_aside is not None
    journal.failure = None
    core.report([report()]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal_set_aside"]
    assert [event.type for event in core.history.events(0)] == ["error", "journal.set_aside"]


def test_half_a_character_refuses_what_it_is_in_and_no_other(core: Core) -> None:
    """A lone surrogate is no text to SQLite; what waits together with it is stored all the same."""
    journal = journal_of(core)
    journal.may_go_on.clear()
    first = core.announce(EventType.APP_STARTED, "keeps the disk busy")
    good = [core.report([report(message="before")]), core.report([report(message="after")])]
    bad = core.report([report(key="\ud800")])
    isolated = core.switch_circuit("mail\udc80", "isolate", actor="x", origin="y")
    good.append(core.report([report(message="last")]))
    journal.may_go_on.set()
    first.result(10)
    assert [len(one.result(10)) for one in good] == [1, 1, 1]
    for one in (bad, isolated):
        with pytest.raises(UnicodeEncodeError):
            one.result(10)
    assert [event.body["message"] for event in core.history.errors(ErrorFilter())] == ["last", "after", "before"]
    assert core.report([report()]).result(10)
    assert core.state.isolations == {}


def test_a_report_with_half_a_character_in_its_words_is_stored_without_it(core: Core) -> None:
    ids = core.report([report(message="of \ud83d only half", component="a\udc80", stack="\ud800", metadata={"a\ud800": "\udfff"})]).result(10)
    found = core.history.error(ids[0])
    assert found is not None
    assert (found.body["message"], found.component) == ("of \ufffd only half", "a\ufffd")
    assert (found.body["stack"], found.body["metadata"]) == ("\ufffd", {"a\ufffd": "\ufffd"})


def test_a_damaged_journal_that_does_not_tell_means_safe_mode(start: Callable[[], Core], tmp_path: Path) -> None:
    """Whether Safe Mode was on cannot be known any more; the safe side is the right one, and it says why."""
    (tmp_path / "journal.db").write_bytes(b"rubbish" * 3000)
    standing = start().state.standing
    assert standing.level is SAFE
    assert standing.latched
    assert "damaged" in standing.cause


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


def test_errors_are_stored_under_the_right_kind(core: Core) -> None:
    core.report([report(type="httpx.ConnectTimeout"), report(type="E", component="x", metadata={"status": 503})]).result(10)
    kinds = [event.body["kind"] for event in core.history.errors(ErrorFilter())]
    assert kinds == ["transient.service.unavailable", "agentic.llm.timeout"]


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


def test_the_notice_of_a_disk_that_refuses_ends_when_it_takes_again(core: Core) -> None:
    journal_of(core).failure = OSError("full")
    with pytest.raises(JournalError):
        core.report([report()]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal"]
    over = threading.Event()
    core.subscribe(lambda _, state: over.set() if not state.notices else None)
    journal_of(core).failure = None
    assert over.wait(20)  # without anybody reporting anything


def test_what_damage_left_of_circuits_and_isolations_holds_on(start: Callable[[], Core], tmp_path: Path) -> None:
    """A journal that proves damaged at the start may still say who was isolated; losing that would let it loose."""
    first = start()
    first.switch_circuit("gmail_api", "isolate", actor="x", origin="y").result(10)
    first.report([report(message="x" * 5000) for _ in range(200)]).result(10)
    first.stop()
    first.history.close()
    break_root(tmp_path / "journal.db", "errors")
    core = start()
    state = core.state
    assert [notice.name for notice in state.notices] == ["journal_set_aside"]
    assert list(state.isolations) == ["gmail_api"]
    assert state.services.circuits["gmail_api"].state == "ISOLATED"
    core.report([report()]).result(10)
    assert EventType.JOURNAL_SET_ASIDE in [event.type for event in core.history.events(0)]


@pytest.mark.parametrize(("table", "knows"), [("errors", True), ("state", False)])
def test_a_journal_too_large_to_be_checked_is_set_aside_when_it_proves_damaged(
    start: Callable[[], Core], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, knows: bool
) -> None:
    """As one that was checked: it is said, its state is saved as far as it can be, and what comes is stored."""
    first = start()
    choose(first, DegradationLevel.MINIMAL)
    last = first.report([report(message="x" * 5000) for _ in range(200)]).result(10)[-1]
    first.stop()
    first.history.close()
    break_root(tmp_path / "journal.db", table)
    monkeypatch.setattr("resilience.journal.journal._CHECKED_WHOLE_BYTES", 0)
    core = start()
    assert [notice.name for notice in core.state.notices] == ["journal_set_aside"]
    assert core.state.standing.level is (DegradationLevel.MINIMAL if knows else SAFE)
    ids = core.report([report()]).result(10)
    assert ids[0] > last
    assert EventType.JOURNAL_SET_ASIDE in [event.type for event in core.history.events(last)]
    assert len(list(tmp_path.glob("journal.damaged-*.db"))) == 1
    assert [notice.name for notice in core.state.notices] == ["journal_set_aside"]


def test_a_journal_that_is_locked_is_not_taken_for_damaged(start: Callable[[], Core], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start().stop()

    def locked(*_: object) -> dict[str, int]:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(History, "counts_since", locked)
    with pytest.raises(sqlite3.OperationalError):
        start()
    assert list(tmp_path.glob("journal.damaged-*.db")) == []
