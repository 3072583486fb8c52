"""Cores that run, and journals that can be made to fail, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.degradation.levels import DegradationLevel
from resilience.events import Report
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError, Written
from resilience.redaction import Redactor

SAFE = DegradationLevel.SAFE_MODE


def core_on(journal: Journal, clock: Clock, settings: Settings | None = None) -> Core:
    """A core that runs on ``journal``."""
    core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock, settings=settings)
    core.start()
    return core


def end(cores: Iterable[Core]) -> None:
    """Ends them, and lets go of their journals."""
    for core in cores:
        core.stop()
        core.history.close()


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
