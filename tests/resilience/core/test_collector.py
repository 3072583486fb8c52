"""What agents left on disk is brought in."""

from __future__ import annotations

import contextlib
import os
import sqlite3
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
from resilience.outbox.store import waiting_in
from resilience.redaction import Redactor
from resilience.testing import FakeClock
from tests.resilience.core.cores import BrittleJournal
from tests.resilience.outbox.conftest import Desk

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


def send(folder: Path, channel: str) -> Path:
    """An agent that leaves a message and ends; returns its outbox's file."""
    desk = Desk(folder / "outbox")
    desk.outbox.send(channel, "later")
    desk.outbox.close()
    return desk.outbox.path


def test_what_waits_in_outboxes_is_counted(folder: Path, core: Core, collector: Collector) -> None:
    path = send(folder, "mail")
    path.with_name("old.damaged-2026.db").write_bytes(path.read_bytes())
    path.with_name("other.db").write_bytes(path.read_bytes())
    send(folder, "sms")
    collector._look()
    assert core.state.waiting == {"mail": 2, "sms": 1}


def test_an_outbox_that_cannot_be_read_just_now_keeps_its_count_until_it_can(folder: Path, core: Core, collector: Collector) -> None:
    path = send(folder, "mail")
    collector._look()
    send(folder, "mail")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA locking_mode = EXCLUSIVE")
        conn.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            collector._look()
            assert core.state.waiting == {"mail": 1}
        stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    collector._look()
    assert core.state.waiting == {"mail": 2}


def test_what_is_committed_after_its_file_has_changed_is_counted(
    folder: Path, core: Core, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a look falls between the moment in which SQLite writes a message and the one in which others can read it."""
    looked: list[Path] = []
    monkeypatch.setattr("resilience.core.collector.waiting_in", lambda path: looked.append(path) or waiting_in(path))
    path = send(folder, "mail")
    stat = path.stat()
    for _ in range(5):
        collector._look()
    send(folder, "mail")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    collector._look()
    assert core.state.waiting == {"mail": 2}
    for _ in range(10):
        collector._look()
    looked.clear()
    collector._look()
    assert looked == []  # nothing is read where nothing happens
