"""What the transactions of a process share: their file, their compensations, and what is left of those that ended badly."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Set
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from resilience.clock import Clock
from resilience.listeners import tell
from resilience.transactions.driving import Plan, acting_thread, drive
from resilience.transactions.file import Resumption, Row, TransactionError, TransactionFile, Unfinished, as_unfinished, file_of
from resilience.transactions.owners import Owners
from resilience.transactions.steps import (
    CompensationFailedError,
    Left,
    Step,
    Way,
    failure,
    is_news,
    left_of,
    missing,
    why_left,
)
from resilience.transactions.undoing import Compensation, Live, Undoing

GRACE_S: Final = 60.0
_KEEP_LEFT_DAYS: Final = 365
_MOST_LIVES: Final = 100
_FORGET_EVERY_S: Final = 600.0
_log = logging.getLogger("winclaw.transactions")


class Ground:
    """The file of an agent's transactions, and those that know what undoes their steps. Any thread may call.

    Args:
        report: told (error, component, operation) of steps that are left undone, and of a damaged file.
        keep_days: how long the keys of what was committed are known.
    """

    def __init__(
        self, folder: Path, agent: str, clock: Clock, report: Callable[[Exception, str, str], Any], keep_days: float
    ) -> None:
        self.agent, self.clock, self.keep_days = agent, clock, keep_days
        self.path = file_of(folder, agent)
        self.file = TransactionFile(self.path, clock, lambda error: tell(report, error, "transactions", "open"))
        self.owners = Owners(self.path)
        self.active: set[str] = set()
        """The transactions that are under way in this process, or whose end is still to be written."""
        self.registered: dict[str, Compensation] = {}
        self.closed = False
        self.generation = 0
        """Another one in each forked child: what its parent began, only its parent ends."""
        self._report = report
        self._undoing: dict[str, tuple[int, threading.Event]] = {}
        self._owed: dict[str, Callable[[], None]] = {}
        self._lives: dict[str, list[Live]] = {}
        self._tried: set[str] = set()
        self._lock = threading.RLock()
        self._began_s = clock.monotonic()
        self._forgets_at_s = self._began_s

    def begin_anew(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()
        self.owners.begin_anew()
        self.generation += 1
        self._began_s = self.clock.monotonic()
        for mine in (self.active, self._undoing, self._owed, self._lives, self._tried):
            mine.clear()

    def me(self) -> str:
        """The name of this process.

        Raises:
            TransactionError: its lock cannot be made.
        """
        try:
            return self.owners.me()
        except OSError as error:
            raise TransactionError(f"the lock beside {self.path} cannot be made: {error}") from error

    def known_as(self, undo: Callable[..., Any]) -> Compensation | None:
        """The compensation as which ``undo`` is registered; None if it is not."""
        return next((one for one in list(self.registered.values()) if one.undo == undo), None)

    def known_since(self) -> datetime:
        """Keys of what was committed before that are forgotten."""
        return self.clock.now() - timedelta(days=self.keep_days)

    def take(self, id_: str) -> bool:
        """Says that a transaction is under way here; False if it is so already."""
        with self._lock:
            if id_ in self.active:
                return False
            self.active.add(id_)
            return True

    def release(self, id_: str, *, unless_owed: bool = False) -> None:
        """Says that a transaction is not under way here any more.

        Args:
            unless_owed: but for one whose end is still to be written, or that somebody is undoing meanwhile.
        """
        with self._lock:
            if unless_owed and (id_ in self._owed or id_ in self._undoing):
                return
            self.active.discard(id_)
            if self.closed and not self.active:
                self.file.close()
                self.owners.let_go()

    def under_way(self, id_: str) -> bool | threading.Event:
        """Whether a transaction is under way here; where another thread is undoing it, what is set when that has ended."""
        with self._lock:
            thread, ended = self._undoing.get(id_, (0, None))
            return ended if ended is not None and thread != acting_thread() else id_ in self.active

    def settle(
        self, row: Row, lives: list[Live], undoing: Undoing, *, committed: bool = False, told: Set[int] = frozenset()
    ) -> CompensationFailedError | None:
        """Writes the end of a transaction, and reports what is left; what the disk refuses is written later.

        Args:
            told: the numbers of steps of which it was reported before that they are left; not again, unless they were tried.

        Returns: the error that names what is left, if anything is.
        """
        left = left_of(live.step for live in lives)
        steps, now = [live.to_write() for live in lives], self.clock.now()

        def write() -> None:
            self.file.settle(row.id, steps, now, is_open=bool(left), committed=committed)
            with self._lock:
                if left:
                    self._tried.add(row.id)
                    self._lives[row.id] = [live for live in lives if live.step.why or not committed]
                    while len(self._lives) > _MOST_LIVES:
                        del self._lives[next(iter(self._lives))]
                self.release(row.id)

        self._owed[row.id] = write
        undoing.through(self.pay)
        if not left:
            return None
        error = failure(row.name, row.id, left, undoing.cause)
        if not told >= {one.number for one in left} or undoing.tried.intersection(one.number for one in left):
            tell(self._report, error, row.name, "compensate")
        return error

    def pay(self) -> None:
        """Writes the ends of transactions that are not written yet, as far as the disk takes them."""
        with self._lock:
            for id_, write in list(self._owed.items()):
                try:
                    write()
                except TransactionError as error:
                    _log.warning("the end of the transaction %s is not written yet: %s", id_, error)
                    return
                self._owed.pop(id_, None)

    def resuming(self, row: Row) -> Plan[Resumption | None]:
        """Undoes a transaction that was left in the middle; None where somebody else has it, or it is over."""
        mine = acting_thread(), threading.Event()
        with self._lock:
            if not self.take(row.id):
                return None
            self._undoing[row.id] = mine
        try:
            me = self.me()
            if row.owner != me and not self.file.adopt(row.id, row.owner, me):
                return None
            loaded = self.file.load(row.id)  # as it is now that nobody else can have it
            if loaded is None or not loaded[0].is_open:
                return None
            row, steps = loaded
            told = {step.number for step in steps if step.why}
            lives = self._lives.pop(row.id, None) or [self._live(step) for step in _to_undo(row, steps)]
            undoing = Undoing(lambda step: self.note(row.id, step))
            yield from undoing.all(lives)
            error = self.settle(row, lives, undoing, committed=row.state == "committed", told=told)
        finally:
            with self._lock:
                if self._undoing.get(row.id) is mine:  # else somebody has taken it up since its end was written
                    del self._undoing[row.id]
                    self.release(row.id, unless_owed=True)
            mine[1].set()
        if undoing.interrupt is not None:
            raise undoing.interrupt
        left = error.left if error is not None else ()
        return Resumption(row.name, row.key, row.id, datetime.fromisoformat(row.at), tuple(undoing.undone), left)

    def note(self, id_: str, step: Step) -> None:
        """Writes down where a step stands that is being undone; the end is written anyway, so the disk may refuse."""
        try:
            self.file.record(id_, step)
        except TransactionError as error:
            _log.warning("%s", error)

    def left_behind(self) -> list[tuple[Row, list[Step]]]:
        """The open transactions that nobody has: of dead processes, and of this one where they are over."""
        if not self.path.exists():
            return []
        me = self.me()
        return [
            (row, steps)
            for row, steps in self.file.open_ones()
            if row.id not in self.active and (row.owner == me or self.owners.is_dead(row.owner))
        ]

    def missing_for(self, row: Row, steps: list[Step]) -> tuple[Left, ...]:
        """The steps that cannot be undone before their compensations are registered in this process."""
        if row.id in self._lives:
            return ()
        names = missing(_to_undo(row, steps), self.registered)
        told = [step._replace(why=why_left(Way.MISSING, step)) for step in _to_undo(row, steps) if step.undo in names]
        return left_of(step for step in told if step.state in ("begun", "done"))

    def resume(self) -> list[Resumption]:
        """See ``TransactionManager.resume``."""
        self.pay()
        done = []
        for row, steps in self.left_behind():
            if left := self.missing_for(row, steps):
                done.append(Resumption(row.name, row.key, row.id, datetime.fromisoformat(row.at), (), left))
            elif (resumed := drive(self.resuming(row), self.clock)) is not None:
                done.append(resumed)
        return done

    def look(self) -> None:
        """Undoes what dead processes left, each once in this process's life, and forgets what is too old.

        Raises:
            TransactionError: the file cannot be used now.
        """
        self.pay()
        if not self.path.exists():
            return
        now_s = self.clock.monotonic()
        for row, steps in self.left_behind():
            if self.closed:
                return
            if row.id in self._tried:
                continue
            if left := self.missing_for(row, steps):
                if now_s >= self._began_s + GRACE_S and self.file.note(row.id, [(one.number, one.why) for one in left]):
                    tell(self._report, failure(row.name, row.id, left), row.name, "compensate")
            elif self._is_news(_to_undo(row, steps)):
                drive(self.resuming(row), self.clock)
        if now_s >= self._forgets_at_s:
            self.owners.clean()
            more = self.file.forget(self.known_since(), self.clock.now() - timedelta(days=_KEEP_LEFT_DAYS))
            self._forgets_at_s = now_s if more else now_s + _FORGET_EVERY_S

    def unfinished(self) -> list[Unfinished]:
        """See ``TransactionManager.unfinished``."""
        return [] if not self.path.exists() else [as_unfinished(self.path, row, steps) for row, steps in self.file.open_ones()]

    def dismiss(self, id_: str) -> bool:
        """See ``TransactionManager.dismiss``."""
        found = self.file.load(id_)
        if found is None or not found[0].is_open:
            return False
        row, steps = found
        me = self.me()
        if not self.take(id_):
            raise ValueError(f"the transaction {row.name!r} ({id_}) is under way; it ends by itself")
        try:
            if row.owner != me and not (self.owners.is_dead(row.owner) and self.file.adopt(id_, row.owner, me)):
                raise ValueError(f"the transaction {row.name!r} ({id_}) is under way in another process")
            seen_to = [step._replace(state="undone" if step.why else step.state, why="") for step in steps]
            self.file.settle(id_, seen_to, self.clock.now(), is_open=False, committed=row.state == "committed")
            self._lives.pop(id_, None)
        finally:
            self.release(id_)
        return True

    def close(self) -> None:
        """Lets go of everything; what is under way keeps this process's lock until its end."""
        self.closed = True
        self.pay()
        self.file.close()
        if not self.active:
            self.owners.let_go()

    def _live(self, step: Step) -> Live:
        known = self.registered.get(step.undo) if step.registered else None
        return Live(step, known and known.undo, known and known.found)

    def _is_news(self, steps: list[Step]) -> bool:
        return is_news((step, self._live(step).way) for step in steps)


def _to_undo(row: Row, steps: list[Step]) -> list[Step]:
    """The steps that are to be undone: of a committed transaction those that had failed and are left alone."""
    return [step for step in steps if step.why] if row.state == "committed" else steps
