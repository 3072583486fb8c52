"""Journals with thousands of rows, and ways to spoil them, for tests."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from resilience.journal.journal import Journal
from resilience.journal.schema import ErrorRecord, EventRecord, Record
from tests.resilience.records import NOW, an_error, an_event

Stored = dict[int, ErrorRecord | EventRecord]


def filled(path: Path, rows: int, *, seed: int = 1, state: dict[str, Any] | None = None) -> Stored:
    """Makes a journal with so many rows, most of them errors, some longer than a page; returns what stands under which id."""
    content, stored = _filled(rows, seed, msgspec.json.encode(state))
    path.write_bytes(content)
    path.chmod(0o600)
    return dict(stored)


@cache
def _filled(rows: int, seed: int, state_json: bytes) -> tuple[bytes, Stored]:
    """The file, and what stands in it; made once, for it takes most of the time of those who spoil it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        stored = _fill(path, rows, seed, msgspec.json.decode(state_json))
        return path.read_bytes(), stored


def _fill(path: Path, rows: int, seed: int, state: dict[str, Any] | None) -> Stored:
    dice, journal = random.Random(seed), Journal(path, NOW)
    stored: Stored = {}
    while len(stored) < rows:
        group: list[Record] = [_record(dice, len(stored) + one) for one in range(min(50, rows - len(stored)))]
        written = journal.commit(group, state)
        stored.update({entry.id: one for entry, one in zip(written, group, strict=True)})
    journal.close()
    return stored


def _record(dice: random.Random, number: int) -> Record:
    if dice.random() < 0.2:
        return an_event(component=f"c{number}", body=msgspec.json.encode({"number": number, "actor": "x" * dice.randrange(40)}))
    long = 9000 if dice.random() < 0.02 else 200
    return an_error(
        key=f"k{number}", message=f"error {number} {'x' * dice.randrange(80)}", fingerprint=f"f{number % 7}",
        detail=msgspec.json.encode({"stack": "y" * dice.randrange(long)}),
    )  # fmt: skip


def read(path: Path) -> Stored:
    """What stands under which id, as records."""
    with closing(sqlite3.connect(path)) as conn:
        columns = {"errors": ErrorRecord, "events": EventRecord}
        found: Stored = {}
        for table, kind in columns.items():
            for number, *values in conn.execute(f"SELECT id, {', '.join(kind._fields)} FROM {table}"):
                found[number] = kind(*values)
    return found


def is_whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file, its full text among it, and what is rolled up adds up."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")
        fine = conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counts = dict(conn.execute("SELECT fingerprint, count(*) FROM errors GROUP BY 1").fetchall())
        groups = dict(conn.execute("SELECT fingerprint, count FROM groups").fetchall())
        minutes = dict(conn.execute("SELECT fingerprint, sum(count) FROM minutes GROUP BY 1").fetchall())
        latest = dict(conn.execute("SELECT fingerprint, max(id) FROM errors GROUP BY 1").fetchall())
        last = dict(conn.execute("SELECT fingerprint, last_id FROM groups").fetchall())
        words = conn.execute("SELECT count(*) FROM groups JOIN errors ON errors.id = last_id WHERE groups.message = errors.message")
        return fine and counts == groups == minutes and latest == last and words.fetchone()[0] == len(last)


def root_of(path: Path, table: str) -> int:
    """Where in the file the first page of ``table`` begins."""
    with closing(sqlite3.connect(path)) as conn:
        return (conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0] - 1) * 4096  # type: ignore[no-any-return]


def flip(path: Path, places: list[int]) -> None:
    """Turns over one bit at each of these places, counted in bits."""
    content = bytearray(path.read_bytes())
    for place in places:
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def spoil(path: Path, place: int, size: int = 4096) -> None:
    """Overwrites a piece of the file."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * size)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What ``sql`` gives."""
    conn = sqlite3.connect(path)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def edit(path: Path, sql: str) -> None:
    """Has ``sql`` change the file."""
    conn = sqlite3.connect(path)
    conn.execute(sql)
    conn.commit()
    conn.close()
