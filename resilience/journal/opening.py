"""Opening the journal's file: its tables are those of this version, and it is proven before anything in it is believed."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlite_utils import Database

from resilience.damage import DamagedError, check, told_as_damage
from resilience.journal import sums
from resilience.journal.schema import MIGRATIONS

ENDINGS: Final = ("", "-wal", "-shm")
"""Of the names of a journal's files: its own, and of those that SQLite writes beside it."""
_HIGHEST_ID: Final = "SELECT max(id) FROM (SELECT max(id) AS id FROM errors UNION ALL SELECT max(id) FROM events)"
_MOST: Final = {(18, 19): 2, (19, 20): 2, (44, 48): 4, (56, 60): 1}
"""Of numbers in a file's header the most that they are here: who may write and read it, its format, its encoding (UTF-8)."""
_OPENING_S: Final = 10.0
# A commit waits no longer for another program that holds the file: who reports, and each heartbeat, waits with it, 10 s at most,
# and the facts of a turn hold in memory when it is refused. Well-behaved programs hold a file for milliseconds.
_BUSY_MS: Final = 1000


@told_as_damage()
def opened(path: Path) -> tuple[Database, int]:
    """The database, checked if it is not too large for that, its state in any case; and the last id that was given out.

    Raises:
        sqlite3.Error: it cannot be opened, it is damaged (see ``is_damage``), or a newer version has written it.
    """
    if is_new := not path.exists():
        path.touch(mode=0o600)
    else:
        _prove_header(path)
    conn = sqlite3.connect(path, timeout=_OPENING_S, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        conn.execute("PRAGMA synchronous = FULL")  # an acknowledged report survives a power cut
        conn.execute("PRAGMA cache_size = -16000")
        version = conn.execute("PRAGMA user_version").fetchone()[0]
        if version != len(MIGRATIONS) and version != (made_by := _version_by_tables(conn) or version):
            raise DamagedError(f"it says version {version}, and its tables are those of {made_by}")
        if version > len(MIGRATIONS):
            raise sqlite3.NotSupportedError(f"a newer WinClaw has written it (version {version}); install that one again")
        conn.execute("PRAGMA journal_mode = WAL")
        db = Database(conn)
        for number, migrate in enumerate(MIGRATIONS[version:], start=version + 1):
            with db.atomic():
                migrate(db)
                conn.execute(f"PRAGMA user_version = {number}")
        check(conn, path)
        last_id = _proven_state(conn).get("last_id", 0)
        if not isinstance(last_id, int) or last_id < highest_id(conn):
            raise DamagedError(f"the last id is {last_id!r}, and there is {highest_id(conn)}")
        conn.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    except BaseException:
        conn.close()
        if is_new:
            remove(path)  # else it would be taken for what is left of one
        raise
    return db, last_id


def _prove_header(path: Path) -> None:
    """SQLite may take a file in whose header a bit has flipped for one that it may not read, or not write, not for damaged."""
    with path.open("rb") as file:
        header = file.read(60)
    numbers = [int.from_bytes(header[begin:end], "big") for begin, end in _MOST]
    if not header or any(number > most for number, most in zip(numbers, _MOST.values(), strict=True)):
        raise DamagedError("it is empty, or its header is not what was written")


def _version_by_tables(conn: sqlite3.Connection) -> int | None:
    """The version whose tables these are, whatever the file says of that; None: no known one's."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for number, migrate in enumerate(MIGRATIONS, start=1):
            migrate(Database(model))
            if _tables(model) == _tables(conn):
                return number
    return None


def _tables(conn: sqlite3.Connection) -> list[Any]:
    return conn.execute("SELECT sql FROM sqlite_master WHERE tbl_name NOT LIKE 'errors_fts%' ORDER BY name").fetchall()


def highest_id(conn: sqlite3.Connection) -> int:
    """The highest id that there is a row of; 0: there is none."""
    highest: int | None = conn.execute(_HIGHEST_ID).fetchone()[0]
    return highest or 0


def _proven_state(conn: sqlite3.Connection) -> dict[str, Any]:
    """All that is kept; each name, too, is what was written: under one that has flipped, nobody would look for anything."""
    # All at once: while what is raised here holds on to a cursor, the file stays open, and Windows renames none that is.
    rows = conn.execute("SELECT coalesce(CAST(name AS BLOB), X''), CAST(value AS BLOB), sum FROM state").fetchall()
    return {(text := name.decode()): value_of(text, value, checksum) for name, value, checksum in rows}


def kept(conn: sqlite3.Connection, name: str) -> Any:
    """What is kept under ``name``; None: nothing.

    Raises:
        DamagedError: it is not what was written. sqlite3.Error: it cannot be read.
    """
    row = conn.execute("SELECT CAST(value AS BLOB), sum FROM state WHERE name = ?", [name]).fetchone()
    return None if row is None else value_of(name, *row)


def value_of(name: str, value: bytes | None, checksum: int | None) -> Any:
    """What is kept under ``name``; no check of SQLite's sees what is in a text."""
    if value is None:
        raise DamagedError(f"nothing is kept as {name}, which cannot be")
    try:
        text = value.decode()
        if checksum is not None and checksum != sums.of_values((name, text)):
            raise DamagedError(f"what is kept as {name} is not what was written")
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"what is kept as {name} is not JSON: {error}") from error


def remove(file: Path) -> None:
    """Deletes a journal with all that SQLite has written beside it."""
    for ending in ENDINGS:
        file.with_name(file.name + ending).unlink(missing_ok=True)
