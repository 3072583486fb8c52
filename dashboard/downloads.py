"""The errors that a filter shows, as a file: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from flask import Blueprint, Response
from msgspec.structs import replace

from dashboard.present.errors import safe_cell
from dashboard.query import error_filter
from resilience.core.core import Core
from resilience.journal.history import ErrorFilter

_MAX_ROWS: Final = 10_000
_COLUMNS: Final = (
    "id", "at", "severity", "kind", "error_type", "component", "operation", "agent", "message", "is_transient",
    "recovery_strategy", "reason", "fingerprint",
)  # fmt: skip


def downloads(core: Core) -> Blueprint:
    """Both files, the newest rows first, at most 10,000 of them; who may come in is checked before they are reached."""
    site = Blueprint("downloads", __name__)

    @site.get("/errors.csv")
    def errors_csv() -> Response:
        def rows(wanted: ErrorFilter) -> Iterator[str]:
            yield ",".join(_COLUMNS) + "\r\n"
            for event in _all(wanted):
                text = io.StringIO()
                csv.writer(text).writerow([safe_cell(event[name]) for name in _COLUMNS])
                yield text.getvalue()

        return _download(rows(error_filter()), "text/csv; charset=utf-8", "winclaw-errors.csv")

    @site.get("/errors.json")
    def errors_json() -> Response:
        def rows(wanted: ErrorFilter) -> Iterator[str]:
            separator = "[\n"
            for event in _all(wanted):
                yield separator + msgspec.json.encode(event).decode()
                separator = ",\n"
            yield "[]\n" if separator == "[\n" else "\n]\n"

        return _download(rows(error_filter()), "application/json", "winclaw-errors.json")

    def _all(wanted: ErrorFilter) -> Iterator[dict[str, Any]]:
        """Page by page, so that an export needs no more memory than a page does."""
        given = 0
        while given < _MAX_ROWS and (page := core.history.errors(wanted, 500)):
            for event in page[: _MAX_ROWS - given]:
                yield event.view()
            given += len(page)
            wanted = replace(wanted, before=page[-1].id)

    return site


def _download(rows: Iterator[str], kind: str, name: str) -> Response:
    return Response(rows, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
