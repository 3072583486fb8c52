"""What is too old or too much is forgotten, with all that is rolled up of it, and nothing else."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.clock import as_text
from resilience.damage import is_damage
from resilience.journal.journal import Journal, JournalError
from tests.resilience.journal.journals import rows
from tests.resilience.records import NOW, an_error, an_event


def test_ids_go_on_even_when_everything_was_forgotten(path: Path) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error(), an_error()])
    journal.forget(NOW + timedelta(days=1), max_mb=1000)
    journal.close()
    again = Journal(path, NOW)
    assert again.commit([an_error()])[0].id == 3
    again.close()


def test_what_is_too_old_is_forgotten_everywhere(journal: Journal, path: Path) -> None:
    old = as_text(NOW - timedelta(days=100))
    journal.commit([an_error(at=old, fingerprint="old", message="ancient words"), an_error(fingerprint="new")])
    while journal.forget(NOW - timedelta(days=90), max_mb=1000):
        pass
    assert rows(path, "SELECT fingerprint FROM errors") == [("new",)]
    assert rows(path, "SELECT fingerprint FROM groups") == [("new",)]
    assert rows(path, "SELECT count(*) FROM minutes WHERE minute < '2026'") == [(0,)]
    assert rows(path, "SELECT count(*) FROM errors_fts WHERE errors_fts MATCH 'ancient'") == [(0,)]


def test_what_a_clock_left_that_was_ahead_keeps_nothing_else_from_being_forgotten(journal: Journal, path: Path) -> None:
    """Rows of next year stand before those that are too old, in whatever number; they stay until their time has come."""
    ahead, old, new = (as_text(NOW + timedelta(days=days)) for days in (400, -100, -1))
    journal.commit([an_error(at=ahead, fingerprint="ahead") for _ in range(7)] + [an_event()._replace(at=ahead) for _ in range(7)])
    journal.commit([an_error(at=old, fingerprint="old"), an_event()._replace(at=old)] * 20)
    journal.commit([an_error(at=new, fingerprint="new"), an_event()._replace(at=new)])
    looks = 1
    while journal.forget(NOW - timedelta(days=90), max_mb=1000, chunk=5):
        looks += 1
    assert looks == 5, "four that took five of each, and one that found nothing"
    for table in ("errors", "events"):
        assert rows(path, f"SELECT at, count(*) FROM {table} GROUP BY at ORDER BY at") == [(new, 1), (ahead, 7)]
    assert rows(path, "SELECT fingerprint, count FROM groups ORDER BY fingerprint") == [("ahead", 7), ("new", 1)]
    assert rows(path, "SELECT minute FROM minutes ORDER BY minute") == [(new[:16],), (ahead[:16],)]


def test_a_group_stays_while_one_of_its_errors_does(journal: Journal, path: Path) -> None:
    """The last to arrive need not be the youngest: an agent that was away sends late."""
    journal.commit([an_error(), an_error(at=as_text(NOW - timedelta(days=100)))])
    assert not journal.forget(NOW - timedelta(days=90), max_mb=1000)
    assert rows(path, "SELECT id FROM errors") == [(1,)]
    assert rows(path, "SELECT fingerprint FROM groups") == [("f1",)]
    assert not journal.forget(NOW + timedelta(days=1), max_mb=1000)
    assert rows(path, "SELECT (SELECT count(*) FROM groups) + (SELECT count(*) FROM minutes)") == [(0,)]


def test_damage_that_forgetting_finds_is_told_by_the_next_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which sets the file aside; else nothing old would ever be deleted again, for what is new is written elsewhere."""
    journal = Journal(path, NOW)
    journal.commit([an_error(at=as_text(NOW - timedelta(days=100)), message="x" * 3000) for _ in range(500)])
    journal.close()
    page = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'errors_at'")[0][0]
    with path.open("r+b") as file:
        file.seek((int(str(page)) - 1) * 4096)
        file.write(b"\xff" * 4096)
    monkeypatch.setattr("resilience.damage._CHECKED_WHOLE_BYTES", 0)
    journal = Journal(path, NOW)
    with pytest.raises(sqlite3.DatabaseError) as found:
        journal.forget(NOW - timedelta(days=90), max_mb=1000)
    with pytest.raises(JournalError) as refusal:
        journal.commit([an_event()])
    assert refusal.value.__cause__ is found.value
    assert is_damage(found.value)
    journal.start_anew(NOW)
    assert journal.commit([an_event()])[0].id == 501
    assert not journal.forget(NOW - timedelta(days=90), max_mb=1000)
    journal.close()


def test_the_oldest_go_first_when_the_file_is_too_large(journal: Journal, path: Path) -> None:
    journal.commit([an_error(detail=b'{"stack": "' + b"x" * 5000 + b'"}') for _ in range(1000)])
    while journal.forget(NOW - timedelta(days=90), max_mb=2, chunk=100):
        pass
    left = rows(path, "SELECT count(*), max(id) FROM errors")[0]
    assert 0 < left[0] < 500  # type: ignore[operator]
    assert left[1] == 1000


def test_of_a_file_that_is_too_large_the_oldest_goes_whatever_it_is(path: Path) -> None:
    """The audit log is short, and would be gone before the first error if each table were cut by itself."""
    journal = Journal(path, NOW)
    journal.commit([an_error(key=str(number)) for number in range(1500)])
    journal.commit([an_event(), an_event()])
    assert journal.forget(NOW - timedelta(days=90), max_mb=0.01)
    journal.close()
    assert rows(path, "SELECT count(*) FROM events") == [(2,)]
    assert rows(path, "SELECT count(*), min(id) FROM errors") == [(1000, 501)]


def test_of_few_rows_that_are_too_large_the_younger_half_stays_each_time(journal: Journal, path: Path) -> None:
    """A chunk may be all there is; what was acknowledged a moment ago does not go with what is old."""
    assert not journal.forget(NOW - timedelta(days=90), max_mb=0), "there is nothing yet"
    journal.commit([an_event() for _ in range(4)])
    left = []
    for _ in range(4):
        assert not journal.forget(NOW - timedelta(days=90), max_mb=0)
        left.append([row[0] for row in rows(path, "SELECT id FROM events")])
    assert left == [[3, 4], [4], [4], [4]]
