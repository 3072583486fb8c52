"""What tells whether a row of the journal is still what was written: SQLite does not see a bit that has flipped inside a text.

Every row has the checksum of all its values, its id among them. A row of a journal that knew none has NULL there. Pure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from resilience.journal.schema import ErrorRecord, EventRecord

TOLD: Final = tuple(name for name in ErrorRecord._fields if name != "detail")
"""The fields of an error that lists tell; ``detail``, which may be long, has a checksum of its own."""
_EVENT: Final = EventRecord._fields


def of_values(values: Iterable[object]) -> int:
    """The checksum of ``values``, as SQLite gives them back: a truth value is a number."""
    return crc32("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))


def of_text(text: bytes | str) -> int:
    """The checksum of a long text."""
    return crc32(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def of_error(number: int, one: ErrorRecord) -> tuple[int, int]:
    """The checksums of an error: of what lists tell, and of its detail."""
    told = (number, *one[:11], int(one.is_transient), *one[12:15])
    return of_values(told), of_text(one.detail)


def of_event(number: int, one: EventRecord) -> int:
    """The checksum of an event."""
    return of_values((number, *one[:3], of_text(one.body)))


def is_error(row: sqlite3.Row | dict[str, Any], *, whole: bool) -> bool:
    """Whether a row of ``errors`` is what was written; ``whole``: its detail, too."""
    if row["sum"] is not None and row["sum"] != of_values((row["id"], *(row[name] for name in TOLD))):
        return False
    if not whole or row["detail_sum"] is None:
        return True
    return isinstance(row["detail"], bytes | str) and row["detail_sum"] == of_text(row["detail"])


def is_event(row: sqlite3.Row | dict[str, Any]) -> bool:
    """Whether a row of ``events`` is what was written."""
    if not isinstance(row["body"], bytes | str):
        return False
    told = (row["id"], *(row[name] for name in _EVENT[:3]), of_text(row["body"]))
    return row["sum"] is None or row["sum"] == of_values(told)
