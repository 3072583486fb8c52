"""The journal: everything that matters, on disk, before anybody is told (SQLite in WAL mode).

``Journal`` is the one writer and belongs to one thread. It takes what happened in groups, a transaction a group, and
gives each an id from one sequence: errors and all other events can be read back in the order in which they came.
``history`` reads.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from resilience.damage import DamagedError, is_damage, name_aside, told_as_damage
from resilience.journal import ahead, samples, sums
from resilience.journal.forgetting import forget
from resilience.journal.opening import kept, opened, remove
from resilience.journal.replacing import SET_ASIDE, fresh_beside, put, salvage, tidy
from resilience.journal.schema import ErrorRecord, EventRecord, Record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one record: its id, and whether it was new (False: its key was known already)."""

    id: int
    new: bool


class JournalError(Exception):
    """A group could not be written; nothing of it is stored."""


_ERROR_COLUMNS: Final = ", ".join(("id", *ErrorRecord._fields))
_INSERT_ERROR: Final = (
    f"INSERT INTO errors ({_ERROR_COLUMNS}, sum, detail_sum) VALUES (?{', ?' * len(ErrorRecord._fields)}, ?, ?)"
)
_INSERT_TEXT: Final = "INSERT INTO errors_fts (rowid, message, type, component, operation) VALUES (?, ?, ?, ?, ?)"
_INSERT_EVENT: Final = "INSERT INTO events (id, at, type, component, body, sum) VALUES (?, ?, ?, ?, ?, ?)"
# The words are those of the highest id: what is brought back from a damaged file is older than what stands there.
_UPSERT_GROUP: Final = """
    INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (fingerprint) DO UPDATE SET count = count + excluded.count, last_id = max(last_id, excluded.last_id),
        last_at = max(last_at, excluded.last_at), first_at = min(first_at, excluded.first_at),
        message = CASE WHEN excluded.last_id > last_id THEN excluded.message ELSE message END,
        severity = CASE WHEN excluded.last_id > last_id THEN excluded.severity ELSE severity END,
        kind = CASE WHEN excluded.last_id > last_id THEN excluded.kind ELSE kind END"""
_UPSERT_MINUTE: Final = """
    INSERT INTO minutes VALUES (?, ?, ?) ON CONFLICT (minute, fingerprint) DO UPDATE SET count = count + excluded.count"""
_DELETE_STATE: Final = "DELETE FROM state WHERE name = ?"
_UPSERT_STATE: Final = """
    INSERT INTO state (name, value, sum) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, sum = excluded.sum"""
_KNOWN_IDS: Final = """
    SELECT id FROM errors WHERE id IN (SELECT value FROM json_each(:ids))
    UNION ALL SELECT id FROM events WHERE id IN (SELECT value FROM json_each(:ids))"""


class Journal:
    """The journal's one writer.

    Args:
        path: the database file; made if it is not there.
        now: when, for the name under which a damaged file is set aside.

    A damaged file is renamed, never deleted, and a new one is begun: see ``set_aside``, and ``salvaged`` for what
    the state was (None: not readable any more). ``aside_before`` names those that were set aside before that one, the latest
    first, of which no state knows yet.

    Raises:
        JournalError: the file cannot be opened for another reason (rights, disk, a newer version's file), or it is damaged
            and cannot be renamed.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.salvaged: dict[str, Any] | None = None
        self.aside_before: tuple[str, ...] = ()
        self._damage: sqlite3.DatabaseError | None = None
        self._last_id = 0
        try:
            tidy(path, now)
            if ahead.is_broken(path):
                ahead.mend(path)  # for what is read of it below, and when it is repaired
                raise DamagedError("what was written ahead is not what was written")
            self._db, self._last_id = opened(path)
            self._remember()
        except (OSError, sqlite3.DatabaseError) as error:
            if not is_damage(error):
                raise JournalError(f"{path} cannot be opened: {error}") from error
            self._begin_anew(now)

    @property
    def last_id(self) -> int:
        """The last id that was given out."""
        return self._last_id

    def state(self, name: str) -> Any:
        """The value kept under ``name``; None if there is none.

        Raises:
            sqlite3.Error: it cannot be read; see ``is_damage``.
        """
        with told_as_damage():
            return kept(self._db.conn, name)

    def names(self, beginning: str) -> list[str]:
        """All names that begin so under which something is kept, in order.

        Raises:
            sqlite3.Error: as ``state``.
        """
        if self._damage is not None:  # it may be closed
            raise self._damage
        names = "SELECT name FROM state WHERE name >= ? AND name < ? ORDER BY name"
        with told_as_damage():
            return [name for (name,) in self._db.conn.execute(names, [beginning, f"{beginning}\U0010ffff"])]

    def states(self, beginning: str) -> dict[str, Any]:
        """The values kept under all names that begin so, by name, in the order of these.

        Raises:
            sqlite3.Error: as ``state``.
        """
        return {name: self.state(name) for name in self.names(beginning)}

    def commit(self, records: Sequence[Record], state: Mapping[str, Any] | None = None) -> list[Written]:
        """Writes ``records`` and ``state`` (name → JSON value; None: it is no longer kept) in one durable transaction.

        Returns one ``Written`` for each record, in order; an error whose key is stored already gets the old id.

        Raises:
            JournalError: the disk, or SQLite, refuses. UnicodeEncodeError: half a character (a lone surrogate) is no text
                that can be stored. Whatever is raised, nothing was written.
        """
        return self._transaction(lambda: self._commit(records, state or {}))

    def _transaction(self, write: Callable[[], T]) -> T:
        try:
            if self._damage is not None:
                raise self._damage
            with told_as_damage():
                return write()
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"the journal cannot be written ({self.path}): {error}") from error
        except BaseException:
            self._roll_back()  # else the next group would find a transaction open
            raise

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error), told_as_damage():
            self._db.conn.rollback()

    def _commit(self, records: Sequence[Record], state: Mapping[str, Any]) -> list[Written]:
        conn = self._db.conn
        conn.execute("BEGIN IMMEDIATE")
        known = self._known([record.key for record in records if isinstance(record, ErrorRecord) and record.key])
        # As it stands in the file: should a second WinClaw write here, for want of a lock, it gives out none of ours.
        next_id = max(self._last_id, kept(conn, "last_id") or 0) + 1
        written: list[Written] = []
        errors: list[tuple[int, ErrorRecord]] = []
        events: list[tuple[int, EventRecord]] = []
        for record in records:
            if isinstance(record, EventRecord):
                events.append((next_id, record))
            else:
                if record.key is not None:
                    if record.key in known:
                        written.append(Written(known[record.key], new=False))
                        continue
                    known[record.key] = next_id
                errors.append((next_id, record))
            written.append(Written(next_id, new=True))
            next_id += 1
        self._store(errors, events)
        self._keep({**state, "last_id": next_id - 1})
        conn.commit()
        self._last_id = next_id - 1
        return written

    def _store(self, errors: Sequence[tuple[int, ErrorRecord]], events: Sequence[tuple[int, EventRecord]]) -> None:
        """Writes rows under their ids, with all that is rolled up of them; ``errors`` in the order of their ids."""
        conn = self._db.conn
        if events:
            conn.executemany(_INSERT_EVENT, [(number, *one, sums.of_event(number, one)) for number, one in events])
        if errors:
            conn.executemany(_INSERT_ERROR, [(number, *one, *sums.of_error(number, one)) for number, one in errors])
            conn.executemany(
                _INSERT_TEXT, [(number, one.message, one.type, one.component, one.operation) for number, one in errors]
            )
            groups, minutes = _rolled_up(errors)
            conn.executemany(_UPSERT_GROUP, groups)
            conn.executemany(_UPSERT_MINUTE, minutes)

    def _keep(self, state: Mapping[str, Any]) -> None:
        conn = self._db.conn
        written = [(name, msgspec.json.encode(value).decode()) for name, value in state.items() if value is not None]
        conn.executemany(_DELETE_STATE, [(name,) for name, value in state.items() if value is None])
        conn.executemany(_UPSERT_STATE, [(name, value, sums.of_values((name, value))) for name, value in written])

    def bring_back(
        self, errors: Sequence[tuple[int, ErrorRecord]], events: Sequence[tuple[int, EventRecord]],
        state: Callable[[int, int], Mapping[str, Any]],
    ) -> tuple[int, int]:
        """Writes rows of an older file under their own ids, but for those whose id or key is there already.

        Args:
            state: what is kept with them, of how many errors and events are new.

        Returns how many errors and events are new.

        Raises:
            JournalError: as ``commit``.
        """
        return self._transaction(lambda: self._bring_back(errors, events, state))

    def _bring_back(
        self, errors: Sequence[tuple[int, ErrorRecord]], events: Sequence[tuple[int, EventRecord]],
        state: Callable[[int, int], Mapping[str, Any]],
    ) -> tuple[int, int]:
        conn = self._db.conn
        conn.execute("BEGIN IMMEDIATE")
        ids = msgspec.json.encode([number for number, _ in (*errors, *events)]).decode()
        taken = {row[0] for row in conn.execute(_KNOWN_IDS, {"ids": ids})}
        keys = set(self._known([one.key for _, one in errors if one.key]))
        new: dict[int, ErrorRecord] = {}
        for number, one in sorted(errors, key=itemgetter(0)):
            if number not in taken and number <= self._last_id and one.key not in keys:
                new[number] = one
                keys |= {one.key} if one.key is not None else set()
        others = {number: one for number, one in events if number not in taken and number not in new and number <= self._last_id}
        self._store(list(new.items()), list(others.items()))
        self._keep(state(len(new), len(others)))
        conn.commit()
        return len(new), len(others)

    def _known(self, keys: list[str]) -> dict[str, int]:
        if not keys:
            return {}
        wanted = msgspec.json.encode(keys).decode()
        rows = self._db.conn.execute("SELECT key, id FROM errors WHERE key IN (SELECT value FROM json_each(?))", [wanted])
        return dict(rows.fetchall())

    def sample(self, minute: int, measured: Sequence[samples.Sample], oldest: int) -> None:
        """Writes what was measured in ``minute`` (from 1970), and forgets what is of before the minute ``oldest``.

        Raises:
            JournalError: as ``commit``. Where it is damage, the next ``commit`` says so, too.
        """
        try:
            self._transaction(lambda: self._sample(minute, measured, oldest))
        except JournalError as error:
            if isinstance(cause := error.__cause__, sqlite3.DatabaseError) and is_damage(cause):
                self._damage = cause
            raise

    def _sample(self, minute: int, measured: Sequence[samples.Sample], oldest: int) -> None:
        self._db.conn.execute("BEGIN IMMEDIATE")
        samples.keep(self._db.conn, minute, measured, oldest)
        self._db.conn.commit()

    def forget(self, before: datetime, max_mb: float, chunk: int = 500) -> bool:
        """Deletes one chunk of what is older than ``before``, or of the oldest while the file is over ``max_mb`` (of 10^6 bytes).

        Returns whether there may be more to delete: call it again, with room for other work in between.

        Raises:
            sqlite3.Error: nothing was deleted. Where it is damage, the next ``commit`` says so, too.
        """
        if self._damage is not None:
            raise self._damage
        try:
            with told_as_damage(), self._db.atomic():
                return forget(self._db.conn, self._last_id, before, max_mb, chunk)
        except sqlite3.DatabaseError as error:
            self._damage = error if is_damage(error) else None
            raise

    def start_anew(self, now: datetime) -> None:
        """Sets a file aside that proved damaged while in use, and begins a new one.

        Raises:
            JournalError: the file cannot be renamed (on Windows, while anybody has it open), or no new one begun. All is as
                it was, and from now on each ``commit`` says that the journal is damaged, so that this is tried again.
        """
        self._damage = DamagedError("it is damaged, and has yet to be set aside")
        self._db.conn.close()
        self._begin_anew(now)

    def suspect(self, damage: str, kept_as: Path | None) -> None:
        """Takes the file for damaged, as somebody has found who reads it; the next ``commit`` says so.

        Args:
            kept_as: ``set_aside`` when the look at it began; if it is another by now, so is the file, and nothing is done.
        """
        if kept_as == self.set_aside:
            self._damage = DamagedError(damage)

    def _begin_anew(self, now: datetime) -> None:
        (salvaged, before), kept_as = salvage(self.path), name_aside(self.path, now)
        # Ids go on; where the last one is not known any more, from a number that no journal has reached.
        last_id = max(self._last_id, (salvaged or {}).get("last_id", 0)) or int(now.timestamp())
        before = tuple(dict.fromkeys((*before, *self.aside_before)))
        begins_with = {SET_ASIDE: {"file": kept_as.name, "salvaged": salvaged, "before": before}, "last_id": last_id}
        try:
            with put(self._make_fresh(begins_with), self.path, kept_as) as undo:
                self._db, self._last_id = opened(self.path)
                undo.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self.path} is damaged, and cannot be set aside: {error}") from error
        self.set_aside, self.salvaged, self.aside_before, self._damage = kept_as, salvaged, before, None

    def _make_fresh(self, state: Mapping[str, Any]) -> Path:
        """A new file beside the damaged one, whole and closed, so that at no moment there is less than one of them."""
        fresh = fresh_beside(self.path)
        remove(fresh)
        self._db, _ = opened(fresh)
        try:
            self._keep(state)
        finally:
            self._db.conn.close()
        return fresh

    def _remember(self) -> None:
        """What an earlier WinClaw, which ended before it had written all that is in force, began this file with."""
        begun_with = kept(self._db.conn, SET_ASIDE)
        if begun_with is not None:
            self.set_aside, self.salvaged = self.path.with_name(begun_with["file"]), begun_with["salvaged"]
            self.aside_before = tuple(begun_with.get("before", ()))

    def close(self) -> None:
        """Folds the write-ahead log back into the file and closes it."""
        with contextlib.suppress(sqlite3.Error), told_as_damage():
            self._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.conn.close()


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
