"""What a journal's file must be to be believed: of a version that is known, and nothing in it another than was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from resilience.damage import is_damage
from resilience.journal import opening
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError
from resilience.journal.schema import MIGRATIONS
from tests.resilience.journal.journals import edit, flip, rows
from tests.resilience.records import NOW, an_error, an_event


def test_a_schema_that_is_no_text_any_more_is_damage(path: Path) -> None:
    """Python says so by another error than those of SQLite."""
    journal = Journal(path, NOW)
    journal.commit([an_error()])
    journal.close()
    spoil_schema(path)
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.commit([an_error()])[0].id > 1
    again.close()


def test_a_schema_that_becomes_no_text_in_use_is_damage_to_whoever_reads_or_writes(path: Path) -> None:
    journal, history = Journal(path, NOW), History(path)
    journal.commit([an_error()])
    journal._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil_schema(path)
    conn = journal._db.conn
    journal._db = Database(sqlite3.connect(path, isolation_level=None))  # another connection, which reads it anew
    conn.close()
    asks: list[Callable[[], object]] = [
        lambda: journal.commit([an_error()]), lambda: journal.state("x"), lambda: journal.states("x"),
        lambda: journal.forget(NOW, 1), lambda: history.events(0),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises((sqlite3.DatabaseError, JournalError)) as refusal:
            ask()
        error = refusal.value
        assert is_damage(error.__cause__ if isinstance(error, JournalError) else error)
    journal.close()


def spoil_schema(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"events_at ON events") + len(b"events_at ON ")
    path.write_bytes(content[:place] + b"\xe5" + content[place + 1 :])


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version = 999")
    conn.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="newer WinClaw"):
        Journal(path, NOW)
    assert path.read_bytes() == before


@pytest.mark.parametrize("bit", range(32))
def test_a_version_that_has_flipped_is_damage_and_no_newer_version(path: Path, bit: int) -> None:
    """It would be refused at each start, or its tables made once more."""
    journal = Journal(path, NOW)
    journal.commit([an_error()], {"standing": {"level": 5}})
    journal.close()
    flip(path, [60 * 8 + bit])
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert (again.salvaged["standing"], again.last_id) == ({"level": 5}, 1)
    again.close()


@pytest.mark.parametrize("byte", [18, 19, 20, 44, 46, 47, 56, 59])
@pytest.mark.parametrize("bit", range(8))
def test_a_bit_in_the_header_keeps_no_journal_from_being_opened_and_written(path: Path, byte: int, bit: int) -> None:
    """To SQLite it may be a newer SQLite's, or one that is only to be read, for ever."""
    journal = Journal(path, NOW)
    journal.commit([an_error()])
    journal.close()
    flip(path, [byte * 8 + bit])
    again = Journal(path, NOW)
    assert again.commit([an_error()])[0].id > 1
    again.close()


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_what_is_no_file_is_said_to_be_none_that_can_be_opened(path: Path, ending: str) -> None:
    if ending:
        Journal(path, NOW).close()
    path.with_name(path.name + ending).mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(path, NOW)


def test_a_newer_version_with_tables_of_its_own_is_refused(path: Path) -> None:
    Journal(path, NOW).close()
    edit(path, "CREATE TABLE newer (x)")
    edit(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(JournalError, match="newer WinClaw"):
        Journal(path, NOW)


def test_a_journal_of_which_nothing_is_left_is_damaged(path: Path) -> None:
    """Ids go on from where none has been, and whether Safe Mode was on nobody knows."""
    path.touch()
    journal = Journal(path, NOW)
    assert journal.set_aside is not None
    assert journal.commit([an_error()])[0].id > 1_000_000
    journal.close()


def test_a_new_journal_that_cannot_be_begun_leaves_nothing_that_looks_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when WinClaw starts for the first time."""
    with monkeypatch.context() as patch:
        patch.setattr(opening, "MIGRATIONS", (_full,))
        with pytest.raises(JournalError, match="full"):
            Journal(path, NOW)
    assert list(path.parent.iterdir()) == []
    journal = Journal(path, NOW)
    assert journal.set_aside is None
    journal.close()


def _full(_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("name", ["standing", "last_id"])
@pytest.mark.parametrize("bit", range(8))
def test_a_name_in_the_state_that_has_flipped_is_damage(path: Path, name: str, bit: int) -> None:
    """Else Safe Mode would be forgotten, and ids begin again from one."""
    journal = Journal(path, NOW)
    journal.commit([an_error()], {"standing": {"level": 5}})
    journal.close()
    content = path.read_bytes()
    flip(path, [(content.rindex(name.encode()) + 3) * 8 + bit])
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert name not in again.salvaged
    assert again.commit([an_error()])[0].id > 1
    again.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM state", "DELETE FROM state WHERE name = 'last_id'",
        "UPDATE state SET value = '1', sum = NULL WHERE name = 'last_id'", "UPDATE state SET value = '[]', sum = NULL WHERE name = 'last_id'",
    ],
)  # fmt: skip
def test_a_journal_whose_last_id_is_not_there_or_of_before_is_damaged(path: Path, sql: str) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error(), an_event()], {"standing": {"level": 5}})
    journal.close()
    edit(path, sql)
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.commit([an_error()])[0].id > 2
    again.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(path, NOW).close()

    def half(db: Database) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("CREATE TABLE nonsense (")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "MIGRATIONS", (*MIGRATIONS, half))
        with pytest.raises(JournalError):
            Journal(path, NOW)
    again = Journal(path, NOW)
    assert again.set_aside is None
    assert rows(path, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]
    again.close()
