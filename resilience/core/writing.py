"""The core's way into the journal: what has to stand there before it is told, and what is done where the file proves damaged.

Everything here waits for the disk, and runs on the journal's own thread, one call after the other.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from resilience.clock import Clock, as_text
from resilience.core import goodbye
from resilience.core.gap import Gap
from resilience.core.keeping import changed, everything
from resilience.core.lives import Lives, ended
from resilience.core.notices import JOURNAL, of_damage, without
from resilience.core.records import Records
from resilience.core.state import State
from resilience.damage import is_damage
from resilience.degradation.levels import Standing
from resilience.events import Event, EventType
from resilience.journal.history import History, error_event
from resilience.journal.journal import Journal, JournalError
from resilience.journal.schema import ErrorRecord, EventRecord, Record

_log = logging.getLogger("winclaw.core")


class Committed(NamedTuple):
    """What stands in the journal: the state to show, the ids of the records in order, and the events that are new."""

    state: State
    ids: list[int]
    events: tuple[Event, ...]


class Writing:
    """Writes what the core has decided.

    Args:
        history: the journal's readers, who have to let go of a file that is set aside.
        lives: how the WinClaws so far have ended, this one among them.
    """

    def __init__(self, journal: Journal, history: History, records: Records, clock: Clock, lives: Lives) -> None:
        self._journal, self._history, self._records, self._clock, self._lives = journal, history, records, clock, lives
        self._written: State | None = None  # the state of this life that stands in the file
        self._owed = [self._of_set_aside()] if journal.set_aside is not None else []  # what it has to say of itself
        self._owed += [self._of_goodbye(said)] if (said := goodbye.take_from_beside(journal.path)) is not None else []
        self._aside: tuple[str, ...] = ()  # the damaged files of this life of which the state has yet to know
        self._gap: Gap | None = None  # since the disk refuses

    def has_written(self, standing: Standing) -> bool:
        """Whether ``standing`` is known to be in the journal."""
        return self._written is not None and self._written.standing is standing

    def commit(self, state: State, records: Sequence[Record]) -> Committed:
        """Writes ``records``, and what is to be kept of ``state`` where that does not stand there yet, in one transaction.

        A file that proves damaged is set aside; a new one takes this and all that is kept.

        Raises:
            JournalError, UnicodeEncodeError: as ``Journal.commit``; nothing was written.
        """
        state = self._with_aside(state)
        is_all = self._written is None or self._gap is not None  # so again and again, for the user to hear of the gap's end
        try:
            to_keep = self._everything(state) if is_all or self._written is None else changed(self._written, state)
            if not records and not to_keep and not self._owed:
                return Committed(state, [], ())
            done = self._commit(state, records, to_keep)
        except JournalError as error:
            if not is_damage(error.__cause__):
                raise
            self._set_aside(error)
            state = self._with_aside(state)
            done = self._commit(state, records, self._everything(state))
        self._written = done.state
        return done

    def owe(self, records: Sequence[Record], error: JournalError) -> None:
        """Keeps what has happened though it could not be written, for the next ``commit`` that can."""
        if self._gap is None:
            _log.error("%s; what happens is kept in memory", error)
            self._gap = Gap(self._clock.now(), str(error.__cause__ or error))
        self._gap.owe(records)

    def close(self, state: State) -> None:
        """Writes down that this WinClaw ends as it should, with all that is kept of ``state``, and closes the journal."""
        try:
            self._journal.commit([*self._told(), *self._owed], self._everything(state, ended(self._lives)))
        except (JournalError, UnicodeEncodeError):
            _log.exception("the journal could not be told that WinClaw ends as it should")
            since, lost = (self._gap.since, self._gap.count) if self._gap is not None else (self._clock.now(), 0)
            goodbye.leave_beside(self._journal.path, since, lost + len(self._owed))
        self._journal.close()

    def _commit(self, state: State, records: Sequence[Record], to_keep: Mapping[str, Any]) -> Committed:
        late = self._told()
        told = [*late, *records, *self._owed]
        written = self._journal.commit(told, to_keep)
        notices = without(state.notices, JOURNAL)
        if self._owed and self._journal.set_aside is not None and self._journal.set_aside.name in state.health.to_repair:
            damage = of_damage(self._journal.path.name, self._journal.set_aside.name)
            notices = (*without(notices, damage.name), damage)
        if self._gap is not None:
            _log.warning("the journal can be written again; %d events of the time before were", len(late) - 1)
        self._owed, self._gap, self._aside = [], None, ()
        new = ((entry.id, one) for entry, one in zip(written, told, strict=True) if entry.new)
        ids = [entry.id for entry in written[len(late) :]]
        return Committed(replace(state, notices=notices), ids, tuple(_event(*one) for one in new))

    def _told(self) -> list[Record]:
        """What is owed of a time in which nothing could be written, now that it is over."""
        return [] if self._gap is None else list(self._gap.told(self._records, self._clock.now()))

    def _with_aside(self, state: State) -> State:
        """``state``, in which the files that were set aside wait to be repaired."""
        for name in self._aside:
            state = replace(state, health=state.health.set_aside(name))
        return state

    def _everything(self, state: State, lives: Lives | None = None) -> Mapping[str, Any]:
        """All that is kept of ``state``, for a journal of which nobody knows what stands there.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return everything(state, lives or self._lives, self._journal)
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be read ({self._journal.path}): {error}") from error

    def _set_aside(self, error: JournalError) -> None:
        """Puts a journal aside that proved damaged in use, and begins a new one.

        Raises:
            JournalError: it cannot be put aside just now.
        """
        self._history.close()  # on Windows a file that is open cannot be renamed
        self._journal.start_anew(self._clock.now())
        self._written = None
        self._owed.append(self._of_set_aside())
        assert self._journal.set_aside is not None
        self._aside = (*self._aside, self._journal.set_aside.name)
        _log.error("the journal was damaged; it is kept as %s: %s", self._journal.set_aside, error)

    def _of_goodbye(self, said: goodbye.Goodbye) -> EventRecord:
        """The gap in which the WinClaw before this one ended, with all that it owed."""
        return self._records.event(
            EventType.JOURNAL_GAP, "journal", since=as_text(said.since), until=as_text(said.until), written=0, lost=said.lost,
            why="WinClaw was quit while nothing could be written",
        )  # fmt: skip

    def _of_set_aside(self) -> EventRecord:
        assert self._journal.set_aside is not None
        what = of_damage(self._journal.path.name, self._journal.set_aside.name).what
        return self._records.event(EventType.JOURNAL_SET_ASIDE, "journal", message=what, file=str(self._journal.set_aside))


def _event(number: int, record: Record) -> Event:
    """The event that was stored as ``record`` under ``number``."""
    if isinstance(record, ErrorRecord):
        return error_event({"id": number, **record._asdict()})
    return Event(number, record.at, record.type, record.component, msgspec.json.decode(record.body))
