"""What is measured each minute is kept for a week, and is never in the way of anything else."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database

from resilience.damage import is_damage
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError
from resilience.journal.samples import Sample, minute_of
from resilience.journal.schema import MIGRATIONS
from tests.resilience.journal.journals import edit, is_whole, root_of, rows
from tests.resilience.records import NOW, an_error, an_event

NOON = minute_of(NOW)
GPT, MACHINE = Sample("gpt-5.2", calls=12, failures=3, p95_ms=830.5), Sample("machine", cpu_percent=4.5, memory_percent=61.0)


def test_what_was_measured_is_read_back(journal: Journal, path: Path) -> None:
    journal.sample(NOON, [MACHINE, GPT], NOON - 10)
    journal.sample(NOON + 1, [MACHINE], NOON - 10)
    history = History(path)
    assert history.samples(NOON, NOON + 1) == [(NOON, GPT), (NOON, MACHINE), (NOON + 1, MACHINE)]
    assert history.samples(NOON + 2, NOON + 60) == []
    history.close()


def test_steps_of_several_minutes_are_summed_up_by_what_they_are(journal: Journal, path: Path) -> None:
    """The average of CPU and memory, the sum of calls, the slowest p95; a step begins at a multiple of its length."""
    first = NOON // 10 * 10
    journal.sample(first, [Sample("x", 10.0, 20.0, 5, 1, 100.0)], 0)
    journal.sample(first + 9, [Sample("x", 30.0, 40.0, 7, 0, None)], 0)
    journal.sample(first + 10, [Sample("x", None, None, 1, 1, 50.0)], 0)
    history = History(path)
    assert history.samples(first, first + 19, 10) == [
        (first, Sample("x", 20.0, 30.0, 12, 1, 100.0)), (first + 10, Sample("x", None, None, 1, 1, 50.0)),
    ]  # fmt: skip
    history.close()


def test_a_minute_that_is_measured_again_is_not_there_twice(journal: Journal, path: Path) -> None:
    journal.sample(NOON, [GPT, MACHINE], NOON - 10)
    journal.sample(NOON, [GPT._replace(calls=1)], NOON - 10)
    assert rows(path, "SELECT component, calls FROM samples ORDER BY component") == [("gpt-5.2", 1), ("machine", None)]


def test_what_is_too_old_goes_with_each_minute_that_comes_and_so_does_what_a_clock_left_that_was_ahead(journal: Journal, path: Path) -> None:
    for minute in (NOON, NOON + 5, NOON + 60 * 24 * 365):
        journal.sample(minute, [MACHINE], NOON)
    journal.sample(NOON + 10, [MACHINE], NOON + 1)
    assert rows(path, "SELECT minute FROM samples ORDER BY minute") == [(NOON + 5,), (NOON + 10,)]


def test_of_a_file_that_is_too_large_what_was_measured_goes_as_far_as_it_goes_back_further(journal: Journal, path: Path) -> None:
    for minute in range(NOON - 100, NOON + 100):
        journal.sample(minute, [MACHINE, GPT], 0)
    journal.commit([an_error(message="x" * 3000), an_event()])
    looks = 0
    while journal.forget(NOW - timedelta(days=90), max_mb=0.001, chunk=50) and looks < 10:
        looks += 1
    left = rows(path, "SELECT count(*), min(minute) FROM samples")[0]
    assert left == (200, NOON), "none that is younger than the first error"
    assert rows(path, "SELECT count(*) FROM errors") == [(0,)], "then the oldest of the rest, as ever"


def test_a_journal_that_nothing_but_measurements_fill_comes_down_to_its_size(journal: Journal) -> None:
    journal.sample(NOON, [Sample(f"service {number}", calls=1) for number in range(2000)], 0)
    assert journal.forget(NOW, max_mb=0.001)
    assert not journal.forget(NOW, max_mb=0.001)


def test_a_journal_of_an_earlier_version_takes_them(path: Path) -> None:
    """As the WinClaw before this one has left it."""
    conn = sqlite3.connect(path)
    for migrate in MIGRATIONS[:2]:
        migrate(Database(conn))
    conn.execute("INSERT INTO state (name, value) VALUES ('last_id', '7')")
    conn.execute("PRAGMA user_version = 2")
    conn.commit()
    conn.close()
    journal = Journal(path, NOW)
    assert journal.set_aside is None
    journal.sample(NOON, [GPT], 0)
    assert journal.commit([an_error()])[0].id == 8
    journal.close()
    assert rows(path, "SELECT calls FROM samples") == [(12,)]
    assert rows(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_measurements_that_cannot_be_written_harm_nothing(journal: Journal, path: Path) -> None:
    journal.commit([an_error()])
    edit(path, "CREATE TRIGGER full BEFORE INSERT ON samples BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
    journal.sample(NOON, [], 0)
    with pytest.raises(JournalError, match="full"):
        journal.sample(NOON, [GPT, MACHINE], 0)
    assert [one.id for one in journal.commit([an_error(), an_event()])] == [2, 3]
    assert rows(path, "SELECT count(*) FROM samples") == [(0,)]
    assert is_whole(path)


def test_damage_that_they_find_is_told_by_the_next_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which sets the file aside; else no minute would ever be written again."""
    journal = Journal(path, NOW)
    journal.sample(NOON, [GPT], 0)
    journal.close()
    with path.open("r+b") as file:
        file.seek(root_of(path, "samples"))
        file.write(b"\xff" * 4096)
    monkeypatch.setattr("resilience.damage._CHECKED_WHOLE_BYTES", 0)
    journal = Journal(path, NOW)
    with pytest.raises(JournalError):
        journal.sample(NOON, [GPT], 0)
    with pytest.raises(JournalError) as refusal:
        journal.commit([an_event()])
    assert is_damage(refusal.value.__cause__)
    journal.start_anew(NOW)
    journal.sample(NOON, [GPT], 0)
    assert journal.commit([an_event()])[0].new
    journal.close()


def test_a_number_that_is_none_any_more_is_not_told(journal: Journal, path: Path) -> None:
    """A bit may have flipped; what is told is a number or nothing."""
    journal.sample(NOON, [GPT, MACHINE], 0)
    edit(path, "UPDATE samples SET p95_ms = 'x', calls = -5 WHERE component = 'gpt-5.2'")
    edit(path, "UPDATE samples SET memory_percent = 9e999 WHERE component = 'machine'")
    history = History(path)
    assert history.samples(NOON, NOON) == [(NOON, Sample("gpt-5.2", failures=3)), (NOON, Sample("machine", cpu_percent=4.5))]
    history.close()
