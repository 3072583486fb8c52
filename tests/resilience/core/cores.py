"""Cores on journals that can be made to fail, for tests."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from resilience.core.core import Core
from resilience.degradation.levels import DegradationLevel
from resilience.events import Report
from resilience.journal.journal import Journal, JournalError, Written

SAFE = DegradationLevel.SAFE_MODE


class BrittleJournal(Journal):
    """A real journal whose commit can be made to fail, or to wait."""

    def __init__(self, path: Path, now: datetime) -> None:
        super().__init__(path, now)
        self.failure: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def commit(self, records: Any, state: Any = None) -> list[Written]:
        assert self.may_go_on.wait(10)
        if self.failure is not None:
            raise JournalError("the disk says no") from self.failure
        return super().commit(records, state)


def journal_of(core: Core) -> BrittleJournal:
    journal = core._journal
    assert isinstance(journal, BrittleJournal)
    return journal


def report(**changes: Any) -> Report:
    return Report(**{"type": "TimeoutError", "message": "late", "component": "gpt-5.2", "operation": "ask", **changes})


def choose(core: Core, level: DegradationLevel | None, *, confirmed: bool = False) -> list[int]:
    return core.set_level(level, actor="test", origin="here", confirmed=confirmed).result(10)
