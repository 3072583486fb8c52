"""Spans of time, and lanes of them: how long something stood how. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from resilience.clock import as_text
from resilience.events import Event


class Span(NamedTuple):
    """For how long something was so. ``until`` None: it still is; the same as ``since``: it only happened then."""

    since: datetime
    until: datetime | None
    word: str
    tone: str
    shape: str
    detail: str = ""
    short: str = ""
    href: str = ""


class Lane(NamedTuple):
    """Spans of one thing, in order and apart from each other. ``key`` names it for good, ``sort`` is how it is drawn."""

    key: str
    title: str
    spans: tuple[Span, ...]
    sort: str = "spans"


class Look(NamedTuple):
    word: str
    tone: str
    shape: str
    detail: str = ""
    short: str = ""


def moment(at: str) -> datetime:
    """A moment as the journal writes it."""
    return datetime.fromisoformat(at)


def moment_or(text: object, otherwise: datetime) -> datetime:
    """The moment that an event's field names; ``otherwise`` where it names none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
    return found if found.tzinfo is not None else otherwise


def in_turn(events: Iterable[Event], look: Callable[[Event], Look | None], first: Span | None = None) -> tuple[Span, ...]:
    """How long each look lasted: until the next one. What is None is not worth a span; two that look the same are one."""
    spans: list[Span] = []
    now = first
    for one in events:
        at, seen = moment(one.at), look(one)
        if now is not None and seen is not None and now[2:] == Span(at, None, *seen)[2:]:
            continue
        if now is not None:
            spans.append(now._replace(until=max(at, now.since)))
        now = Span(at, None, *seen) if seen is not None else None
    return (*spans, now) if now is not None else tuple(spans)


def apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans without what of them overlaps the one before."""
    apart: list[Span] = []
    for one in spans:
        since = max(one.since, ends(apart[-1])) if apart else one.since
        if one.until is None or one.until > since:
            apart.append(one._replace(since=since))
    return tuple(apart)


def ends(span: Span) -> datetime:
    return span.until or datetime.max.replace(tzinfo=span.since.tzinfo)


def joined(*parts: object) -> str:
    return " · ".join(str(part) for part in parts if part)


def as_view(lane: Lane) -> dict[str, Any]:
    """The lane as the API gives it."""
    spans = [
        {
            "since": as_text(one.since), "until": as_text(one.until) if one.until is not None else None, "what": one.word,
            "tone": one.tone, "detail": one.detail,
        }
        for one in lane.spans
    ]  # fmt: skip
    return {"lane": lane.key, "title": lane.title, "spans": spans}
