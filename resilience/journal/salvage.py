"""Reading what can still be read of a damaged journal, row by row, around what cannot be."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from resilience.damage import is_damage, told_as_damage
from resilience.journal import sums
from resilience.journal.schema import ErrorRecord, EventRecord

_ROWS: Final = 200
_MAX_FAILURES: Final = 20_000
"""After so many reads that failed, what is left of a table is given up: some 10 µs each."""
_FIELDS: Final = {"errors": ErrorRecord._fields, "events": EventRecord._fields}
_NUMBERS: Final = frozenset({"severity", "is_transient"})
Table = str
Row = tuple[int, Any]
Span = tuple[int, int]


class Damaged:
    """A journal that may be damaged, open for reading; it is never written.

    Args:
        path: of the file; its write-ahead log is read with it, if that can be.

    Raises:
        sqlite3.Error: nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.damage = ""
        """What was found wrong, the last of it; empty: nothing."""
        for how in ("mode=ro", "mode=ro&immutable=1"):
            conn = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, check_same_thread=False)
            try:
                with told_as_damage():
                    names = {table: {row[1] for row in conn.execute(f"PRAGMA table_info({table})")} for table in _FIELDS}
                    conn.execute("SELECT count(*) FROM sqlite_master")
                break
            except sqlite3.Error:
                conn.close()
                if "immutable" in how:
                    raise
        self._conn = conn
        conn.row_factory = sqlite3.Row
        conn.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")  # which no checksum passes
        self._has_sums = {table: "sum" in columns for table, columns in names.items()}
        self.interrupt = conn.interrupt

    def close(self) -> None:
        """Closes it."""
        self._conn.close()

    def rows(self, table: Table, spans: Iterable[Span], is_ending: Callable[[], bool]) -> Iterator[list[Row]]:
        """What can be read of ``table`` in these spans of ids, as records with their ids, some at a time, in no order.

        Args:
            is_ending: asked in between, whether nobody wants any more.
        """
        sql = f"SELECT * FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT {_ROWS}"
        left, failures = deque(spans), 0
        while left and not is_ending():
            first, last = left.popleft()
            rows, failed = self._read(sql, (first, last))
            found = [row for row in (self._record(table, row) for row in rows) if row is not None]
            if found:
                yield found
            first = rows[-1]["id"] + 1 if rows else first
            if not failed:
                if len(rows) == _ROWS:
                    left.appendleft((first, last))
                continue
            failures += 1
            if first >= last or failures > _MAX_FAILURES:
                continue
            middle = (first + last) // 2  # the large spans first, so that what is given up in the end is small
            left.extend(((first, middle), (middle + 1, last)))

    @property
    def lowest_id(self) -> int:
        """The first id that it has, as far as that can be read; what is below was forgotten long ago."""
        found = []
        for table in _FIELDS:
            try:
                with told_as_damage():
                    found.append(self._conn.execute(f"SELECT min(id) FROM {table}").fetchone()[0])
            except (sqlite3.Error, OverflowError):
                return 1
        return max(min((number for number in found if isinstance(number, int)), default=1), 1)

    def _read(self, sql: str, span: Span) -> tuple[list[sqlite3.Row], bool]:
        """Rows with growing ids, up to the first that cannot be read; and whether there was one."""
        rows: list[sqlite3.Row] = []
        try:
            with told_as_damage():
                for row in self._conn.execute(sql, span):
                    if not (rows[-1]["id"] if rows else span[0] - 1) < row["id"] <= span[1]:
                        self.damage = "rows are not in the order of their ids"
                        return rows, True
                    rows.append(row)
        except (sqlite3.Error, OverflowError) as error:
            self.damage = str(error) if is_damage(error) else self.damage
            return rows, True
        return rows, False

    def _record(self, table: Table, row: sqlite3.Row) -> Row | None:
        """A row as what it was before it was written; None if it is that no more."""
        values = [row[name] for name in _FIELDS[table]]
        right = not self._has_sums[table] or (sums.is_error(row, whole=True) if table == "errors" else sums.is_event(row))
        if right and all(_is_fit(name, value) for name, value in zip(_FIELDS[table], values, strict=True)):
            values[-1] = values[-1] if isinstance(values[-1], bytes) else values[-1].encode()
            return row["id"], (ErrorRecord if table == "errors" else EventRecord)(*values)
        self.damage = f"row {row['id']} of the {table} is not what was written"
        return None


def _is_fit(name: str, value: Any) -> bool:
    """Whether a value has the type that its column has, and is text, or JSON, where it has to be."""
    if name in _NUMBERS:
        return isinstance(value, int) and 0 <= value < 100
    if name == "key" and value is None:
        return True
    try:
        if name in ("detail", "body"):
            return isinstance(msgspec.json.decode(value), dict)
        return isinstance(value, str) and value.encode() is not None
    except (ValueError, TypeError):  # no text, or no JSON
        return False
