"""What stands on disk before it is told; and where the disk refuses, or the journal is damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilience.core.core import Core
from resilience.core.lives import CRASHES
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import EventType
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError, Written
from resilience.journal.schema import Record
from tests.resilience.core.cores import SAFE, choose, journal_of, report


def break_root(path: Path, table: str) -> None:
    """Overwrites the page that a table begins with."""
    conn = sqlite3.connect(path)
    root = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0]
    size = conn.execute("PRAGMA page_size").fetchone()[0]
    conn.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


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


def test_when_the_disk_refuses_nothing_is_acknowledged_and_the_user_is_told(core: Core) -> None:
    journal_of(core).failure = sqlite3.OperationalError("database or disk is full")
    with pytest.raises(JournalError):
        core.report([report()]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal"]
    assert "Safe Mode" not in core.state.notices[0].action, "it is off"
    journal_of(core).failure = None
    assert core.report([report()]).result(10)
    assert core.state.notices == ()


def test_the_notice_of_a_disk_that_refuses_ends_when_it_takes_again(core: Core) -> None:
    journal_of(core).failure = OSError("full")
    with pytest.raises(JournalError):
        core.report([report()]).result(10)
    assert [notice.name for notice in core.state.notices] == ["journal"]
    over = threading.Event()
    core.subscribe(lambda _, state: over.set() if not state.notices else None)
    journal_of(core).failure = None
    assert over.wait(20)  # without anybody reporting anything


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
    assert [event.type for event in core.history.events(0)] == ["journal.gap", "error", "journal.set_aside"]
    assert core.state.health.to_repair == (journal.set_aside.name,), "so that what can be is brought back"


def test_a_damaged_journal_that_does_not_tell_means_safe_mode(start: Callable[[], Core], tmp_path: Path) -> None:
    """Whether Safe Mode was on cannot be known any more; the safe side is the right one, and it says why."""
    (tmp_path / "journal.db").write_bytes(b"rubbish" * 3000)
    standing = start().state.standing
    assert standing.level is SAFE
    assert standing.latched
    assert "damaged" in standing.cause


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


def test_a_crash_counts_though_the_journal_is_damaged(start: Callable[[], Core], tmp_path: Path) -> None:
    """Else a crash loop that damages it would be none."""
    for _ in range(CRASHES):
        core = start()
        core.report([report(message="x" * 5000) for _ in range(50)]).result(10)
        core._journal._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = (tmp_path / "journal.db").read_bytes()
        core.stop()
        core.history.close()
        (tmp_path / "journal.db").write_bytes(content)  # as it was while that one ran
        break_root(tmp_path / "journal.db", "errors")
    last = start()
    assert last.crashed_before
    assert "crashed" in last.state.standing.cause


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
    monkeypatch.setattr("resilience.damage._CHECKED_WHOLE_BYTES", 0)
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
