"""The journal against the best that can be written by hand with sqlite3: same rows, indexes, text index, transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resilience.journal.journal import Journal
from tests.resilience.records import NOW, an_error

SECONDS = 1.5
FLOOR_RATIO = 0.6


def by_hand(path: Path, rows_a_transaction: int) -> float:
    """Rows a second, with nothing but what durability, the indexes and the search need."""
    Journal(path, NOW).close()  # the same schema
    conn = sqlite3.connect(path, isolation_level=None, cached_statements=64)
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA cache_size = -16000")
    number = 0
    insert = f"INSERT INTO errors VALUES ({', '.join('?' * 17)})"

    def write() -> None:
        nonlocal number
        rows = [(number + one, *an_error(key=f"key-{number + one}", fingerprint=f"f{one % 5}")) for one in range(1, rows_a_transaction + 1)]
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany(insert, rows)
        conn.executemany(
            "INSERT INTO errors_fts (rowid, message, type, component, operation) VALUES (?, ?, ?, ?, ?)",
            [(row[0], row[11], row[4], row[7], row[8]) for row in rows],
        )
        conn.commit()
        number += rows_a_transaction

    rate = rate_of(write, rows_a_transaction)
    conn.close()
    return rate


def by_journal(path: Path, rows_a_transaction: int) -> float:
    """Rows a second of ours: keys looked up, groups and minutes rolled up, the last id kept, in the same transaction."""
    journal = Journal(path, NOW)
    number = 0

    def write() -> None:
        nonlocal number
        journal.commit([an_error(key=f"key-{number + one}", fingerprint=f"f{one % 5}") for one in range(1, rows_a_transaction + 1)])
        number += rows_a_transaction

    rate = rate_of(write, rows_a_transaction)
    journal.close()
    return rate


def rate_of(write: Callable[[], None], rows: int) -> float:
    for _ in range(20):
        write()
    began, groups = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        write()
        groups += 1
    return groups * rows / (time.perf_counter() - began)


@pytest.mark.benchmark
@pytest.mark.parametrize("rows", [10, 100])
def test_the_journal_keeps_up_with_sqlite_by_hand(tmp_path: Path, rows: int) -> None:
    """The median of three pairs, so that one hiccup of the disk does not decide."""
    pairs = []
    for turn in range(3):
        floor = by_hand(tmp_path / f"floor-{turn}.db", rows)
        ours = by_journal(tmp_path / f"ours-{turn}.db", rows)
        pairs.append((ours / floor, ours, floor))
    ratio, ours, floor = sorted(pairs)[1]
    print(f"\n{rows} rows a transaction: journal {ours:,.0f}/s, by hand {floor:,.0f}/s, ratio {ratio:.2f} (at least {FLOOR_RATIO})")
    assert ratio >= FLOOR_RATIO
