"""The journal: everything that matters, on disk, before anybody is told (SQLite in WAL mode).

``Journal`` is the one writer and belongs to one thread. It takes what happened in groups, a transaction a group, and
gives each an id from one sequence: errors and all other events can be read back in the order in which they came.
``history`` reads.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlite_utils import Database

from resilience.clock import as_text
from resilience.damage import DamagedError, check, is_damage, name_aside
from resilience.journal.schema import MIGRATIONS, ErrorRecord, EventRecord, Record


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one record: its id, and whether it was new (False: its key was known already)."""

    id: int
    new: bool


class JournalError(Exception):
    """A group could not be written; nothing of it is stored."""


_ERROR_COLUMNS: Final = ", ".join(("id", *ErrorRecord._fields))
_INSERT_ERROR: Final = f"INSERT INTO errors ({_ERROR_COLUMNS}) VALUES (?{', ?' * len(ErrorRecord._fields)})"
_INSERT_TEXT: Final = "INSERT INTO errors_fts (rowid, message, type, component, operation) VALUES (?, ?, ?, ?, ?)"
_DELETE_TEXT: Final = """
    INSERT INTO errors_fts (errors_fts, rowid, message, type, component, operation)
    SELECT 'delete', id, message, type, component, operation FROM errors WHERE """
_CUT: Final = """
    SELECT id FROM (
        SELECT * FROM (SELECT id FROM errors ORDER BY id LIMIT :chunk + 1)
        UNION ALL SELECT * FROM (SELECT id FROM events ORDER BY id LIMIT :chunk + 1)
    ) ORDER BY id LIMIT 1 OFFSET :chunk"""
_DELETE_GROUPS: Final = """
    DELETE FROM groups WHERE fingerprint IN (SELECT value FROM json_each(?))
        AND NOT EXISTS (SELECT 1 FROM errors WHERE errors.fingerprint = groups.fingerprint)"""
_DELETE_MINUTES: Final = "DELETE FROM minutes WHERE minute < (SELECT substr(coalesce(min(at), '9999'), 1, 16) FROM errors)"
# Of few rows that are large, the older half: the youngest has been acknowledged just now.
_HALF: Final = "SELECT (min(id) + ? + 1) / 2 FROM (SELECT min(id) AS id FROM errors UNION ALL SELECT min(id) FROM events)"
_INSERT_EVENT: Final = "INSERT INTO events (id, at, type, component, body) VALUES (?, ?, ?, ?, ?)"
_UPSERT_GROUP: Final = """
    INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (fingerprint) DO UPDATE SET count = count + excluded.count, last_id = excluded.last_id,
        last_at = max(last_at, excluded.last_at), first_at = min(first_at, excluded.first_at),
        message = excluded.message, severity = excluded.severity, kind = excluded.kind"""
_UPSERT_MINUTE: Final = """
    INSERT INTO minutes VALUES (?, ?, ?) ON CONFLICT (minute, fingerprint) DO UPDATE SET count = count + excluded.count"""
_DELETE_STATE: Final = "DELETE FROM state WHERE name = ?"
_UPSERT_STATE: Final = "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Journal:
    """The journal's one writer.

    Args:
        path: the database file; made if it is not there.
        now: when, for the name under which a damaged file is set aside.

    A damaged file is renamed, never deleted, and a new one is begun: see ``set_aside``, and ``salvaged`` for what
    the state was (None: not readable any more).

    Raises:
        JournalError: the file cannot be opened for another reason (rights, disk, a newer version's file), or it is damaged
            and cannot be renamed.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.salvaged: dict[str, Any] | None = None
        self._damage: sqlite3.DatabaseError | None = None
        try:
            self._db, self._last_id = _open(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise JournalError(f"{path} cannot be opened: {error}") from error
            self._begin_anew(now)

    def state(self, name: str) -> Any:
        """The value kept under ``name``; None if there is none.

        Raises:
            sqlite3.Error: it cannot be read; see ``is_damage``.
        """
        return _kept(self._db.conn, name)

    def states(self, beginning: str) -> dict[str, Any]:
        """The values kept under all names that begin so, by name, in the order of these.

        Raises:
            sqlite3.Error: as ``state``.
        """
        names = "SELECT name FROM state WHERE name >= ? AND name < ? ORDER BY name"
        found = self._db.conn.execute(names, [beginning, f"{beginning}\U0010ffff"]).fetchall()
        return {name: _kept(self._db.conn, name) for (name,) in found}

    def commit(self, records: Sequence[Record], state: Mapping[str, Any] | None = None) -> list[Written]:
        """Writes ``records`` and ``state`` (name → JSON value; None: it is no longer kept) in one durable transaction.

        Returns one ``Written`` for each record, in order; an error whose key is stored already gets the old id.

        Raises:
            JournalError: the disk, or SQLite, refuses. UnicodeEncodeError: half a character (a lone surrogate) is no text
                that can be stored. Whatever is raised, nothing was written.
        """
        try:
            return self._commit(records, state or {})
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"the journal cannot be written ({self.path}): {error}") from error
        except BaseException:
            self._roll_back()  # else the next group would find a transaction open
            raise

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.conn.rollback()

    def _commit(self, records: Sequence[Record], state: Mapping[str, Any]) -> list[Written]:
        if self._damage is not None:
            raise self._damage
        conn = self._db.conn
        conn.execute("BEGIN IMMEDIATE")
        known = self._known([record.key for record in records if isinstance(record, ErrorRecord) and record.key])
        next_id = self._last_id + 1
        written: list[Written] = []
        errors: list[tuple[int, ErrorRecord]] = []
        events: list[tuple[Any, ...]] = []
        for record in records:
            if isinstance(record, EventRecord):
                events.append((next_id, *record))
            else:
                if record.key is not None:
                    if record.key in known:
                        written.append(Written(known[record.key], new=False))
                        continue
                    known[record.key] = next_id
                errors.append((next_id, record))
            written.append(Written(next_id, new=True))
            next_id += 1
        if events:
            conn.executemany(_INSERT_EVENT, events)
        if errors:
            conn.executemany(_INSERT_ERROR, [(number, *one) for number, one in errors])
            conn.executemany(
                _INSERT_TEXT, [(number, one.message, one.type, one.component, one.operation) for number, one in errors]
            )
            groups, minutes = _rolled_up(errors)
            conn.executemany(_UPSERT_GROUP, groups)
            conn.executemany(_UPSERT_MINUTE, minutes)
        kept = {**state, "last_id": next_id - 1}
        conn.executemany(_DELETE_STATE, [(name,) for name, value in kept.items() if value is None])
        conn.executemany(
            _UPSERT_STATE, [(name, msgspec.json.encode(value).decode()) for name, value in kept.items() if value is not None]
        )
        conn.commit()
        self._last_id = next_id - 1
        return written

    def _known(self, keys: list[str]) -> dict[str, int]:
        if not keys:
            return {}
        wanted = msgspec.json.encode(keys).decode()
        rows = self._db.conn.execute("SELECT key, id FROM errors WHERE key IN (SELECT value FROM json_each(?))", [wanted])
        return dict(rows.fetchall())

    def forget(self, before: datetime, max_mb: float, chunk: int = 500) -> bool:
        """Deletes one chunk of what is older than ``before``, or of the oldest while the file is over ``max_mb`` (of 10^6 bytes).

        Returns whether there may be more to delete: call it again, with room for other work in between.

        Raises:
            sqlite3.Error: nothing was deleted. Where it is damage, the next ``commit`` says so, too.
        """
        if self._damage is not None:
            raise self._damage
        try:
            with self._db.atomic():
                return self._forget(before, max_mb, chunk)
        except sqlite3.DatabaseError as error:
            self._damage = error if is_damage(error) else None
            raise

    def _forget(self, before: datetime, max_mb: float, chunk: int) -> bool:
        conn = self._db.conn
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        if (pages - free) * size > max_mb * 1_000_000:
            # One cut through both tables, which share their ids: else the audit log would go first, for it is shorter.
            cut = conn.execute(_CUT, {"chunk": chunk}).fetchone() or conn.execute(_HALF, [self._last_id]).fetchone()
            chosen, values = "id < :cut", {"cut": cut[0]}
        else:
            # By their own time, wherever they stand: a clock that was ahead has left some that are young for long.
            chosen = "id IN (SELECT id FROM {table} WHERE at < :before ORDER BY at LIMIT :chunk)"
            values = {"before": as_text(before), "chunk": chunk}
        errors, events = (chosen.format(table=table) for table in ("errors", "events"))
        touched = [row[0] for row in conn.execute(f"SELECT DISTINCT fingerprint FROM errors WHERE {errors}", values)]
        deleted = 0
        if touched:
            conn.execute(_DELETE_TEXT + errors, values)
            deleted += conn.execute(f"DELETE FROM errors WHERE {errors}", values).rowcount
            conn.execute(_DELETE_GROUPS, [msgspec.json.encode(touched).decode()])
            conn.execute(_DELETE_MINUTES)
        deleted += conn.execute(f"DELETE FROM events WHERE {events}", values).rowcount
        return deleted >= chunk

    def start_anew(self, now: datetime) -> None:
        """Sets a file aside that proved damaged while in use, and begins a new one.

        Raises:
            JournalError: the file cannot be renamed (on Windows, while anybody has it open), or no new one begun. All is as
                it was, and from now on each ``commit`` says that the journal is damaged, so that this is tried again.
        """
        self._damage = DamagedError("it is damaged, and has yet to be set aside")
        self._db.conn.close()
        self._begin_anew(now)

    def _begin_anew(self, now: datetime) -> None:
        salvaged, kept_as = _salvage(self.path), name_aside(self.path, now)
        try:
            with contextlib.ExitStack() as undo:
                for ending in ("", "-wal", "-shm"):
                    part, kept = (file.with_name(file.name + ending) for file in (self.path, kept_as))
                    if part.exists():
                        part.rename(kept)
                        undo.callback(kept.replace, part)
                self._db, _ = _open(self.path)
                undo.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self.path} is damaged, and cannot be set aside: {error}") from error
        self.set_aside, self.salvaged, self._damage = kept_as, salvaged, None
        # Ids go on; where the last one is not known any more, from a number that no journal has reached.
        last_id = (salvaged or {}).get("last_id")
        self._last_id = last_id if isinstance(last_id, int) else int(now.timestamp())

    def close(self) -> None:
        """Folds the write-ahead log back into the file and closes it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.conn.close()


def _open(path: Path) -> tuple[Database, int]:
    """The database, checked if it is not too large for that, and the last id that was given out."""
    if not path.exists():
        path.touch(mode=0o600)
    conn = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        conn.execute("PRAGMA synchronous = FULL")  # an acknowledged report survives a power cut
        conn.execute("PRAGMA cache_size = -16000")
        version = conn.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise JournalError(f"{path} was written by a newer WinClaw (version {version}); install that one again")
        conn.execute("PRAGMA journal_mode = WAL")
        db = Database(conn)
        for number, migrate in enumerate(MIGRATIONS[version:], start=version + 1):
            with db.atomic():
                migrate(db)
                conn.execute(f"PRAGMA user_version = {number}")
        check(conn, path)
        last_id = _kept(conn, "last_id") or 0
        if not isinstance(last_id, int):
            raise DamagedError(f"the last id is {last_id!r}")
    except BaseException:
        conn.close()
        raise
    return db, last_id


def _kept(conn: sqlite3.Connection, name: str) -> Any:
    row = conn.execute("SELECT CAST(value AS BLOB) FROM state WHERE name = ?", [name]).fetchone()
    try:
        return None if row is None else msgspec.json.decode(row[0])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # no check of SQLite's sees what is in a text
        raise DamagedError(f"what is kept as {name} is not JSON: {error}") from error


def _salvage(path: Path) -> dict[str, Any] | None:
    """The state in a damaged file, as far as it can still be read; None if it cannot."""
    found: dict[str, Any] = {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
            for name, value in conn.execute("SELECT name, CAST(value AS BLOB) FROM state"):
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    found[name] = msgspec.json.decode(value)
    except sqlite3.Error:
        return found or None
    return found


def _rolled_up(errors: Sequence[tuple[int, ErrorRecord]]) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, int]]]:
    """The group's and the minutes' rows that ``errors`` add up to."""
    latest = {one.fingerprint: (number, one) for number, one in errors}
    spans: dict[str, list[Any]] = {}
    minutes: dict[tuple[str, str], int] = {}
    for _, one in errors:
        at, fingerprint = one.at, one.fingerprint
        span = spans.get(fingerprint)
        if span is None:
            spans[fingerprint] = [1, at, at]
        else:
            span[0] += 1
            span[1], span[2] = min(span[1], at), max(span[2], at)
        minute = (at[:16], fingerprint)
        minutes[minute] = minutes.get(minute, 0) + 1
    groups = [
        (name, one.kind, one.type, one.severity, one.component, one.operation, one.message, *spans[name], number)
        for name, (number, one) in latest.items()
    ]
    return groups, [(*minute, count) for minute, count in minutes.items()]
