"""The care of the journal: brings back what can still be read of damaged ones, looks for damage, and makes backups (§9).

It reads on connections of its own. What has to be written goes through the journal's one writer, in chunks, between which the
core's groups are written.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from resilience import damage
from resilience.clock import Clock, as_text
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import CareTold
from resilience.journal import backup, pages
from resilience.journal.health import MAX_GAPS, BackedUp, Checked, Repaired
from resilience.journal.journal import Journal, JournalError
from resilience.journal.salvage import Damaged, Row, Span
from resilience.repeating import Repeating

_EVERY_S: Final = 5.0
_SETTLES_S: Final = 60.0
"""So long a start is left alone by checks and backups."""
_COMMIT_S: Final = 60.0
_MAX_REST_S: Final = 1.0
_COUNTABLE: Final = 10_000_000
_TABLES: Final = ("errors", "events")
_PROGRESS: Final = "repair"
"""Under this name the journal keeps how much was brought back of which file, in the transactions that do so."""
_log = logging.getLogger("winclaw.care")


class JournalCare:
    """Looks every five seconds whether there is something to do for the journal.

    Args:
        path: the journal. backups: the folder for its backups, made with the first.
    """

    def __init__(self, path: Path, backups: Path, core: Core, clock: Clock) -> None:
        self._path, self._backups, self._core, self._clock = path, backups, core, clock
        self._begun_s = clock.monotonic()
        self._was_checked = damage.is_checked_whole(path)  # when it was opened
        self._was_copy_damaged = False  # by what a check does not look at, as it would hold up whoever writes
        self._ending = threading.Event()
        self._reading: sqlite3.Connection | Damaged | None = None
        self._repeating = Repeating("care", _EVERY_S, self.look)
        self.start = self._repeating.start

    def stop(self) -> None:
        """Ends; what is under way is broken off, and begun anew by the next WinClaw."""
        self._ending.set()
        if (reading := self._reading) is not None:
            with contextlib.suppress(sqlite3.Error):  # it has just been closed
                reading.interrupt()
        self._repeating.stop()

    def look(self) -> bool:
        """Does the most urgent thing that there is to do; returns whether there may be more."""
        try:
            return self._look()
        except (CoreBusyError, JournalError, TimeoutError, sqlite3.Error, OSError) as error:
            if not self._ending.is_set():
                _log.warning("the care of the journal has to wait: %s", error)
            return False

    def _look(self) -> bool:
        health, policy, now = self._core.state.health, self._core.state.settings.recovery, self._clock.now()
        if health.to_repair:
            self._repair(health.to_repair[0])
            return not self._ending.is_set()
        saw_damage = self._core.history.saw_damage
        if self._clock.monotonic() - self._begun_s < _SETTLES_S and not saw_damage:
            return False
        if saw_damage or self._was_copy_damaged or not self._was_checked or health.is_check_due(now, policy.check_every_h):
            self._check()
            return not self._ending.is_set()
        if policy.backups and health.is_backup_due(now, policy.backup_every_h):
            self._back_up(policy.backups)
        return False

    # Damage is looked for.

    def _check(self) -> None:
        now, began_s = self._clock.now(), self._clock.monotonic()
        kept_as = self._with_journal(lambda journal: journal.set_aside)
        self._core.history.saw_damage = False
        finding = self._finding()
        if self._ending.is_set():
            return
        self._was_checked, self._was_copy_damaged = True, False
        if finding:
            _log.error("the check of the journal has found damage: %s", finding)
            self._with_journal(lambda journal: journal.suspect(finding, kept_as))
        self._tell(Checked(at=now, finding=finding, seconds=round(self._clock.monotonic() - began_s, 3)))

    def _finding(self) -> str:
        """What is wrong with the journal; empty: nothing.

        Raises:
            sqlite3.Error: it could not be looked at.
        """
        try:
            with self._opened(self._path, "ro") as conn:
                finding: str = conn.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if finding != "ok":
                return finding
            if self._was_copy_damaged:
                with self._opened(self._path, "rw") as conn:
                    backup.prove_text(conn)
            self._with_journal(lambda journal: journal.states(""))
        except sqlite3.DatabaseError as error:
            if damage.is_damage(error):
                return str(error)
            raise
        with self._salvaging(self._path) as source:
            for table in _TABLES:
                for _ in self._rested(source.rows(table, [(1, self._last_id())], self._ending.is_set)):
                    pass
        return source.damage

    # What was damaged is brought back.

    def _repair(self, file: str) -> None:
        done = self._with_journal(lambda journal: journal.state(_PROGRESS)) or {}
        progress: dict[str, Any] = {"file": file, "errors": 0, "events": 0, "from_backups": 0}
        progress |= done if done.get("file") == file else {}
        first_id, spans = None, [(1, self._last_id())]
        damaged = self._path.with_name(file)
        for path in (damaged, *backup.backups(self._backups)):
            try:
                with self._salvaging(path) as source:
                    first_id = first_id or (source.lowest_id if path == damaged else None)
                    for table in _TABLES:
                        self._bring_back(table, source.rows(table, spans, self._ending.is_set), progress, path.name)
            except sqlite3.Error as error:
                _log.warning("SQLite can read nothing of %s: %s", path, error)
            # Not what was said to be unreadable: of a page that is gone, SQLite may say nothing. Ids have no gaps of their own.
            spans = self._missing(first_id or 1)
            if path == damaged and spans and path.exists():
                for table, rows in pages.rows(path, partial(_is_within, spans), self._ending.is_set):
                    self._bring_back(table, [rows], progress, path.name)
                spans = self._missing(first_id or 1)
            if self._ending.is_set():
                return
            if not spans:
                break
        missing = sum(last - first + 1 for first, last in spans)
        told = Repaired(
            at=self._clock.now(), lost=missing if first_id is not None and missing < _COUNTABLE else None,
            gaps=tuple(str(first) if first == last else f"{first}-{last}" for first, last in spans[:MAX_GAPS]), **progress,
        )  # fmt: skip
        _log.warning("%s: %s", file, told.said)
        self._tell(told)

    def _bring_back(self, table: str, chunks: Iterable[list[Row]], progress: dict[str, Any], file: str) -> None:
        """Brings in what of ``chunks`` the journal has not."""
        oldest = as_text(self._clock.now() - self._core.max_age)
        for rows in self._rested(chunks):
            known = self._known([number for number, _ in rows])
            wanted = [(number, one) for number, one in rows if number not in known and one.at >= oldest]
            if wanted:
                self._with_journal(partial(_bring_in, table=table, rows=wanted, progress=progress, file=file))

    def _missing(self, first_id: int) -> list[Span]:
        """The ids from ``first_id`` on that were given out, and stand for nothing in the journal."""
        last_id, spans, expected = self._last_id(), list[Span](), first_id
        ids = " UNION ALL ".join(f"SELECT id FROM {table} WHERE id BETWEEN :first AND :last" for table in _TABLES)
        with self._opened(self._path, "ro") as conn:
            for (number,) in conn.execute(f"{ids} ORDER BY id", {"first": first_id, "last": last_id}):
                if number > expected:
                    spans.append((expected, number - 1))
                expected = number + 1
        return [*spans, (expected, last_id)] if expected <= last_id else spans

    def _known(self, ids: list[int]) -> set[int]:
        """Which of ``ids`` the journal has."""
        given = msgspec.json.encode(ids).decode()
        with self._opened(self._path, "ro") as conn:
            sql = " UNION ALL ".join(
                f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(:ids))" for table in _TABLES
            )
            return {row[0] for row in conn.execute(sql, {"ids": given})}

    # Copies are made.

    def _back_up(self, keep: int) -> None:
        now = self._clock.now()
        try:
            made = backup.make(self._path, self._backups, now, keep, self._opened)
            told = BackedUp(at=now, file=made.name, bytes=made.stat().st_size)
        except (OSError, sqlite3.Error) as error:
            if self._ending.is_set():
                return
            if self._core.state.health.backup_failed is None:
                _log.error("the journal could not be backed up: %s", error)
            self._was_copy_damaged = damage.is_damage(error)
            told = BackedUp(at=now, why=str(error))
        self._tell(told)

    # The ways to the journal.

    def _tell(self, done: Checked | BackedUp | Repaired) -> None:
        self._core.tell(CareTold(done)).result(_COMMIT_S)

    def _with_journal(self, do: Callable[[Journal], Any]) -> Any:
        return self._core.on_journal(do).result(_COMMIT_S)

    def _last_id(self) -> int:
        last_id: int = self._with_journal(lambda journal: journal.last_id)
        return last_id

    def _rested(self, chunks: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """``chunks``, and after each a rest as long as it took: the writer's thread and the core's have other things to do."""
        began_s = self._clock.monotonic()
        for chunk in chunks:
            yield chunk
            self._ending.wait(min(self._clock.monotonic() - began_s, _MAX_REST_S))
            began_s = self._clock.monotonic()

    @contextmanager
    def _opened(self, path: Path, mode: str) -> Iterator[sqlite3.Connection]:
        conn = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}", uri=True, timeout=10, isolation_level=None, check_same_thread=False
        )
        with contextlib.closing(conn), self._interruptible(conn), damage.told_as_damage():
            yield conn

    @contextmanager
    def _salvaging(self, path: Path) -> Iterator[Damaged]:
        with contextlib.closing(Damaged(path)) as source, self._interruptible(source):
            yield source

    @contextmanager
    def _interruptible(self, reading: sqlite3.Connection | Damaged) -> Iterator[None]:
        outer, self._reading = self._reading, reading
        if self._ending.is_set():  # and nobody would interrupt it any more
            raise sqlite3.OperationalError("WinClaw ends")
        try:
            yield
        finally:
            self._reading = outer


def _is_within(spans: list[Span], number: int) -> bool:
    """Whether an id is in one of ``spans``, which are in order."""
    place = bisect_right(spans, (number, math.inf)) - 1
    return place >= 0 and spans[place][0] <= number <= spans[place][1]


def _bring_in(journal: Journal, *, table: str, rows: list[Row], progress: dict[str, Any], file: str) -> None:
    """Writes rows and, with them, how many there were so far: whatever happens in between, none is there or counted twice."""

    def counted(errors: int, events: int) -> dict[str, Any]:
        new = {"errors": progress["errors"] + errors, "events": progress["events"] + events}
        from_backup = errors + events if file != progress["file"] else 0
        after.update(progress, **new, from_backups=progress["from_backups"] + from_backup)
        return {_PROGRESS: after}

    after: dict[str, Any] = {}
    journal.bring_back(rows if table == "errors" else (), rows if table == "events" else (), counted)
    progress.update(after)
