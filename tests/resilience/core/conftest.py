from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.core.core import Core
from resilience.journal.history import History
from resilience.redaction import Redactor
from resilience.testing import FakeClock
from tests.resilience.core.cores import BrittleJournal


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Core]]:
    started: list[Core] = []

    def start_one() -> Core:
        journal = BrittleJournal(tmp_path / "journal.db", clock.now())
        core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock)
        core.start()
        started.append(core)
        return core

    yield start_one
    for core in started:
        core.stop()
        core.history.close()


@pytest.fixture
def core(start: Callable[[], Core]) -> Core:
    return start()
