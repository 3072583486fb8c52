"""Damage of SQLite files: how it is told from other trouble, looked for, and kept out of the way. Standard library only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

# A file up to this size is checked whole when it is opened (some 0.1 s); damage in a larger one shows when it is touched.
_CHECKED_WHOLE_BYTES: Final = 50_000_000


class DamagedError(sqlite3.DatabaseError):
    """A file that SQLite can read holds what it must not."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def is_damage(error: BaseException | None) -> bool:
    """Whether it says that the file itself is broken (and not, say, locked or the disk full)."""
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


@contextlib.contextmanager
def told_as_damage() -> Iterator[None]:
    """Inside, it is damage where what SQLite says of a broken schema is no text: Python raises another error than SQLite's then.

    Raises:
        DamagedError: instead of that.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DamagedError(f"it is damaged, and what SQLite says of that is no text: {error}") from error


def is_checked_whole(path: Path) -> bool:
    """Whether the file at ``path`` is small enough to be checked when it is opened."""
    return path.stat().st_size < _CHECKED_WHOLE_BYTES


def check(conn: sqlite3.Connection, path: Path) -> None:
    """Has SQLite look at all of the file at ``path``, if it is not too large for that.

    Raises:
        DamagedError: it found something. sqlite3.Error: it could not look.
    """
    if is_checked_whole(path):
        finding = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise DamagedError(finding)


def name_aside(path: Path, now: datetime) -> Path:
    """A free name beside ``path`` under which it can be kept as damaged."""
    stem = f"{path.stem}.damaged-{now:%Y%m%d-%H%M%S}"
    names = (path.with_name(f"{stem}{suffix}{path.suffix}") for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())
