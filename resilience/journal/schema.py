"""What the journal holds: its tables, how older files become this version's, and the records that are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from sqlite_utils import Database


class ErrorRecord(NamedTuple):
    """One error, ready to be stored; the fields are the columns of the table ``errors`` after ``id``."""

    at: str
    received_at: str
    kind: str
    type: str
    severity: int
    impact: str
    component: str
    operation: str
    agent: str
    fingerprint: str
    message: str
    is_transient: bool
    recovery_strategy: str
    reason: str
    key: str | None
    detail: bytes


class EventRecord(NamedTuple):
    """Anything else that happened; the columns of the table ``events`` after ``id``."""

    at: str
    type: str
    component: str
    body: bytes


Record = ErrorRecord | EventRecord


def _create(db: Database) -> None:
    db.executescript(
        """
        CREATE TABLE errors (
            id INTEGER PRIMARY KEY, at TEXT NOT NULL, received_at TEXT NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL,
            severity INTEGER NOT NULL, impact TEXT NOT NULL, component TEXT NOT NULL, operation TEXT NOT NULL,
            agent TEXT NOT NULL, fingerprint TEXT NOT NULL, message TEXT NOT NULL, is_transient INTEGER NOT NULL,
            recovery_strategy TEXT NOT NULL, reason TEXT NOT NULL, key TEXT, detail TEXT NOT NULL);
        CREATE UNIQUE INDEX errors_key ON errors (key) WHERE key IS NOT NULL;
        CREATE INDEX errors_fingerprint ON errors (fingerprint, id);
        CREATE INDEX errors_component ON errors (component, id);
        CREATE INDEX errors_at ON errors (at);
        CREATE TABLE events (
            id INTEGER PRIMARY KEY, at TEXT NOT NULL, type TEXT NOT NULL, component TEXT NOT NULL, body TEXT NOT NULL);
        CREATE INDEX events_at ON events (at);
        -- One row a fingerprint and one a fingerprint and minute, so that no page has to count a million rows.
        CREATE TABLE groups (
            fingerprint TEXT PRIMARY KEY, kind TEXT NOT NULL, type TEXT NOT NULL, severity INTEGER NOT NULL,
            component TEXT NOT NULL, operation TEXT NOT NULL, message TEXT NOT NULL, count INTEGER NOT NULL,
            first_at TEXT NOT NULL, last_at TEXT NOT NULL, last_id INTEGER NOT NULL) WITHOUT ROWID;
        CREATE INDEX groups_last ON groups (last_id);
        CREATE TABLE minutes (
            minute TEXT NOT NULL, fingerprint TEXT NOT NULL, count INTEGER NOT NULL,
            PRIMARY KEY (minute, fingerprint)) WITHOUT ROWID;
        CREATE INDEX minutes_fingerprint ON minutes (fingerprint, minute);
        CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        """
    )
    db.table("errors").enable_fts(["message", "type", "component", "operation"], fts_version="FTS5")


def _sum_up(db: Database) -> None:
    """Checksums, of each row that is written from now on: see ``sums``."""
    for column in ("errors ADD COLUMN sum", "errors ADD COLUMN detail_sum", "events ADD COLUMN sum", "state ADD COLUMN sum"):
        db.execute(f"ALTER TABLE {column} INTEGER")


def _find_newest(db: Database) -> None:
    """The newest errors that fit a filter are found from the groups, what happened around an alert by its time: ``history``."""
    db.execute("DROP INDEX errors_fingerprint")
    db.execute("CREATE INDEX errors_fingerprint ON errors (fingerprint, severity, id)")
    db.execute("DROP INDEX errors_component")
    db.execute("CREATE INDEX errors_component ON errors (component, at)")


def _sample(db: Database) -> None:
    """What is measured each minute, of the machine and of services: see ``samples``. ``minute`` counts from 1970."""
    db.execute(
        """
        CREATE TABLE samples (
            minute INTEGER NOT NULL, component TEXT NOT NULL, cpu_percent REAL, memory_percent REAL, calls INTEGER,
            failures INTEGER, p95_ms REAL, PRIMARY KEY (minute, component)) WITHOUT ROWID
        """
    )


def _index_events(db: Database) -> None:
    """What a component has had of each type, and when, without a look into the rows: see ``course``."""
    db.execute("CREATE INDEX events_component ON events (component, type, at)")


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (_create, _sum_up, _find_newest, _sample, _index_events)
"""Each takes the database from version n to n + 1 (``PRAGMA user_version``); never edited once released. Each changes a table or
an index: that tells a newer version from a number that has flipped."""
