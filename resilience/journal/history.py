"""Reading the journal, from any thread: events since an id, errors by page, groups, one error whole.

Every list is paged by key (``before`` or ``since`` an id), so that the millionth row costs what the first one does.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from resilience.context import ErrorSeverity
from resilience.damage import told_as_damage
from resilience.events import Event, EventType
from resilience.journal import course, samples, sums
from resilience.journal.course import Course
from resilience.journal.finding import MAX_ID, SEVERITIES, before, conditions, found, newest
from resilience.journal.finding import ErrorFilter as ErrorFilter

MAX_ROWS: Final = 500
_MAX_IDLE: Final = 8
_log = logging.getLogger("winclaw.core")
_TOLD: Final = ", ".join(f"errors.{name}" for name in ("id", *sums.TOLD, "sum"))
"""The columns of an error's event; what is in ``detail`` may be long."""
_as_text: Final = partial(str, encoding="utf-8", errors="replace")
"""A text with a bit that has flipped may be none any more; its row is left out for its checksum, and the others are read."""


class History:
    """The journal's readers; each takes a connection of its own, so that none waits for another or for the writer.

    No list that takes a ``limit`` has more than ``MAX_ROWS`` rows. All raise sqlite3.Error where the file cannot be read. A row
    that is not what was written is never told: ``saw_damage`` says that there was one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.saw_damage = False
        self._idle: list[sqlite3.Connection] = []
        self._closed = 0
        self._lock = threading.Lock()  # guards both: none is laid down behind a close, to read a file that was set aside
        self._moment = threading.local()

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """All that this thread reads inside is as it was at one moment, so that its parts agree."""
        with self._reading() as conn:
            if conn.in_transaction:  # inside another one
                yield
                return
            conn.execute("BEGIN")
            self._moment.conn = conn
            try:
                yield
            finally:
                self._moment.conn = None
                conn.rollback()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        of_moment: sqlite3.Connection | None = getattr(self._moment, "conn", None)
        if of_moment is not None:
            with told_as_damage():
                yield of_moment
            return
        with self._lock:
            closed, conn = self._closed, self._idle.pop() if self._idle else None
        if conn is None:
            conn = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=10, check_same_thread=False)
            conn.row_factory, conn.text_factory = sqlite3.Row, _as_text
        try:
            with told_as_damage():
                yield conn
        except BaseException:
            conn.close()  # whatever went wrong, the next reader starts afresh
            raise
        with self._lock:
            is_kept = closed == self._closed and len(self._idle) < _MAX_IDLE
            if is_kept:
                self._idle.append(conn)
        if not is_kept:
            conn.close()

    def close(self) -> None:
        """Closes the connections at rest, and those in use as soon as they are not; later readers open the file anew."""
        with self._lock:
            self._closed += 1
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()

    def events(self, since: int, limit: int = 200, newest: bool = False) -> list[Event]:
        """Events with an id above ``since``, oldest first; with ``newest`` the last ``limit`` of them."""
        limit, order = min(limit, MAX_ROWS), "DESC" if newest else "ASC"
        sql = f"SELECT {{}} WHERE id > ? ORDER BY id {order} LIMIT ?"
        # Both tables as they are at one moment: else one might lack what the other goes beyond.
        with self.at_one_moment(), self._reading() as conn:
            errors = self._errors(conn.execute(sql.format(f"{_TOLD} FROM errors"), [since, limit]))
            others = self._others(conn.execute(sql.format("* FROM events"), [since, limit]))
        found = sorted([*errors, *others], key=lambda event: event.id)
        return found[-limit:] if newest else found[:limit]

    def between(self, since: str, until: str, components: Collection[str] | None, limit: int = MAX_ROWS) -> list[Event]:
        """What happened from ``since`` to ``until`` (ISO 8601 text as stored), by its time: errors of ``components``, all else.

        With None, errors of all components. Of each sort the first ``limit``, so that many errors do not hide how it ended.
        """
        limit, span = min(limit, MAX_ROWS), "WHERE at BETWEEN ? AND ? {} ORDER BY at, id LIMIT ?"
        named = [] if components is None else [msgspec.json.encode(list(components)).decode()]
        of_components = span.format("AND component IN (SELECT value FROM json_each(?))" if named else "")
        with self._reading() as conn:
            found = conn.execute(f"SELECT {_TOLD} FROM errors {of_components}", [since, until, *named, limit])
            errors = self._errors(found)
            others = self._others(conn.execute(f"SELECT * FROM events {span.format('')}", [since, until, limit]))
        return sorted([*errors, *others], key=lambda event: (event.at, event.id))

    def course(self, since: str, until: str, known: Mapping[str, Collection[str]], digits: int) -> Course:
        """What has changed from ``since`` to ``until`` (ISO 8601 text as stored), and how what changed had stood before.

        Args:
            known: components by their family, which are told of whether they changed or not; they come first.
            digits: where there is very much, of events of one sort whose times begin with the same so many characters only the
                last one is told.
        """
        with self.at_one_moment(), self._reading() as conn:
            found = course.chosen(conn, since, until, known, digits)
            begun = conn.execute("SELECT min(at) FROM events").fetchone()[0]
            sql = "SELECT * FROM events WHERE id IN (SELECT value FROM json_each(?))"
            before, events = (
                self._others(conn.execute(sql, [msgspec.json.encode(ids).decode()])) for ids in (found.before, found.events)
            )
        return Course(course.latest(before), tuple(sorted(events, key=course.in_order)), found.left_out, begun)

    def errors(self, wanted: ErrorFilter, limit: int = 50) -> list[Event]:
        """One page of errors, newest first."""
        limit = min(limit, MAX_ROWS)
        with self.at_one_moment(), self._reading() as conn:
            if wanted == ErrorFilter(before=wanted.before):
                latest = f"SELECT {_TOLD} FROM errors WHERE id < ? ORDER BY id DESC LIMIT ?"
                rows = conn.execute(latest, [before(wanted), limit]).fetchall()
            else:
                ids = (found if wanted.text else newest)(conn, wanted, limit)
                by_id = f"SELECT {_TOLD} FROM errors WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
                rows = conn.execute(by_id, [msgspec.json.encode(ids).decode()]).fetchall()
        return self._errors(rows)

    def error(self, error_id: int) -> Event | None:
        """One error with everything known of it (``stack``, ``cause``, ``metadata``); None if there is none."""
        if error_id > MAX_ID:  # SQLite would raise
            return None
        with self._reading() as conn:
            row = conn.execute("SELECT * FROM errors WHERE id = ?", [error_id]).fetchone()
        if row is None or not self._is_right(row, sums.is_error(row, whole=True)):
            return None
        event = error_event(row)
        return replace(event, body={**event.body, **msgspec.json.decode(row["detail"])})

    def error_after(self, error_id: int) -> int | None:
        """The id of the next error after ``error_id``; None if that is the newest."""
        with self._reading() as conn:
            row = conn.execute("SELECT id FROM errors WHERE id > ? ORDER BY id LIMIT 1", [error_id]).fetchone()
        return row["id"] if row is not None else None

    def groups(self, wanted: ErrorFilter | None = None, since: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """Errors that are the same trouble, the last seen first, each with its count.

        Args:
            since: only groups seen at this moment or after it (ISO 8601 text as stored).
        """
        where, values = conditions(wanted or ErrorFilter(), "groups", page_by="last_id")
        with self._reading() as conn:
            rows = conn.execute(
                f"SELECT * FROM groups WHERE {' AND '.join([*where, 'last_at >= :since'])} ORDER BY last_id DESC LIMIT :limit",
                {**values, "since": since, "limit": min(limit, MAX_ROWS)},
            ).fetchall()
        return _as_groups(rows)

    def troubles(self, since: str, until: str, limit: int = 50) -> list[dict[str, Any]]:
        """The same of whole minutes, from that of ``since`` to the one before that of ``until``: the most frequent first.

        ``count`` is how often each came then; all else of a group is what is known of it now.
        """
        with self._reading() as conn:
            return _as_groups(conn.execute(course.TROUBLES, [since[:16], until[:16], min(limit, MAX_ROWS)]))

    def per_minute(self, since: str, fingerprints: Sequence[str] | None = None) -> list[tuple[str, str, int]]:
        """(minute, fingerprint, errors) since the minute of ``since``, all of them; with None, all together under ``""``."""
        with self._reading() as conn:
            if fingerprints is None:
                sql = "SELECT minute, '', sum(count) FROM minutes WHERE minute >= ? GROUP BY minute ORDER BY minute"
                values = [since[:16]]
            else:
                sql = """SELECT minute, fingerprint, count FROM minutes
                    WHERE minute >= ? AND fingerprint IN (SELECT value FROM json_each(?)) ORDER BY minute"""
                values = [since[:16], msgspec.json.encode(list(fingerprints)).decode()]
            return [tuple(row) for row in conn.execute(sql, values)]

    def samples(self, first: int, last: int, step: int = 1) -> list[tuple[int, samples.Sample]]:
        """What was measured from the minute ``first`` to ``last`` (from 1970), in steps of so many minutes; see ``samples``."""
        with self._reading() as conn:
            return samples.between(conn, first, last, step)

    def counts_since(self, since: str, names: Collection[str]) -> dict[str, int]:
        """How many errors came in after ``since`` of each of ``names``, which are components or main branches of kinds."""
        if not names:
            return {}
        found: Counter[str] = Counter()
        with self._reading() as conn:
            # Newest first and to the first that is too old: what a window holds, not the table.
            for received_at, component, kind in conn.execute("SELECT received_at, component, kind FROM errors ORDER BY id DESC"):
                if received_at <= since:
                    break
                found.update({component, kind.partition(".")[0]} & set(names))
        return dict(found)

    def _errors(self, rows: Iterable[sqlite3.Row]) -> list[Event]:
        return [error_event(row) for row in rows if self._is_right(row, sums.is_error(row, whole=False))]

    def _others(self, rows: Iterable[sqlite3.Row]) -> list[Event]:
        return [_event(row) for row in rows if self._is_right(row, sums.is_event(row))]

    def _is_right(self, row: sqlite3.Row, is_right: bool) -> bool:
        if not is_right and not self.saw_damage:
            self.saw_damage = True
            _log.error("a row of the journal is not what was written, and is not told any more: %s", row[0])
        return is_right

    def state(self, name: str) -> Any:
        """The value that is kept under ``name``; None if there is none, or it is not what was written."""
        with self._reading() as conn:
            row = conn.execute("SELECT value, sum FROM state WHERE name = ?", [name]).fetchone()
        is_right = row is not None and row["sum"] in (None, sums.of_values((name, row["value"])))
        return msgspec.json.decode(row["value"]) if is_right else None

    def kinds(self) -> dict[str, int]:
        """How many errors of each kind there are, from the groups."""
        with self._reading() as conn:
            return dict(tuple(row) for row in conn.execute("SELECT kind, sum(count) FROM groups GROUP BY kind ORDER BY kind"))


def _as_groups(rows: Iterable[sqlite3.Row]) -> list[dict[str, Any]]:
    known = [row for row in rows if row["severity"] in SEVERITIES]  # these are counts, and have no checksums
    return [{**dict(row), "severity": ErrorSeverity(row["severity"]).name} for row in known]


def _event(row: sqlite3.Row) -> Event:
    return Event(row["id"], row["at"], row["type"], row["component"], msgspec.json.decode(row["body"]))


def error_event(row: sqlite3.Row | dict[str, Any]) -> Event:
    """The event of an error; ``row`` has the columns of ``errors``."""
    body = {
        "kind": row["kind"],
        "error_type": row["type"],
        "severity": ErrorSeverity(row["severity"]).name,
        "impact": row["impact"],
        "operation": row["operation"],
        "agent": row["agent"],
        "message": row["message"],
        "fingerprint": row["fingerprint"],
        "is_transient": bool(row["is_transient"]),
        "recovery_strategy": row["recovery_strategy"],
        "reason": row["reason"],
        "received_at": row["received_at"],
    }
    return Event(row["id"], row["at"], EventType.ERROR.value, row["component"], body)
