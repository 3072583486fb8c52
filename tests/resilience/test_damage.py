"""What counts as damage of a file, and where a damaged one goes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resilience.damage import DamagedError, is_damage, name_aside, told_as_damage


@pytest.mark.parametrize(("code", "damage"), [(sqlite3.SQLITE_CORRUPT, True), (sqlite3.SQLITE_NOTADB, True), (sqlite3.SQLITE_BUSY, False), (sqlite3.SQLITE_FULL, False)])
def test_only_a_broken_file_counts_as_damage(code: int, damage: bool) -> None:
    error = sqlite3.DatabaseError("?")
    error.sqlite_errorcode = code
    assert is_damage(error) is damage


def test_no_two_damaged_files_take_the_same_name(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        aside = name_aside(tmp_path / "a.b.db", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        aside.touch()
        names.append(aside.name)
    assert names == ["a.b.damaged-20260102-030405.db", "a.b.damaged-20260102-030405-2.db", "a.b.damaged-20260102-030405-3.db"]


def test_what_sqlite_says_of_damage_is_damage_even_where_it_is_no_text() -> None:
    with pytest.raises(DamagedError, match="no text") as refusal, told_as_damage():
        b"\xe5 ".decode()
    assert is_damage(refusal.value)
