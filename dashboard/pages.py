"""The pages, rendered on the server; they work without scripts, and ``static/`` brings them to life."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, redirect, render_template, request
from msgspec.structs import replace

from dashboard import present
from dashboard.access import Access
from dashboard.api import error_filter, leaving_preview, whole_number
from dashboard.problems import Problem
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.core import ConfirmationNeededError, Core, CoreBusyError
from resilience.degradation import DegradationLevel
from resilience.history import ErrorFilter
from resilience.journal import JournalError

_COMMIT_S: Final = 10.0
_MAX_EXPORT: Final = 10_000
_COLUMNS: Final = (
    "id", "at", "severity", "kind", "error_type", "component", "operation", "agent", "message", "is_transient",
    "recovery_strategy", "reason", "fingerprint",
)  # fmt: skip


def pages(core: Core, access: Access, machine: Callable[[], Mapping[str, float]], version: str) -> Blueprint:
    """Every page and every form on them; who may come in is checked before they are reached."""
    site = Blueprint("pages", __name__)

    @site.app_context_processor
    def everywhere() -> dict[str, Any]:
        state = core.state.view()
        return {
            "state": state, "band": present.band(state), "csrf_token": access.csrf_token, "version": version,
            "shapes": present.SHAPES, "machine": machine, "levels": list(DegradationLevel),
            "now_text": lambda: as_text(core.clock.now()), "minute_text": present.minute_text,
        }  # fmt: skip

    @site.get("/")
    def overview() -> str:
        now = core.clock.now()
        newest = core.history.events(0, 20, newest=True)
        minutes = core.history.per_minute(as_text(now - timedelta(hours=1)))
        day = as_text(now - timedelta(days=1))
        return render_template(
            "overview.html",
            feed=[present.with_line(event.view()) for event in reversed(newest)],
            last=newest[-1].id if newest else 0,
            groups=_groups(ErrorFilter(), since=day, limit=10),
            series=present.minute_series(minutes, now),
        )

    @site.get("/errors")
    def errors() -> str:
        wanted = error_filter()
        found = core.history.errors(wanted, 50)
        groups = [] if wanted.before or wanted.text else _groups(replace(wanted, before=None), since="", limit=20)
        newest = core.history.events(0, 1, newest=True)
        return render_template(
            "errors.html",
            rows=[present.with_line(event.view()) for event in found],
            groups=groups,
            tree=present.kind_tree(core.history.kinds()),
            wanted=wanted,
            severities=[severity.name for severity in ErrorSeverity],
            older=f"/errors?{urlencode({**request.args.to_dict(), 'before': found[-1].id})}" if len(found) == 50 else None,
            last=newest[-1].id if newest else 0,
            query=request.args.to_dict(),
        )

    def _groups(wanted: ErrorFilter, since: str, limit: int) -> list[dict[str, Any]]:
        now = core.clock.now()
        rows = core.history.groups(wanted, since=since, limit=limit)
        minutes = core.history.per_minute(as_text(now - timedelta(days=1)), [row["fingerprint"] for row in rows])
        counts = present.per_bucket(minutes, now, 24, 60)
        return [present.group(row, counts.get(row["fingerprint"], [0] * 24)) for row in rows]

    @site.get("/errors/<int:error_id>")
    def error(error_id: int) -> str | tuple[str, int]:
        found = core.history.error(error_id)
        if found is None:
            text = f"There is no error {error_id}, or it is too old to be kept."
            return render_template("message.html", title="No such error", text=text), 404
        view = found.view()
        siblings = core.history.errors(ErrorFilter(fingerprint=view["fingerprint"]), 10)
        return render_template(
            "error.html",
            error=view,
            line=present.line(view),
            causes=present.causes(view),
            siblings=[event.view() for event in siblings],
            what_to_do=present.strategy_words(view["recovery_strategy"]),
            affected=present.impact_words(view["impact"]),
            metadata=msgspec.json.format(msgspec.json.encode(view.get("metadata", {}))).decode(),
        )

    @site.get("/errors.csv")
    def errors_csv() -> Response:
        def rows() -> Iterator[str]:
            yield ",".join(_COLUMNS) + "\r\n"
            for event in _all(error_filter_now):
                text = io.StringIO()
                csv.writer(text).writerow([present.safe_cell(event[name]) for name in _COLUMNS])
                yield text.getvalue()

        error_filter_now = error_filter()
        return _download(rows(), "text/csv; charset=utf-8", "winclaw-errors.csv")

    @site.get("/errors.json")
    def errors_json() -> Response:
        def rows() -> Iterator[str]:
            separator = "[\n"
            for event in _all(error_filter_now):
                yield separator + msgspec.json.encode(event).decode()
                separator = ",\n"
            yield "[]\n" if separator == "[\n" else "\n]\n"

        error_filter_now = error_filter()
        return _download(rows(), "application/json", "winclaw-errors.json")

    def _all(wanted: ErrorFilter) -> Iterator[dict[str, Any]]:
        """Page by page, so that an export needs no more memory than a page does."""
        given = 0
        while given < _MAX_EXPORT and (page := core.history.errors(wanted, 500)):
            for event in page[: _MAX_EXPORT - given]:
                yield event.view()
            given += len(page)
            wanted = replace(wanted, before=page[-1].id)

    @site.get("/safe-mode")
    def safe_mode() -> str:
        now = core.state
        return render_template(
            "safe_mode.html",
            preview=leaving_preview(now, None),
            confirm=access.confirmation(now.standing.since),
            stale=whole_number("stale", 0),
        )

    @site.post("/safe-mode")
    def switch_safe_mode() -> Response | tuple[str, int]:
        if request.form.get("action") == "enter":
            return _choose(DegradationLevel.SAFE_MODE)
        confirmed = access.confirmed(core.state.standing.since, request.form.get("confirm"))
        return _choose(None, confirmed=confirmed)

    @site.post("/level")
    def level() -> Response | tuple[str, int]:
        word = request.form.get("level", "")
        try:
            return _choose(None if word == "auto" else DegradationLevel.named(word))
        except ValueError as error:
            raise Problem(422, "No such level", f"{error}; or auto.", field="level") from error

    @site.post("/logout-everywhere")
    def logout_everywhere() -> Response:
        access.rotate()
        return _see("/")

    def _choose(chosen: DegradationLevel | None, *, confirmed: bool = False) -> Response | tuple[str, int]:
        done = None
        try:
            done = core.set_level(chosen, actor="dashboard", origin=request.remote_addr or "", confirmed=confirmed)
            done.result(_COMMIT_S)
        except ConfirmationNeededError:
            return _see("/safe-mode?stale=1")
        except (CoreBusyError, JournalError, TimeoutError) as error:
            return render_template("message.html", title="That did not work", text=f"{error} Try again in a moment."), 503
        return _see("/")

    @site.app_errorhandler(404)
    def not_found(_: Exception) -> Response | tuple[str, int]:
        if request.path.startswith("/api/"):
            return Problem(404, "Not found", "There is nothing at this address.").response()
        return render_template("message.html", title="Nothing here", text="There is no such page."), 404

    return site


def _see(path: str) -> Response:
    answer = redirect(path, 303)
    assert isinstance(answer, Response)
    return answer


def _download(rows: Iterator[str], kind: str, name: str) -> Response:
    return Response(rows, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
