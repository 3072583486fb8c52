"""What a request's query asks for: filters and numbers, checked."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import request

from dashboard.present.windows import WINDOWS, Moment, Window
from dashboard.problems import Problem
from resilience.context import ErrorSeverity
from resilience.journal.history import ErrorFilter


def error_filter() -> ErrorFilter:
    """The filter in the current request's query.

    Raises:
        Problem: 422, with the parameter's name.
    """
    severity = request.args.get("severity") or None
    if severity is not None and severity not in ErrorSeverity.__members__:
        raise Problem(422, "No such severity", f"It is one of {', '.join(ErrorSeverity.__members__)}.", field="severity")
    return ErrorFilter(
        kind=request.args.get("kind") or None,
        component=request.args.get("component") or None,
        fingerprint=request.args.get("fingerprint") or None,
        severity=ErrorSeverity[severity] if severity else None,
        text=request.args.get("text") or None,
        before=whole_number("before", 0) or None,
    )


def whole_number(name: str, default: int, *, least: int = 0, most: int = 2**62) -> int:
    """The whole number in the query under ``name``.

    Raises:
        Problem: 422, with the parameter's name and its range.
    """
    text = request.args.get(name)
    if text is None or text == "":
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= number <= most:
        raise Problem(422, "Wrong number", f"{name} is a whole number from {least} to {most}.", field=name)
    return number


def window() -> Window:
    """How much time the current request's sender wants to see; an hour, if they do not say.

    Raises:
        Problem: 422, there is no such window.
    """
    name = request.args.get("window") or "1h"
    if name not in WINDOWS:
        raise Problem(422, "No such window", f"It is one of {', '.join(WINDOWS)}.", field="window")
    return WINDOWS[name]


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
