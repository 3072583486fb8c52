"""What a request's query asks for: filters and numbers, checked."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dashboard.operations import query_of
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


def error_filter() -> ErrorFilter:
    """The filter in the current request's query.

    Raises:
        Problem: 422, with the parameter's name.
    """
    return query_of(ErrorQuery).filter
