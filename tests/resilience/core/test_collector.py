"""What agents left on disk is brought in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from resilience.agent.spool import Spool
from resilience.classification.classifier import ErrorClassifier
from resilience.core.collector import Collector
from resilience.core.core import Core
from resilience.events import Report
from resilience.journal.history import ErrorFilter, History
from resilience.journal.journal import JournalError
from resilience.redaction import Redactor
from resilience.testing import FakeClock
from tests.resilience.core.cores import BrittleJournal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spool whose agent has died: one report, sent twice, and three lines that are of no use."""
    folder = tmp_path / "spool"
    folder.mkdir()
    last_words = Report(type="TimeoutError", message="last words", component="x", operation="y", key="k")
    dead = Spool(folder)
    dead.append(msgspec.to_builtins(last_words))
    dead.append({"type": "of no use"})
    dead.append(msgspec.to_builtins(msgspec.structs.replace(last_words, at=NOW - timedelta(days=900))))
    dead.append(msgspec.to_builtins(last_words))
    dead.close()
    (folder / "9-torn.spool").write_bytes(b"\xff\xfe not JSON\n")
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> BrittleJournal:
    return BrittleJournal(tmp_path / "journal.db", NOW)


@pytest.fixture
def core(journal: BrittleJournal) -> Iterator[Core]:
    clock = FakeClock(NOW)
    core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock)
    core.start()
    yield core
    core.stop()
    core.history.close()


@pytest.fixture
def collector(folder: Path, core: Core) -> Iterator[Collector]:
    collector = Collector(folder, folder / "outbox", core)
    yield collector
    collector._spool.close()


def test_abandoned_reports_are_brought_in_and_unfit_ones_kept_aside(folder: Path, core: Core, collector: Collector) -> None:
    collector.collect()
    assert [event.body["message"] for event in core.history.errors(ErrorFilter())] == ["last words"]
    collector._spool.close()
    assert [file.name for file in folder.iterdir()] == ["refused.jsonl"]
    assert len((folder / "refused.jsonl").read_bytes().splitlines()) == 3


def test_what_is_unfit_is_kept_aside_once_however_often_the_disk_refuses_the_rest(
    folder: Path, core: Core, collector: Collector, journal: BrittleJournal
) -> None:
    journal.failure = OSError("full")
    for _ in range(3):
        with pytest.raises(JournalError):
            collector.collect()
    journal.failure = None
    collector.collect()
    assert [event.body["message"] for event in core.history.errors(ErrorFilter())] == ["last words"]
    assert len((folder / "refused.jsonl").read_bytes().splitlines()) == 3
