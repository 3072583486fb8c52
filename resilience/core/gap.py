"""What happened while the disk took nothing: owed to the journal, in bounds, until it can be written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from resilience.clock import as_text
from resilience.core.records import Records
from resilience.events import EventType
from resilience.journal.schema import Record

MAX_OWED: Final = 1_000


class Gap:
    """A time in which nothing could be written.

    Args:
        since: when the disk refused first, and why.
    """

    def __init__(self, since: datetime, why: str) -> None:
        self.since, self._why = since, why
        self._owed: list[Record] = []
        self._lost = 0

    def owe(self, records: Sequence[Record]) -> None:
        """Takes what has happened; the first 1,000 are kept, which tell how it began, the others are counted."""
        kept = records[: MAX_OWED - len(self._owed)]
        self._owed += kept
        self._lost += len(records) - len(kept)

    @property
    def count(self) -> int:
        """How many events are owed, or lost already."""
        return len(self._owed) + self._lost

    def told(self, records: Records, until: datetime) -> Iterator[Record]:
        """What is to be written of it when the disk takes something again: what happened, and that there was a gap."""
        yield from self._owed
        yield records.event(
            EventType.JOURNAL_GAP, "journal", since=as_text(self.since), until=as_text(until), written=len(self._owed),
            lost=self._lost, why=self._why,
        )  # fmt: skip
