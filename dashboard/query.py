"""What a request's query asks for: filters and numbers, checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from flask import request
from msgspec import Meta, Struct

from dashboard.operations import query_of
from dashboard.present.windows import WINDOWS, Moment, Window, WindowName
from dashboard.problems import Problem
from resilience.context import ErrorSeverity
from resilience.events import SeverityName
from resilience.journal.history import MAX_ROWS, ErrorFilter

_MOST = 2**62
AnId = Annotated[int, Meta(ge=0, le=_MOST)]


class EventPage(Struct, frozen=True, kw_only=True):
    """Events after the id ``since``, the oldest first."""

    since: AnId = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 200


class ErrorQuery(Struct, frozen=True, kw_only=True):
    """Which errors: see ``ErrorFilter``."""

    kind: Annotated[str, Meta(description="a kind of the taxonomy, with all below it")] = ""
    component: str = ""
    fingerprint: str = ""
    severity: SeverityName | None = None
    text: Annotated[str, Meta(description="in message, type, component and operation")] = ""
    before: Annotated[AnId, Meta(description="the id that a page ends before; 0: the newest page")] = 0

    @property
    def filter(self) -> ErrorFilter:
        """The same for the journal's readers."""
        return ErrorFilter(
            kind=self.kind or None, component=self.component or None, fingerprint=self.fingerprint or None,
            severity=ErrorSeverity[self.severity] if self.severity is not None else None, text=self.text or None,
            before=self.before or None,
        )  # fmt: skip


class ErrorPage(ErrorQuery, frozen=True, kw_only=True):
    """Errors, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 50


class WindowQuery(Struct, frozen=True, kw_only=True):
    """How much time is asked for: a window that ends now."""

    window: WindowName = "1h"

    @property
    def chosen(self) -> Window:
        """The window of that name."""
        return WINDOWS[self.window]


class SampleQuery(WindowQuery, frozen=True, kw_only=True):
    """What was measured, of which component; of all."""

    component: str = ""


class OutputQuery(Struct, frozen=True, kw_only=True):
    """With ``after``, what came after it is told as JSON."""

    after: Annotated[str, Meta(description="the mark of the piece before; empty: the first piece")] | None = None


class ComparedQuery(Struct, frozen=True, kw_only=True):
    """The other version that one is compared with."""

    against: Annotated[AnId, Meta(description="the number of the other version; 0: the one before")] = 0


def error_filter() -> ErrorFilter:
    """The filter in the current request's query.

    Raises:
        Problem: 422, with the parameter's name.
    """
    return query_of(ErrorQuery).filter


def window() -> Window:
    """How much time the current request's sender wants to see; an hour, if they do not say.

    Raises:
        Problem: 422, there is no such window.
    """
    return query_of(WindowQuery).chosen


def moment() -> Moment | None:
    """The moment in the current request's query (``at``), and the lane on which it was chosen (``of``); None: none is.

    Raises:
        Problem: 422, it is no moment.
    """
    text = request.args.get("at")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None or not 1971 <= at.year <= 9000:
            raise ValueError
    except ValueError:
        raise Problem(422, "No such moment", "at is ISO 8601 with a zone, as 2026-01-31T14:07:31Z.", field="at") from None
    return Moment(at.astimezone(UTC), request.args.get("of", "")[:300])
