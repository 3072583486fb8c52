"""Copies of SQLite files that others may be writing, each of one moment; what their tables hold; and secrets left out of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from resilience.damage import DamagedError
from resilience.exporting.bundle import LATER, TABLES, Kind, Table
from resilience.exporting.leaving_out import Clean
from resilience.journal import sums

_BUSY_S: Final = 10.0
_AT_ONCE: Final = 500
_UNSENT: Final = "a value was left out of it when it was exported, so it is not sent by itself: "
_UNDONE_BY_HAND: Final = "what it kept was left out when it was exported, so a person has to see to it"


def snapshot(source: Path, target: Path) -> None:
    """Copies the database ``source`` as it is in one moment, neither waiting for who writes it nor holding him up.

    Raises:
        sqlite3.Error: it cannot be read, is damaged, or the disk is full; nothing usable is at ``target`` then.
    """
    target.touch(mode=0o600)
    with _opened(source, "rw") as conn:  # whoever may only read leaves a log behind that is never folded back
        conn.execute("VACUUM INTO ?", [str(target)])
    with _opened(target, "rw") as conn:
        finding = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if finding != "ok":
            raise DamagedError(f"the copy is not whole: {finding}")
        conn.execute("PRAGMA journal_mode = WAL")  # as it was: who opens it relies on that


def tables_in(path: Path, kind: Kind) -> dict[str, Table]:
    """What the tables of a closed database hold; nothing is written, not even beside it.

    The checksum is over the rows in their order, each as Python's ``ascii`` of its values and a line end.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as conn:
        conn.execute("PRAGMA trusted_schema = 0")
        if odd := conn.execute("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchone():
            raise DamagedError(f"it has {odd[0]!r}, a view or a trigger, which no database of WinClaw has")
        there = {row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        wanted = {table: order for table, order in TABLES[kind].items() if table in there or table not in LATER}
        rows = ((table, f"SELECT * FROM {table} ORDER BY {order}") for table, order in wanted.items())  # noqa: S608 -- ours
        return {table: _table(conn, query) for table, query in rows}


def _table(conn: sqlite3.Connection, query: str) -> Table:
    try:
        return _summed_up(conn.execute(query))
    except sqlite3.OperationalError:  # a text that is none; this way of reading takes twice as long
        conn.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        return _summed_up(conn.execute(query))


def _summed_up(rows: sqlite3.Cursor) -> Table:
    count, digest = 0, hashlib.sha256()
    for row in rows:
        count += 1
        digest.update(f"{row!a}\n".encode())
    return Table(count, digest.hexdigest())


def version_of(path: Path) -> int:
    """The version of the tables in a closed database."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as conn:
        version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    return version


def end_life(journal: Path) -> bool:
    """Has a copy of the journal say that its WinClaw has said goodbye; else the next one would take it for one that crashed.

    Returns whether it had not.
    """
    with changing(journal) as conn:
        row = conn.execute("SELECT value FROM state WHERE name = 'lives'").fetchone()
        lives = msgspec.json.decode(row[0]) if row is not None else None
        if not isinstance(lives, dict) or not lives.get("running"):
            return False
        value = msgspec.json.encode({**lives, "running": False}).decode()
        conn.execute("UPDATE state SET value = ? WHERE name = 'lives'", [value])
        _sum_up(conn, "state", "sum", sums.of_values(("lives", value)), "name = ?", "lives")
        return True


def clean_journal(journal: Path, names: Sequence[str], clean: Clean) -> None:
    """Leaves out of a copy of the journal what hides under ``names``, by which secrets may have been known only since.

    What was known to be a secret when it was stored was left out then. Rows in which no such name stands are not touched.
    """
    wanted = tuple(_plain(name) for name in names)
    if not wanted:
        return
    with changing(journal) as conn:
        before = len(clean.places)
        for number, message, detail in _chunks(conn, "SELECT id, message, detail FROM errors WHERE id > ? ORDER BY id"):
            if any(name in _plain(f"{message}{_text(detail)}") for name in wanted):
                _clean_error(conn, number, message, detail, clean)
        for number, body in _chunks(conn, "SELECT id, body FROM events WHERE id > ? ORDER BY id"):
            if any(name in _plain(_text(body)) for name in wanted):
                _clean_event(conn, number, body, clean)
        for fingerprint, message in conn.execute("SELECT fingerprint, message FROM groups").fetchall():
            after = clean.text(message, f"the group {fingerprint}")
            if after is not message:
                conn.execute("UPDATE groups SET message = ? WHERE fingerprint = ?", [after, fingerprint])
        if len(clean.places) > before:
            conn.execute("INSERT INTO errors_fts (errors_fts) VALUES ('rebuild')")
    if clean.places:
        _forget_what_was(journal)


def _clean_error(conn: sqlite3.Connection, number: int, message: str, detail: Any, clean: Clean) -> None:
    new_message, new_detail = clean.text(message, f"error {number}, message"), _clean_text(detail, f"error {number}", clean)
    if new_message is message and new_detail is detail:
        return
    conn.execute("UPDATE errors SET message = ?, detail = ? WHERE id = ?", [new_message, new_detail, number])
    row = conn.execute(f"SELECT id, {', '.join(sums.TOLD)} FROM errors WHERE id = ?", [number]).fetchone()  # noqa: S608 -- ours
    _sum_up(conn, "errors", "sum", sums.of_values(row), "id = ?", number)
    _sum_up(conn, "errors", "detail_sum", sums.of_text(new_detail), "id = ?", number)


def _clean_event(conn: sqlite3.Connection, number: int, body: Any, clean: Clean) -> None:
    after = _clean_text(body, f"event {number}", clean)
    if after is body:
        return
    conn.execute("UPDATE events SET body = ? WHERE id = ?", [after, number])
    row = conn.execute("SELECT id, at, type, component FROM events WHERE id = ?", [number]).fetchone()
    _sum_up(conn, "events", "sum", sums.of_values((*row, sums.of_text(after))), "id = ?", number)


def _sum_up(conn: sqlite3.Connection, table: str, column: str, checksum: int, where: str, which: object) -> None:
    """Gives a row that was changed the checksum that it has now, if it had one: an old journal knows none."""
    if any(row[1] == column for row in conn.execute(f"PRAGMA table_info({table})")):
        query = f"UPDATE {table} SET {column} = ? WHERE {where} AND {column} IS NOT NULL"  # noqa: S608 -- ours
        conn.execute(query, [checksum, which])


def clean_outbox(path: Path, now: str, clean: Clean) -> None:
    """Leaves secrets out of a copy of an outbox; a message that lacks one is not sent by itself: it counts as failed."""
    with changing(path) as conn:
        rows = conn.execute("SELECT id, channel, payload, why, settled_at FROM messages ORDER BY id").fetchall()
        for number, channel, payload, why, settled_at in rows:
            before = len(clean.places)
            place = f"message {number} to {clean.shown(channel)}"
            new_why, after = clean.text(why, f"{place}, why"), _clean_text(payload, place, clean) if payload else payload
            if after is not payload and settled_at is None:
                told = _UNSENT + ", ".join(clean.places[before : before + 3])
                conn.execute("UPDATE messages SET state = 'failed', settled_at = ?, why = ? WHERE id = ?", [now, told, number])
            elif new_why is not why:
                conn.execute("UPDATE messages SET why = ? WHERE id = ?", [new_why, number])
            if after is not payload:
                conn.execute("UPDATE messages SET payload = ? WHERE id = ?", [after, number])
    if clean.places:
        _forget_what_was(path)


def clean_transactions(path: Path, clean: Clean) -> None:
    """Leaves secrets out of a copy of transactions; a step that lacks one is left to a person, and is undone by no program."""
    with changing(path) as conn:
        rows = conn.execute(
            "SELECT steps.id, number, steps.name, kept, why, undo, is_open FROM steps JOIN transactions USING (id) ORDER BY 1, 2"
        ).fetchall()
        for id_, number, name, kept, why, undo, is_open in rows:
            place = f"transaction {id_}, step {number} {clean.shown(name)}"
            new_why, after = clean.text(why, f"{place}, why"), _clean_text(kept, place, clean) if kept else kept
            if after is not kept and is_open and undo:
                conn.execute("UPDATE steps SET registered = 0 WHERE id = ? AND number = ?", [id_, number])
                new_why = new_why or _UNDONE_BY_HAND
            if after is not kept or new_why is not why:
                conn.execute("UPDATE steps SET kept = ?, why = ? WHERE id = ? AND number = ?", [after, new_why, id_, number])
    if clean.places:
        _forget_what_was(path)


def _forget_what_was(path: Path) -> None:
    """Has no page keep what stood there before."""
    with _opened(path, "rw") as conn:
        conn.execute("VACUUM")


def _clean_text(text: Any, place: str, clean: Clean) -> Any:
    """A text that is JSON, or any other, without secrets; bytes stay bytes; the same object where it holds none."""
    given = _text(text)
    try:
        found = json.loads(given)
    except (ValueError, RecursionError):
        after = clean.text(given, place)
    else:
        new = clean.value(found, f"{place} $")
        after = given if new is found else json.dumps(new, separators=(",", ":"))
    if after is given:
        return text
    return after.encode("utf-8", "surrogateescape") if isinstance(text, bytes) else after


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _plain(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "")


def _chunks(conn: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of ``query``, which begins with an id and takes the last one; they may be changed in between."""
    last = -1
    while rows := conn.execute(f"{query} LIMIT {_AT_ONCE}", [last]).fetchall():
        yield from rows
        last = rows[-1][0]


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, in one transaction; when it is closed, the copy is one file again."""
    with _opened(path, "rw") as conn:
        conn.execute("PRAGMA secure_delete = 1")
        conn.execute("BEGIN IMMEDIATE")
        yield conn
        conn.execute("COMMIT")


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as conn:
        yield conn
