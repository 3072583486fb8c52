"""Finding the errors that fit a filter among a million, by the indexes that there are: which ids a page has."""

from __future__ import annotations

import heapq
import sqlite3
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlite_utils import Database

from resilience.context import ErrorSeverity

SEVERITIES: Final = frozenset(one.value for one in ErrorSeverity)
MAX_ID: Final = 2**63 - 1


class ErrorFilter(Struct, frozen=True, kw_only=True):
    """Which errors are wanted; what is None does not narrow.

    ``kind`` takes a whole branch of the taxonomy (``transient.network`` has ``transient.network.rate_limit`` in it);
    ``text`` is searched in message, type, component and operation; ``before`` is the id that a page ends before.
    """

    kind: str | None = None
    component: str | None = None
    fingerprint: str | None = None
    severity: ErrorSeverity | None = None
    text: str | None = None
    before: int | None = None


_LATEST: Final = """
    SELECT fingerprint, level.value AS severity, (
        SELECT max(id) FROM errors WHERE fingerprint = groups.fingerprint AND severity = level.value AND id < :before) AS latest
    FROM groups CROSS JOIN json_each(:severities) AS level WHERE {where} ORDER BY latest DESC LIMIT :limit"""
"""Of each trouble that fits, and of each severity, the latest error."""
_OF_TROUBLE: Final = """
    SELECT id FROM errors WHERE fingerprint = ? AND severity = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?"""


def newest(conn: sqlite3.Connection, wanted: ErrorFilter, limit: int) -> list[int]:
    """The ids of a page: of each trouble that fits, as many as can be among them, so that a rare one is not looked for among all.

    Errors of one fingerprint have one kind and one component: these are part of it.
    """
    where, values = conditions(replace(wanted, severity=None, before=None), "groups", page_by="last_id")
    severities = SEVERITIES if wanted.severity is None else {wanted.severity.value}
    values |= {"severities": msgspec.json.encode(sorted(severities)).decode(), "before": before(wanted), "limit": limit}
    best: list[int] = []  # a heap
    for fingerprint, severity, latest in conn.execute(_LATEST.format(where=" AND ".join(where) or "1"), values).fetchall():
        least = best[0] if len(best) == limit else 0
        if latest is None or latest < least:
            break
        for (number,) in conn.execute(_OF_TROUBLE, [fingerprint, severity, before(wanted), least, limit]):
            if len(best) < limit:
                heapq.heappush(best, number)
            else:
                heapq.heappushpop(best, number)
    return best


_HITS: Final = """
    SELECT rowid FROM errors_fts WHERE errors_fts MATCH :text AND rowid < :before {fitting} ORDER BY rowid DESC LIMIT :most"""
_FITTING: Final = """
    AND +rowid IN (SELECT errors.id FROM groups CROSS JOIN errors ON errors.fingerprint = groups.fingerprint WHERE {where})"""
"""With the plus, each hit is looked up among those that fit; without it, SQLite would search anew for each of these."""
_LOOKED_AT: Final = 5000


def found(conn: sqlite3.Connection, wanted: ErrorFilter, limit: int) -> list[int]:
    """The ids of a page of what a search finds. The index gives them newest first: a common word costs no more than a rare one.

    Where few of them fit, all that fit are looked up first.
    """
    text = Database(conn).quote_fts((wanted.text or "").replace("\0", " "))
    if not text.strip():
        return []
    where, values = conditions(replace(wanted, before=None), "errors", page_by="id")
    values |= {"text": text, "before": before(wanted), "limit": limit, "most": _LOOKED_AT if where else limit}
    hits = [number for (number,) in conn.execute(_HITS.format(fitting=""), values)]
    if not where:
        return hits
    where.append("id IN (SELECT value FROM json_each(:ids))")
    fit = f"SELECT id FROM errors WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
    fits = [number for (number,) in conn.execute(fit, {**values, "ids": msgspec.json.encode(hits).decode()})]
    if len(fits) == limit or len(hits) < _LOOKED_AT:
        return fits
    of_groups, _ = conditions(replace(wanted, severity=None, before=None), "groups", page_by="last_id")
    of_groups += ["errors.severity = :severity"] if wanted.severity is not None else []
    fitting = _HITS.format(fitting=_FITTING.format(where=" AND ".join(of_groups)))
    return [number for (number,) in conn.execute(fitting, {**values, "most": limit})]


def before(wanted: ErrorFilter) -> int:
    """The id that the page ends before; without one, one that no error has."""
    return MAX_ID if wanted.before is None else wanted.before


def conditions(wanted: ErrorFilter, table: str, page_by: str) -> tuple[list[str], dict[str, Any]]:
    """What has to hold for a row of ``table``, with the values for it; ``page_by`` is the column of the ids of its pages."""
    where: list[str] = []
    values: dict[str, Any] = {}
    if wanted.kind is not None:
        # The kind itself, and all that begin with it and a dot: '/' is what follows '.' in order.
        where.append(f"({table}.kind = :kind OR ({table}.kind >= :kind || '.' AND {table}.kind < :kind || '/'))")
        values["kind"] = wanted.kind
    severity = wanted.severity.value if wanted.severity is not None else None
    exactly = {"component": wanted.component, "fingerprint": wanted.fingerprint, "severity": severity}
    for name, value in exactly.items():
        if value is not None:
            where.append(f"{table}.{name} = :{name}")
            values[name] = value
    if wanted.before is not None:
        where.append(f"{table}.{page_by} < :before")
        values["before"] = wanted.before
    return where, values
