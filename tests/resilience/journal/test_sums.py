"""Checksums of rows: whatever of one is another than was written, it is seen."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.journal import sums
from resilience.journal.schema import ErrorRecord, EventRecord
from tests.resilience.records import an_error, an_event

Row = dict[str, Any]


def row(number: int, one: ErrorRecord | EventRecord) -> Row:
    """The row that is written of a record, as SQLite gives it back."""
    if isinstance(one, EventRecord):
        return {"id": number, **one._asdict(), "sum": sums.of_event(number, one)}
    told, detail = sums.of_error(number, one)
    return {"id": number, **one._asdict(), "is_transient": int(one.is_transient), "sum": told, "detail_sum": detail}


@pytest.fixture
def error() -> Row:
    return row(7, an_error(key="k", detail=b'{"stack": "x"}'))


@pytest.fixture
def event() -> Row:
    return row(7, an_event(body=b'{"a": 1}'))


def test_a_row_is_what_was_written(error: Row, event: Row) -> None:
    assert sums.is_error(error, whole=True)
    assert sums.is_event(event)
    assert sums.is_error(row(1, an_error(key=None, message="\ud800", is_transient=False)), whole=True)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["id", *sums.TOLD, "sum"])
def test_whatever_is_another_in_an_error_is_seen(name: str, whole: bool, error: Row) -> None:
    other = None if name == "key" else 1 - error[name] if name == "is_transient" else error[name] * 2
    assert not sums.is_error({**error, name: other}, whole=whole)


@pytest.mark.parametrize("detail", [b'{"stack": "y"}', '{"stack": "y"}', None, 7])
def test_another_detail_is_seen_by_who_reads_all_of_an_error(detail: object, error: Row) -> None:
    changed = {**error, "detail": detail}
    assert sums.is_error(changed, whole=False)
    assert not sums.is_error(changed, whole=True)
    assert not sums.is_error({**error, "detail_sum": 1}, whole=True)


@pytest.mark.parametrize("name", ["id", *EventRecord._fields, "sum"])
def test_whatever_is_another_in_an_event_is_seen(name: str, event: Row) -> None:
    assert not sums.is_event({**event, name: event[name] * 2})


@pytest.mark.parametrize("body", [None, 7])
def test_a_body_that_is_no_text_is_none(body: object, event: Row) -> None:
    assert not sums.is_event({**event, "body": body, "sum": None})


def test_a_row_of_a_journal_that_knew_no_checksums_is_believed(error: Row, event: Row) -> None:
    assert sums.is_error({**error, "message": "other", "detail": "other", "sum": None, "detail_sum": None}, whole=True)
    assert sums.is_event({**event, "type": "other", "sum": None})


def test_text_has_the_checksum_of_its_bytes(error: Row, event: Row) -> None:
    """SQLite gives bytes back as text where they were stored so."""
    assert sums.is_error({**error, "detail": error["detail"].decode()}, whole=True)
    assert sums.is_event({**event, "body": event["body"].decode()})
    assert sums.of_text("\ud800")


def test_what_moves_from_one_value_to_the_next_is_seen() -> None:
    assert sums.of_values(("ab", "c")) != sums.of_values(("a", "bc"))
    assert sums.of_values((1, None)) == sums.of_values(("1", "None"))
