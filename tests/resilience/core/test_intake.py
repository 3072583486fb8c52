from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from resilience.agent.spool import Spool
from resilience.classification.classifier import ErrorClassifier
from resilience.core.collector import Collector
from resilience.core.core import Core
from resilience.core.intake import UnfitReportError, check, record_of
from resilience.events import Cause, Report
from resilience.journal.history import ErrorFilter, History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor
from resilience.testing import FakeClock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAYS = timedelta(days=90)


def report(**changes: object) -> Report:
    return Report(**{"type": "TimeoutError", "message": "late", "component": "x", "operation": "y", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [NOW, NOW - timedelta(days=89), NOW + timedelta(minutes=59), None])
def test_a_plausible_time_is_taken(at: datetime | None) -> None:
    check(report(at=at), NOW, DAYS)


@pytest.mark.parametrize("at", [NOW - timedelta(days=91), NOW + timedelta(minutes=61)])
def test_another_is_not(at: datetime) -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(at=at), NOW, DAYS)
    assert refusal.value.field == "at"


def test_the_field_of_a_causes_metadata_is_named() -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(cause=Cause(type="X", cause=Cause(type="Y", metadata={"a": "x" * 100_000}))), NOW, DAYS)
    assert refusal.value.field == "cause.cause.metadata"


def test_what_the_agent_knows_better_is_kept() -> None:
    record = record_of(
        report(type="LLMTimeoutError", severity="FATAL", reason="I saw it", agent="a"), ErrorClassifier(), Redactor(), NOW
    )
    assert (record.type, record.severity, record.reason, record.agent) == ("LLMTimeoutError", 6, "I saw it", "a")


def test_without_a_time_it_happened_when_it_came() -> None:
    record = record_of(report(), ErrorClassifier(), Redactor(), NOW)
    assert record.at == record.received_at == "2026-01-01T12:00:00.000000Z"


def test_numbers_and_names_that_vary_do_not_make_another_trouble() -> None:
    one, other = (
        record_of(report(message=message), ErrorClassifier(), Redactor(), NOW).fingerprint
        for message in ("no answer from 127.0.0.1:8080 after 60 s", "no answer from 127.0.0.1:9090 after 61 s")
    )
    assert one == other


def test_abandoned_reports_are_brought_in_and_unfit_ones_kept_aside(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    folder = tmp_path / "spool"
    folder.mkdir()
    dead = Spool(folder)
    dead.append(msgspec.to_builtins(report(message="last words", key="k")))
    dead.append({"type": "of no use"})
    dead.append(msgspec.to_builtins(report(at=NOW - timedelta(days=900))))
    dead.append(msgspec.to_builtins(report(message="last words", key="k")))
    dead.close()
    (folder / "9-torn.spool").write_bytes(b"\xff\xfe not JSON\n")
    journal = Journal(tmp_path / "journal.db", NOW)
    core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock)
    core.start()
    collector = Collector(folder, folder / "outbox", core)
    collector.collect()
    collector._spool.close()
    assert [event.body["message"] for event in core.history.errors(ErrorFilter())] == ["last words"]
    core.stop()
    core.history.close()
    assert [file.name for file in folder.iterdir()] == ["refused.jsonl"]
    assert len((folder / "refused.jsonl").read_bytes().splitlines()) == 3
