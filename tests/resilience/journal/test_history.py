from __future__ import annotations

import itertools
import random
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.journal.history import ErrorFilter, History
from resilience.journal.journal import Journal
from resilience.journal.schema import ErrorRecord
from tests.resilience.records import NOW, an_error, an_event


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db", NOW)
    yield opened
    opened.close()


@pytest.fixture
def history(journal: Journal) -> Iterator[History]:
    opened = History(journal.path)
    yield opened
    opened.close()


def test_events_since_an_id_come_in_order_whatever_they_are(journal: Journal, history: History) -> None:
    journal.commit([an_error(), an_event(), an_error(), an_event()])
    assert [(event.id, event.type) for event in history.events(1)] == [(2, "level.changed"), (3, "error"), (4, "level.changed")]
    assert [event.id for event in history.events(0, limit=2)] == [1, 2]
    assert [event.id for event in history.events(0, limit=2, newest=True)] == [3, 4]


def test_what_is_read_at_one_moment_agrees(journal: Journal, history: History) -> None:
    """Else a page would count an error in one place that it does not know in another."""
    journal.commit([an_error()])
    with history.at_one_moment():
        assert len(history.events(0)) == 1
        journal.commit([an_error(), an_event()])
        assert [event.id for event in history.events(0)] == [event.id for event in history.errors(ErrorFilter())] == [1]
        with history.at_one_moment():
            assert [group["count"] for group in history.groups()] == [1]
        assert history.per_minute("") == [("2026-01-01T12:00", "", 1)]
    assert len(history.events(0)) == 3
    with pytest.raises(ValueError, match="mine"), history.at_one_moment():
        raise ValueError("mine")
    assert len(history.events(0)) == 3


def test_what_is_kept_is_told_unless_it_is_not_what_was_written(journal: Journal, history: History) -> None:
    journal.commit([], state={"config": {"highest": 7}})
    assert (history.state("config"), history.state("nothing")) == ({"highest": 7}, None)
    with sqlite3.connect(journal.path) as conn:
        conn.execute("UPDATE state SET value = replace(value, '7', '3')")
    conn.close()
    assert history.state("config") is None


def test_an_events_view_is_one_flat_object(journal: Journal, history: History) -> None:
    journal.commit([an_event(body=b'{"from": "FULL", "id": "forged"}')])
    view = history.events(0)[0].view()
    assert view["from"] == "FULL"
    assert view["id"] == 1  # the body cannot pose as another event


def test_pages_of_errors_join_without_gap_or_double(journal: Journal, history: History) -> None:
    journal.commit([an_error() for _ in range(25)])
    seen: list[int] = []
    before = None
    while page := history.errors(ErrorFilter(before=before), limit=10):
        seen += [event.id for event in page]
        before = page[-1].id
    assert seen == list(range(25, 0, -1))


def test_errors_are_filtered_by_a_whole_branch_of_the_taxonomy(journal: Journal, history: History) -> None:
    journal.commit([an_error(kind=kind, fingerprint=kind) for kind in ("transient.network", "transient.network.dns", "transient.networks", "security")])
    assert [event.body["kind"] for event in history.errors(ErrorFilter(kind="transient.network"))] == [
        "transient.network.dns",
        "transient.network",
    ]


def test_errors_are_found_by_their_words(journal: Journal, history: History) -> None:
    journal.commit([an_error(message="connection refused"), an_error(message="quota used up", component="gmail_api")])
    assert [event.id for event in history.errors(ErrorFilter(text="refused"))] == [1]
    assert [event.id for event in history.errors(ErrorFilter(text="gmail_api quota"))] == [2]


@pytest.mark.parametrize("text", ['"', "a AND", "NEAR(", "*", "col:x", "-", "'; DROP TABLE errors; --", "(", "^", "\u0000"])
def test_no_search_text_is_an_error(journal: Journal, history: History, text: str) -> None:
    journal.commit([an_error()])
    assert isinstance(history.errors(ErrorFilter(text=text)), list)


def test_filters_narrow_together(journal: Journal, history: History) -> None:
    journal.commit([an_error(severity=4, component=one, fingerprint=one) for one in "ab"] + [an_error(component="a", fingerprint="a")])
    found = history.errors(ErrorFilter(component="a", severity=ErrorSeverity.ERROR))
    assert [event.id for event in found] == [1]
    assert [event.id for event in history.errors(ErrorFilter(component="a", text="requests", before=3))] == [1]


KINDS, COMPONENTS = ("transient.network", "transient.network.dns", "transient.networks", "security"), ("a", "b", "c")


def many(dice: random.Random, count: int) -> list[ErrorRecord]:
    """Errors whose fingerprint has their kind and their component in it, as those of agents have."""
    found = []
    for _ in range(count):
        kind, component, words = dice.choice(KINDS), dice.choice(COMPONENTS), dice.choice(("late", "refused"))
        severity = dice.choices((2, 3, 4, 6), weights=(10, 60, 29, 1))[0]
        fingerprint = f"{kind}/{component}/{words}"
        found.append(an_error(kind=kind, component=component, severity=severity, fingerprint=fingerprint, message=f"{words} again"))
    return found


@pytest.mark.parametrize("looked_at", [5000, 60])
def test_each_filter_gives_exactly_what_fits_it_newest_first_and_page_by_page(
    journal: Journal, history: History, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    monkeypatch.setattr("resilience.journal.finding._LOOKED_AT", looked_at)
    dice = random.Random(1)
    records = many(dice, 900)
    journal.commit(records)

    def fits(wanted: ErrorFilter, number: int, one: ErrorRecord) -> bool:
        return (
            (wanted.kind is None or f"{one.kind}.".startswith(f"{wanted.kind}."))
            and wanted.component in (None, one.component)
            and wanted.fingerprint in (None, one.fingerprint)
            and (wanted.severity is None or wanted.severity.value == one.severity)
            and (wanted.text is None or wanted.text in one.message)
            and (wanted.before is None or number < wanted.before)
        )

    for kind, component, severity, fingerprint, text, before in itertools.product(
        (None, "transient", "transient.network", "nothing"), (None, "a"), (None, ErrorSeverity.WARNING, ErrorSeverity.FATAL, ErrorSeverity.DEBUG),
        (None, "security/b/late", "transient.network/a/late"), (None, "refused"), (None, 400, 1),
    ):  # fmt: skip
        wanted = ErrorFilter(kind=kind, component=component, severity=severity, fingerprint=fingerprint, text=text, before=before)
        expected = [number for number, one in reversed([*enumerate(records, start=1)]) if fits(wanted, number, one)]
        assert [event.id for event in history.errors(wanted, 20)] == expected[:20], wanted


def test_nothing_that_pages_ask_for_looks_at_all_rows_or_sorts_them(journal: Journal, history: History) -> None:
    """The plans of what is asked are those of a journal with a million rows: SQLite keeps no statistics here."""
    journal.commit([*many(random.Random(2), 50), an_event()])
    asked: list[str] = []
    with history._reading() as conn:
        conn.set_trace_callback(asked.append)  # the next reader takes this connection
    ask_all(history)
    with history._reading() as conn:
        conn.set_trace_callback(None)
        plans = {sql: [row["detail"] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}")] for sql in asked if sql.lstrip().startswith("SELECT")}
    assert len(plans) > 20
    for sql, plan in plans.items():
        for step in plan:
            assert re.fullmatch(r"SCAN (errors|events|minutes)", step) is None, (sql, plan)
        of_rows = "FROM errors" in sql or "FROM events" in sql
        bounded = "json_each" in sql or "FROM groups" in sql  # ids that are known, or what fell into a span of time
        assert not of_rows or bounded or not any("TEMP B-TREE" in step for step in plan), (sql, plan)


def ask_all(history: History) -> None:
    """Each question that a page or the API has, with each filter."""
    each: dict[str, Any] = {"kind": "transient", "component": "a", "fingerprint": "x", "severity": ErrorSeverity.FATAL, "text": "late"}
    for name, value in each.items():
        for before in (None, 40):
            history.errors(ErrorFilter(before=before, **{name: value}))
            history.groups(ErrorFilter(before=before, **{name: value}))
    for before in (None, 40):
        history.errors(ErrorFilter(before=before))
        history.errors(ErrorFilter(before=before, text="late", kind="transient", component="a", severity=ErrorSeverity.FATAL))
    history.events(3)
    history.events(0, newest=True)
    history.between("2026", "2027", ["a", "b"])
    history.error(3)
    history.error_after(3)
    history.per_minute("2026")
    history.per_minute("2026", ["x"])
    history.kinds()


def test_one_error_has_its_stack_and_cause(journal: Journal, history: History) -> None:
    journal.commit([an_error(detail=b'{"stack": "Traceback", "cause": {"type": "OSError"}}')])
    found = history.error(1)
    assert found is not None
    assert found.body["stack"] == "Traceback"
    assert found.body["cause"] == {"type": "OSError"}
    assert history.error(99) is None


def test_groups_come_last_seen_first_with_their_counts(journal: Journal, history: History) -> None:
    journal.commit([an_error(fingerprint="a"), an_error(fingerprint="b"), an_error(fingerprint="a")])
    assert [(group["fingerprint"], group["count"]) for group in history.groups()] == [("a", 2), ("b", 1)]
    assert [group["fingerprint"] for group in history.groups(ErrorFilter(before=3))] == ["b"]
    assert history.groups(since=as_text(NOW + timedelta(days=1))) == []


def test_minutes_add_up_over_all_groups_or_one_by_one(journal: Journal, history: History) -> None:
    journal.commit([an_error(fingerprint="a"), an_error(fingerprint="b"), an_error(fingerprint="a")])
    since = as_text(NOW - timedelta(hours=1))
    assert history.per_minute(since) == [("2026-01-01T12:00", "", 3)]
    assert history.per_minute(since, ["a"]) == [("2026-01-01T12:00", "a", 2)]


def test_kinds_are_counted(journal: Journal, history: History) -> None:
    journal.commit([an_error(), an_error(fingerprint="x", kind="security")])
    assert history.kinds() == {"security": 1, "transient.network.rate_limit": 1}


def test_many_threads_read_while_one_writes(journal: Journal, history: History) -> None:
    counts: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            counts.append(len(history.errors(ErrorFilter(), limit=500)))

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    for _ in range(50):
        journal.commit([an_error() for _ in range(3)])
    done.set()
    for reader in readers:
        reader.join()
    assert all(count % 3 == 0 for count in counts)  # never half a group
    assert len(history.errors(ErrorFilter(), limit=500)) == 150


def test_however_many_readers_end_at_the_same_moment_none_has_to_wait(history: History) -> None:
    """Only so many connections are kept for the next reader; whoever finds no room closes its own.

    Each reader lets the others run between any two of its lines, so that none sees alone that there is room.
    """
    readers = 16
    together, never, ended = threading.Barrier(readers), threading.Event(), threading.Semaphore(0)

    def others_run(frame: FrameType, what: str, _: object) -> Any:
        if frame.f_code.co_name != "_reading":
            return None
        if what == "line":
            never.wait(0.001)
        return others_run

    def read() -> None:
        sys.settrace(others_run)
        with history._reading() as conn:
            conn.execute("SELECT 1")
            together.wait(10)
        sys.settrace(None)
        ended.release()

    threads = [threading.Thread(target=read, daemon=True) for _ in range(readers)]
    for thread in threads:
        thread.start()
    assert all(ended.acquire(timeout=10) for _ in threads)


def test_what_is_read_while_the_history_is_closed_does_not_keep_the_file_open(history: History, journal: Journal) -> None:
    """Else a later reader would look into a file that was set aside."""
    with history._reading() as inner:
        history.close()
    with pytest.raises(sqlite3.ProgrammingError):
        inner.execute("SELECT 1")
    journal.commit([an_event()])
    assert len(history.events(0)) == 1
    history.close()
    history.close()  # nothing is at rest any more
