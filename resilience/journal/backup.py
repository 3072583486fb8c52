"""Backups of the journal: one snapshot each, made while others write, proven before it gets its name."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

from resilience import home
from resilience.damage import DamagedError
from resilience.journal import ahead

_PARTIAL: Final = ".partial"
_SPARE_BYTES: Final = 10_000_000
"""So much room has to be left beside a backup: one that fills the disk has the journal itself refused, and all who write."""
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
    _need_room(journal, folder)
    path = folder / f"journal-{now:%Y%m%d-%H%M%S}.db"
    partial = path.with_name(path.name + _PARTIAL)
    try:
        partial.touch(mode=0o600)
        with opened(journal, "ro") as conn:
            conn.execute("VACUUM INTO ?", [str(partial)])
        with opened(partial, "rw") as conn:
            _prove(conn)
        home.sync_file(partial)
        partial.replace(path)
    except BaseException:
        for left in folder.glob(f"{partial.name}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        raise
    home.keep_private(path)
    home.sync_folder(folder)
    for old in [one for one in backups(folder) if one != path][max(keep - 1, 0) :]:
        old.unlink()
    return path


def _need_room(journal: Path, folder: Path) -> None:
    """Sees that there is room for a copy of the journal, which is no larger, before any is taken.

    Raises:
        OSError: there is not.
    """
    log = ahead.log_of(journal)
    need = journal.stat().st_size + (log.stat().st_size if log.exists() else 0) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < need:
        said = f"it needs {need / 1e6:.0f} MB of room, and the disk has {free / 1e6:.0f} MB"
        raise OSError(errno.ENOSPC, said, str(folder))


def _prove(conn: sqlite3.Connection) -> None:
    finding = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if finding != "ok":
        raise DamagedError(f"the copy was not whole: {finding}")
    prove_text(conn)


def prove_text(conn: sqlite3.Connection) -> None:
    """Has SQLite compare the index of words with the rows.

    Raises:
        sqlite3.Error: the index is damaged; nobody else may write meanwhile.
    """
    conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")
