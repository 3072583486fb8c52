"""The outbox on disk: one SQLite file an agent, which every process of it may open. Standard library only.

Each call is one transaction, on disk when it returns. A message is *open* (``settled_at IS NULL``) while it waits or is
being sent; then it is sent, failed or expired, and its key stays known for a while.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from resilience.clock import Clock, as_text
from resilience.outbox.file import OutboxError, OutboxFullError
from resilience.shared_file import SharedFile

_AT_ONCE: Final = 100
_WAITING: Final = "SELECT channel, count(*) FROM messages WHERE settled_at IS NULL GROUP BY channel"
_SCHEMA: Final = (
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL,
        expires_at TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, in_doubt INTEGER NOT NULL,
        settled_at TEXT, why TEXT NOT NULL, payload TEXT NOT NULL, UNIQUE (channel, key))""",
    "CREATE INDEX messages_open ON messages (channel, id, in_doubt) WHERE settled_at IS NULL",
    "CREATE INDEX messages_expiry ON messages (expires_at) WHERE state = 'waiting'",
    "CREATE INDEX messages_not_sent ON messages (channel, state) WHERE state IN ('failed', 'expired')",
    "CREATE INDEX messages_settled ON messages (settled_at) WHERE settled_at IS NOT NULL",
    "PRAGMA user_version = 1",
)


class Head(NamedTuple):
    """The oldest open message of a channel, as it stands in the file, and how many are open in it."""

    channel: str
    waiting: int
    doubts: int
    id: int
    key: str
    at: str
    attempts: int
    in_doubt: bool
    why: str


class Outcome(NamedTuple):
    """What became of a message that was being sent: the columns to set. ``settled_at`` None: it waits again."""

    head: Head
    state: str
    attempts: int
    in_doubt: bool
    why: str
    settled_at: str | None


class OutboxStore:
    """The messages of one agent; any thread may call. For the arguments see ``SharedFile``.

    Every method raises ``OutboxError`` where the file cannot be read or written.
    """

    def __init__(self, path: Path, clock: Clock, damaged: Callable[[OutboxError], Any]) -> None:
        self._file = SharedFile(path, "outbox", OutboxError, _SCHEMA, clock, damaged)
        self.close = self._file.close

    def add(self, channel: str, key: str, payload: str, lifetime: tuple[datetime, datetime], max_messages: int) -> bool:
        """Stores a message, unless its key is known; returns whether it was stored. lifetime: from when until when.

        Raises:
            OutboxFullError: as many as ``max_messages`` are open.
        """

        def work(conn: sqlite3.Connection) -> bool:
            if conn.execute("SELECT 1 FROM messages WHERE channel = ? AND key = ?", (channel, key)).fetchone():
                return False
            if conn.execute("SELECT count(*) FROM messages WHERE settled_at IS NULL").fetchone()[0] >= max_messages:
                raise OutboxFullError(
                    f"the outbox is full: {max_messages} messages wait in {self._file.path} (max_messages); see in its status "
                    "why they wait, or raise the limit"
                )
            conn.execute(
                "INSERT INTO messages (channel, key, at, expires_at, state, attempts, in_doubt, why, payload)"
                " VALUES (?, ?, ?, ?, 'waiting', 0, 0, '', ?)",
                (channel, key, *map(as_text, lifetime), payload),
            )
            return True

        return self._file.do(work)

    def heads(self) -> list[Head]:
        """The oldest open message of each channel that has any."""
        rows = self._read(
            "SELECT channel, count(*), sum(in_doubt), min(id), key, at, attempts, in_doubt, why"
            " FROM messages WHERE settled_at IS NULL GROUP BY channel"
        )
        return [Head._make(row)._replace(in_doubt=bool(row[7])) for row in rows]

    def waiting(self) -> dict[str, int]:
        """How many messages are open, by channel."""
        return dict(self._read(_WAITING))

    def not_sent(self) -> dict[tuple[str, str], int]:
        """How many messages are ``failed`` and ``expired``, by channel and state."""
        query = "SELECT channel, state, count(*) FROM messages WHERE state IN ('failed', 'expired') GROUP BY channel, state"
        return {(channel, state): count for channel, state, count in self._read(query)}

    def claim(self, head: Head, *, in_doubt: bool) -> str | None:
        """Takes a waiting message to be sent, as one more attempt; returns its payload, or None if it is not there any more."""
        rows = self._write(
            "UPDATE messages SET state = 'sending', attempts = attempts + 1, in_doubt = ?"
            " WHERE id = ? AND key = ? AND state = 'waiting' AND attempts = ? RETURNING payload",
            in_doubt, head.id, head.key, head.attempts,
        )  # fmt: skip
        return str(rows[0][0]) if len(rows) == 1 else None

    def payload(self, head: Head) -> str:
        """The payload of a message, as JSON; empty if it is not there any more."""
        rows = self._read("SELECT payload FROM messages WHERE id = ? AND key = ?", head.id, head.key)
        return str(rows[0][0]) if rows else ""

    def conclude(self, outcome: Outcome) -> None:
        """Writes what became of a message; what was sent loses its payload and keeps its key."""
        self._write(
            "UPDATE messages SET state = ?1, attempts = ?2, in_doubt = ?3, why = ?4, settled_at = ?5,"
            " payload = CASE ?1 WHEN 'sent' THEN '' ELSE payload END WHERE id = ?6 AND key = ?7 AND settled_at IS NULL",
            *outcome[1:], outcome.head.id, outcome.head.key,
        )  # fmt: skip

    def recover(self) -> None:
        """Puts what a dead process was sending back, in doubt. Only for whoever holds the lock."""
        self._write("UPDATE messages SET state = 'waiting', in_doubt = 1 WHERE state = 'sending' AND settled_at IS NULL")

    def next_expiry(self) -> datetime | None:
        """When the next waiting message expires; None if none waits."""
        [(found,)] = self._read("SELECT min(expires_at) FROM messages WHERE state = 'waiting'")
        return None if found is None else datetime.fromisoformat(found)

    def expire(self, now: datetime) -> list[tuple[str, str, str, bool]]:
        """Settles some of the messages whose time is over; returns channel, key, when accepted and whether in doubt of each."""
        return self._write(
            "UPDATE messages SET state = 'expired', settled_at = ?1 WHERE id IN (SELECT id FROM messages"
            " WHERE state = 'waiting' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)"
            " RETURNING channel, key, at, in_doubt",
            as_text(now), _AT_ONCE,
        )  # fmt: skip

    def forget(self, before: datetime) -> bool:
        """Removes some of the messages that were settled ``before``; returns whether there were any."""
        return bool(self._write(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE settled_at < ? ORDER BY settled_at LIMIT ?)"
            " RETURNING id",
            as_text(before), _AT_ONCE,
        ))  # fmt: skip

    def revive(self, channel: str, key: str, expires_at: datetime) -> bool:
        """Puts a failed or expired message back at its place; returns whether there was one."""
        return bool(self._write(
            "UPDATE messages SET state = 'waiting', attempts = 0, settled_at = NULL, expires_at = ?"
            " WHERE channel = ? AND key = ? AND state IN ('failed', 'expired') RETURNING id",
            as_text(expires_at), channel, key,
        ))  # fmt: skip

    def _read(self, query: str, *values: Any) -> list[Any]:
        return self._file.do(lambda conn: conn.execute(query, values).fetchall(), writes=False)

    def _write(self, query: str, *values: Any) -> list[Any]:
        """Runs ``query`` in a transaction of its own; returns what it gives of the rows that it changed."""
        return self._file.do(lambda conn: conn.execute(query, values).fetchall())


def waiting_in(path: Path) -> dict[str, int] | None:
    """How many messages wait in the outbox ``path``, by channel; None if it cannot be read now."""
    uri = f"{path.absolute().as_uri()}?mode=rw"  # never an empty file in place of one that has just been set aside
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.2)) as conn:
        conn.execute("PRAGMA query_only = 1")
        return dict(conn.execute(_WAITING).fetchall())
    return None
