"""The core's way into the journal: what has to stand there before it is told, and what is done where the file proves damaged.

Everything here waits for the disk, and runs on the journal's own thread, one call after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from resilience.clock import Clock
from resilience.core.keeping import changed, everything
from resilience.core.lives import Lives, ended
from resilience.core.notices import of_damage, without
from resilience.core.records import Records
from resilience.core.state import State
from resilience.degradation.levels import Standing
from resilience.events import Event, EventType
from resilience.journal.history import History, error_event
from resilience.journal.journal import Journal, JournalError, is_damage
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
        self._knows: Standing | None = None  # the standing that was written last in this life
        self._is_refused = False  # whether it could not be written when that was tried last
        self._owed = [self._of_set_aside()] if journal.set_aside is not None else []  # what it has to say of itself

    def has_yet_to_learn(self, standing: Standing) -> bool:
        """Whether ``standing`` is not known to be in the journal."""
        return standing is not self._knows

    def commit(self, before: State, after: State, records: Sequence[Record]) -> Committed:
        """Writes ``records``, and what is to be kept of ``after`` where it is not as ``before``, in one transaction.

        A file that proves damaged is set aside; a new one takes this and all that is kept.

        Raises:
            JournalError, UnicodeEncodeError: as ``Journal.commit``; nothing was written, ``before`` still holds.
        """
        to_keep = changed(before, after)
        if self.has_yet_to_learn(before.standing) or self._is_refused:  # again and again, so that the user hears of the end
            to_keep = {**to_keep, **everything(after, self._lives)}
        if not records and not to_keep and not self._owed:
            return Committed(after, [], ())
        self._is_refused = True
        try:
            done = self._written(after, records, to_keep)
        except JournalError as error:
            if not is_damage(error.__cause__):
                raise
            self._set_aside(error)
            done = self._written(after, records, everything(after, self._lives))
        self._is_refused, self._knows = False, after.standing
        return done

    def close(self, state: State) -> None:
        """Writes down that this WinClaw ends as it should, with all that is kept of ``state``, and closes the journal."""
        try:
            self._journal.commit([], everything(state, ended(self._lives)))
        except (JournalError, UnicodeEncodeError):
            _log.exception("the journal could not be told that WinClaw ends as it should")
        self._journal.close()

    def _written(self, state: State, records: Sequence[Record], to_keep: Mapping[str, Any]) -> Committed:
        told = [*records, *self._owed]
        written = self._journal.commit(told, to_keep)
        notices = without(state.notices, "journal")
        if self._owed and self._journal.set_aside is not None:
            damage = of_damage(self._journal.path.name, self._journal.set_aside.name)
            notices = (*without(notices, damage.name), damage)
        self._owed = []
        new = ((entry.id, one) for entry, one in zip(written, told, strict=True) if entry.new)
        return Committed(replace(state, notices=notices), [entry.id for entry in written], tuple(_event(*one) for one in new))

    def _set_aside(self, error: JournalError) -> None:
        """Puts a journal aside that proved damaged in use, and begins a new one.

        Raises:
            JournalError: it cannot be put aside just now.
        """
        self._history.close()  # on Windows a file that is open cannot be renamed
        self._journal.start_anew(self._clock.now())
        self._owed.append(self._of_set_aside())
        _log.error("the journal was damaged; it is kept as %s: %s", self._journal.set_aside, error)

    def _of_set_aside(self) -> EventRecord:
        assert self._journal.set_aside is not None
        what = of_damage(self._journal.path.name, self._journal.set_aside.name).what
        return self._records.event(EventType.JOURNAL_SET_ASIDE, "journal", message=what, file=str(self._journal.set_aside))


def _event(number: int, record: Record) -> Event:
    """The event that was stored as ``record`` under ``number``."""
    if isinstance(record, ErrorRecord):
        return error_event({"id": number, **record._asdict()})
    return Event(number, record.at, record.type, record.component, msgspec.json.decode(record.body))
