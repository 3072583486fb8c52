"""A damaged journal is set aside, and a new one takes its place: at no moment is there less than one, and nothing is deleted."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from resilience.damage import DamagedError, name_aside, told_as_damage
from resilience.home import sync_folder
from resilience.journal.opening import ENDINGS, highest_id, kept, remove, value_of

SET_ASIDE: Final = "set_aside"
"""Under this name a journal that was begun anew keeps what it begins with, until the core has written all that is in force."""


def fresh_beside(path: Path) -> Path:
    """Where the file is made that takes the place of a damaged one at ``path``."""
    return path.with_name(f"{path.stem}.new{path.suffix}")


def tidy(path: Path, now: datetime) -> None:
    """Ends what a kill has left undone between the renames of ``put``.

    Raises:
        OSError: it cannot be.
    """
    fresh = fresh_beside(path)
    if fresh.exists() and not path.exists():
        kept_as = path.with_name(_named_in(fresh) or name_aside(path, now).name)
        for ending in ENDINGS[1:]:  # else SQLite would take them for those of the new file
            part = path.with_name(path.name + ending)
            if part.exists():
                part.replace(kept_as.with_name(kept_as.name + ending))
        fresh.rename(path)
        sync_folder(path.parent)
    elif fresh.exists():
        remove(fresh)


def _named_in(fresh: Path) -> str | None:
    """The name under which the file is kept whose place ``fresh`` takes; None if it does not say so."""
    try:
        with contextlib.closing(sqlite3.connect(f"{fresh.as_uri()}?mode=rw", uri=True)) as conn, told_as_damage():
            return str(kept(conn, SET_ASIDE)["file"])
    except (sqlite3.Error, TypeError, KeyError):
        return None


def salvage(path: Path) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The state in a damaged file, as far as it can still be read, and which files it took the place of; None if it cannot."""
    found: dict[str, Any] = {}
    highest = 0
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn, told_as_damage():
            with contextlib.suppress(sqlite3.Error):
                highest = highest_id(conn)
            has_sums = any(row[1] == "sum" for row in conn.execute("PRAGMA table_info(state)"))
            for name, value, checksum in conn.execute(
                f"SELECT CAST(name AS BLOB), CAST(value AS BLOB), {'sum' if has_sums else 'NULL'} FROM state"
            ):
                with contextlib.suppress(DamagedError, UnicodeDecodeError, AttributeError):  # a name may be none any more
                    found[name.decode()] = value_of(name.decode(), value, checksum)
    except sqlite3.Error:
        pass
    begun_with = found.pop(SET_ASIDE, None) or {}  # this file itself had hardly been begun
    before = (begun_with["file"], *begun_with.get("before", ())) if begun_with else ()
    state = {**(begun_with.get("salvaged") or {}), **found}
    if not isinstance(last_id := state.get("last_id"), int) or last_id < highest:
        state.pop("last_id", None)  # it is of before, and what came after it has those ids already
    return state or None, before


def put(fresh: Path, path: Path, kept_as: Path) -> contextlib.ExitStack:
    """Puts ``fresh`` in the place of the damaged file at ``path``, which becomes ``kept_as``; what it returns takes that back.

    Raises:
        OSError: it cannot be, and all is as it was.
    """
    with contextlib.ExitStack() as undo:
        for ending in ENDINGS:
            part, kept_part = (file.with_name(file.name + ending) for file in (path, kept_as))
            if part.exists():
                part.rename(kept_part)
                undo.callback(kept_part.replace, part)
        fresh.rename(path)
        undo.callback(path.unlink)
        sync_folder(path.parent)  # before anything is written under this name, else a power cut might part the two
        return undo.pop_all()
