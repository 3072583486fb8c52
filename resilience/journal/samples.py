"""What is measured each minute, as the journal keeps it: how busy the machine was, and each service's calls.

These are for charts: unlike rows of errors and events they have no checksums, and of a damaged file they are not brought back.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

KEPT: Final = timedelta(days=8)
"""So long they are kept at most: a week, and what its charts begin with."""
_DELETE: Final = "DELETE FROM samples WHERE minute < ? OR minute > ?"
_INSERT: Final = "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)"
_READ: Final = """
    SELECT minute / :step * :step, component, avg(cpu_percent), avg(memory_percent), sum(calls), sum(failures), max(p95_ms)
    FROM samples WHERE minute BETWEEN :first AND :last GROUP BY 1, 2 ORDER BY 1, 2"""
_OLDEST: Final = "SELECT min(minute) FROM samples"
_FORGET: Final = """
    DELETE FROM samples WHERE minute <= (SELECT max(minute) FROM (SELECT minute FROM samples ORDER BY minute LIMIT ?))"""


class Sample(NamedTuple):
    """What was measured of one component; the columns of the table ``samples`` after ``minute``. None: nothing was.

    CPU and memory are in percent of what there is, on average; ``p95_ms`` is the slowest agent's.
    """

    component: str
    cpu_percent: float | None = None
    memory_percent: float | None = None
    calls: int | None = None
    failures: int | None = None
    p95_ms: float | None = None


def minute_of(at: datetime) -> int:
    """The minute in which ``at`` lies, counted from 1970."""
    return int(at.timestamp() // 60)


def keep(conn: sqlite3.Connection, minute: int, samples: Sequence[Sample], oldest: int) -> None:
    """Writes what was measured in ``minute``, instead of what stands there of it.

    What is of before the minute ``oldest`` is forgotten, and so is what a clock that was ahead has left.
    """
    conn.execute(_DELETE, [oldest, minute])
    conn.executemany(_INSERT, [(minute, *one) for one in samples])


def between(conn: sqlite3.Connection, first: int, last: int, step: int) -> list[tuple[int, Sample]]:
    """What was measured from the minute ``first`` to ``last``, in steps of so many minutes, each with its first minute.

    Of a step CPU and memory are the average, calls and failures the sum, and p95 the highest.
    """
    rows = conn.execute(_READ, {"first": first, "last": last, "step": step})
    return [(minute, Sample(component, *map(_number, numbers))) for minute, component, *numbers in rows]


def oldest(conn: sqlite3.Connection) -> int | None:
    """The first minute of which there is something."""
    minute: int | None = conn.execute(_OLDEST).fetchone()[0]
    return minute


def forget_oldest(conn: sqlite3.Connection, rows: int) -> None:
    """Deletes the oldest minutes, up to that in which the row of this number lies."""
    conn.execute(_FORGET, [rows])


def _number(value: Any) -> Any:
    """``value``, if it can have been measured: a bit may have flipped."""
    return value if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None
