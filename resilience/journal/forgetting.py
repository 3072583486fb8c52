"""What the journal forgets: what is too old, and the oldest where the file is too large, with all that is rolled up of it.

What was measured is forgotten by age when something is measured; here it goes where the file is too large.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final

import msgspec

from resilience.clock import as_text
from resilience.journal import samples

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
_FIRST_AT: Final = """
    SELECT min(at) FROM (
        SELECT * FROM (SELECT at FROM errors ORDER BY id LIMIT 1)
        UNION ALL SELECT * FROM (SELECT at FROM events ORDER BY id LIMIT 1))"""
# Of few rows that are large, the older half: the youngest has been acknowledged just now.
_HALF: Final = "SELECT (min(id) + ? + 1) / 2 FROM (SELECT min(id) AS id FROM errors UNION ALL SELECT min(id) FROM events)"


def forget(conn: sqlite3.Connection, last_id: int, before: datetime, max_mb: float, chunk: int) -> bool:
    """Deletes one chunk of what is older than ``before``, or of the oldest while the file is over ``max_mb`` (of 10^6 bytes).

    Args:
        conn: in a transaction. last_id: the last id that was given out.

    Returns whether there may be more to delete.
    """
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    if (pages - free) * size > max_mb * 1_000_000:
        if _are_samples_older(conn):
            samples.forget_oldest(conn, chunk)
            return True
        # One cut through both tables, which share their ids: else the audit log would go first, for it is shorter.
        cut = conn.execute(_CUT, {"chunk": chunk}).fetchone() or conn.execute(_HALF, [last_id]).fetchone()
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


def _are_samples_older(conn: sqlite3.Connection) -> bool:
    """Whether what was measured goes back further than all else."""
    minute, first_at = samples.oldest(conn), conn.execute(_FIRST_AT).fetchone()[0]
    return minute is not None and (first_at is None or minute < samples.minute_of(datetime.fromisoformat(first_at)))
