"""Backups of the journal: one snapshot each, made while others write, proven before it gets its name."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

from resilience import home
from resilience.damage import DamagedError

_PARTIAL: Final = ".partial"
Opened = Callable[[Path, str], AbstractContextManager[sqlite3.Connection]]
"""Opens a file with some of SQLite's ``mode``; whoever gave it can interrupt what goes on with the connection."""


def backups(folder: Path) -> list[Path]:
    """The backups that there are, the newest first by the time in their names."""
    return sorted(folder.glob("journal-*.db"), reverse=True)


def make(journal: Path, folder: Path, now: datetime, keep: int, opened: Opened) -> Path:
    """Makes a backup, and then removes all but the newest ``keep``.

    ``VACUUM INTO`` reads one snapshot: it neither waits for who writes nor begins anew, as SQLite's backup does when another
    connection has written; it can be interrupted; and its indexes are made anew from the rows.

    Raises:
        OSError, sqlite3.Error: it could not be made, and is not there; the others all are.
    """
    home.make_private_folder(folder)
    for left in folder.glob(f"*{_PARTIAL}*"):  # by a WinClaw that was killed
        left.unlink()
    path = folder / f"journal-{now:%Y%m%d-%H%M%S}.db"
    partial = path.with_name(path.name + _PARTIAL)
    try:
        partial.touch(mode=0o600)
        with opened(journal, "ro") as conn:
            conn.execute("VACUUM INTO ?", [str(partial)])
        with opened(partial, "rw") as conn:
            _prove(conn)
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        for left in folder.glob(f"{partial.name}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        raise
    home.keep_private(path)
    _sync(folder)
    for old in [one for one in backups(folder) if one != path][max(keep - 1, 0) :]:
        old.unlink()
    return path


def _prove(conn: sqlite3.Connection) -> None:
    finding = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if finding != "ok":
        raise DamagedError(f"the copy was not whole: {finding}")
    conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")


def _sync(folder: Path) -> None:
    """Has the new name on disk, too; where a folder can be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
