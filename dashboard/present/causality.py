"""Why something on the timeline came to be, and what came of it: one chain, of what the events themselves say. Pure.

An event belongs to the chain of a component if it is that component's, or a heal that was diagnosed there; a change of the
level, if its cause names the component, or if it takes back such a change; an alert, if it is about the component.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from dashboard.present import healing
from dashboard.present.events import with_line
from dashboard.present.now import CIRCUITS
from dashboard.present.spans import Lane, Span, moment
from dashboard.present.windows import Moment, how_long
from dashboard.present.words import SEVERITIES, first_line
from resilience.alerting.alerts import Alert, TellingState
from resilience.clock import as_text
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event

BEFORE: Final = timedelta(minutes=1)
"""What happened so shortly before it may have led to it."""
AFTER: Final = timedelta(minutes=15)
"""For how long after its end it is asked what came of it, as the level that rises again step by step."""
_AFTERWARDS: Final = ("level.changed", "heal.ended", "heal.escalated")
"""Of what comes after its end, this may be what came of it; another error or circuit is something new."""
MOST: Final = 14
"""Steps of a chain."""


class Episode(NamedTuple):
    """Something that went wrong, or was otherwise: how long, on which lane, and the components that it is about."""

    span: Span
    of: frozenset[str]


def episode(
    lanes: Iterable[Lane], chosen: Moment, events: Iterable[Event], alerts: Iterable[Alert], now: datetime
) -> Episode | None:
    """What was on the chosen lane at the chosen moment; None: nothing was.

    Of a circuit and a process all that followed without a break is one, so that it ends when all was well again.

    Args:
        events: what happened in the time of the lanes.
    """
    lane = next((one for one in lanes if one.key == chosen.of), None)
    if lane is None:
        return None
    at = chosen.at
    within = (one for one in lane.spans if one.since <= at <= (one.until or now))
    span = next((one for one in lane.spans if one.since == at), None) or next(within, None)
    if span is None:
        return None
    kind, _, name = lane.key.partition(":")
    match kind:
        case "circuit" | "process" | "agent":
            return Episode(_unbroken(lane.spans, span) if kind != "agent" else span, frozenset({name}))
        case "winclaw":
            return Episode(span, frozenset({"winclaw", "journal"}))
        case "healing":
            heals = [one for one in events if span.href == f"/healing/{one.body.get('heal')}"]
            return Episode(span, frozenset(name for one in heals for name in (one.component, _diagnosed(one)) if name))
        case "alerts":
            about = next((one for one in alerts if span.href.endswith(f"#alert-{one.id}")), None)
            if about is None:
                return None
            return Episode(span._replace(until=about.resolved_at), frozenset({about.cause.component}))
        case _:
            parts = {one.component for one in events if one.type.startswith(("circuit.", "process."))}
            return Episode(span, frozenset(one for one in parts if names(span.detail, one)))


def _unbroken(spans: Sequence[Span], chosen: Span) -> Span:
    """The chosen span with those that lie next to it without a gap."""
    first = last = spans.index(chosen)
    while first > 0 and spans[first - 1].until == spans[first].since:
        first -= 1
    while last + 1 < len(spans) and spans[last].until == spans[last + 1].since:
        last += 1
    return chosen._replace(since=spans[first].since, until=spans[last].until)


def names(text: str, component: str) -> bool:
    """Whether a text names a component as a word of its own."""
    return bool(component) and re.search(rf"(?<![\w.-]){re.escape(component)}(?![\w-]|\.\w)", text) is not None


def chain(found: Episode, happened: Iterable[Event], alerts: Iterable[Alert], now: datetime) -> dict[str, Any]:
    """The chain around an episode: its steps as lines of the feed, the whole in few words, and for how long it went on.

    Args:
        happened: what the journal has of that time.
    """
    span, of = found
    since, end = span.since - BEFORE, span.until or now
    events = _belonging([one for one in happened if since <= moment(one.at) <= end + AFTER], of)
    events = [one for one in events if moment(one.at) <= end or one.type in _AFTERWARDS]
    falls = [moment(one.at) for one in events if one.type == "level.changed"]
    about = [
        one for one in alerts
        if (one.cause.component in of and since <= one.at <= end)
        or (one.cause.about == "level" and any(abs(one.at - at) < BEFORE for at in falls))
    ]  # fmt: skip
    steps = sorted([*_lines(events), *map(_told, about)], key=lambda step: str(step["at"]))
    left = len(steps) - MOST
    if left > 0:
        steps = [*steps[: MOST // 2], *steps[-MOST // 2 :]]
    over = _over(span, now)
    return {
        "steps": steps, "left_out": max(left, 0), "alerts": [one.id for one in about], "over": over,
        "short": " → ".join([*_short(events), over]),
    }  # fmt: skip


def _over(span: Span, now: datetime) -> str:
    if span.until is None:
        return f"not over yet, after {how_long(now - span.since)}"
    return f"over after {how_long(span.until - span.since)}" if span.until > span.since else "over at once"


def _belonging(events: Sequence[Event], of: Collection[str]) -> list[Event]:
    found: list[Event] = []
    risen_to = 0  # while it is below where it was before the first change that belongs: the level at which it was
    for one in sorted(events, key=lambda one: (one.at, one.id)):
        if one.type != "level.changed":
            if one.type not in ("audit", "command") and (one.component in of or _diagnosed(one) in of):
                found.append(one)
            continue
        was, becomes = (_number(one.body.get(name)) for name in ("from", "to"))
        is_named = any(names(str(one.body.get("cause", "")), name) for name in of)
        if risen_to or is_named:
            found.append(one)
            risen_to = risen_to or was
            risen_to = risen_to if becomes > risen_to else 0
    return found


def _number(level: object) -> int:
    return DegradationLevel[str(level)].value if str(level) in DegradationLevel.__members__ else 0


def _diagnosed(event: Event) -> str:
    """Where the trouble was that a heal is for; empty where the event does not say."""
    diagnosis = event.body.get("diagnosis")
    seen_at = diagnosis.get("component") if isinstance(diagnosis, dict) else None
    return seen_at if isinstance(seen_at, str) else ""


def _lines(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Each event as the feed says it; an error that comes again before anything else is one line, the first, with ``times``."""
    lines: list[dict[str, Any]] = []
    lately: dict[str, dict[str, Any]] = {}
    for one in events:
        fingerprint = str(one.body.get("fingerprint", ""))
        if one.type != "error":
            lately.clear()
        elif (again := lately.get(fingerprint)) is not None:
            again["times"] += 1
            continue
        lines.append({**with_line(one.view()), "times": 1, "first": False})
        if one.type == "error":
            lately[fingerprint] = lines[-1]
    return lines


def _told(one: Alert) -> dict[str, Any]:
    """An alert as a step: who was told of it, and whether that arrived."""
    tone, shape = SEVERITIES[one.cause.severity.name]
    by = {state: ", ".join(dict.fromkeys(told.channel for told in one.tellings if told.state is state)) for state in TellingState}
    parts = [
        said.format(by[state]) for state, said in (
            (TellingState.DELIVERED, "told by {}"), (TellingState.FAILED, "did not arrive by {}"),
            (TellingState.SENDING, "being sent by {}"), (TellingState.WAITING, "waits for {}"),
        ) if by[state]
    ]  # fmt: skip
    line = {
        "tone": tone, "shape": shape, "text": f"Alert: {first_line(one.cause.title)}",
        "detail": "; ".join(parts) or "nobody was told", "href": f"/alerts#alert-{one.id}",
    }  # fmt: skip
    return {"id": "", "at": as_text(one.at), "type": "alert", "line": line, "times": 1, "first": False}


def _short(events: Iterable[Event]) -> list[str]:
    """The chain in few words: ``gpt-5.2 open``, ``level 2``, ``healed``; the same twice running is said once."""
    said: list[str] = []
    for one in events:
        word = _word(one)
        if word and (not said or said[-1] != word):
            said.append(word)
    return said if len(said) <= 8 else [*said[:4], "…", *said[-3:]]


def _word(event: Event) -> str:
    name, what = first_line(event.component, 40), event.type.partition(".")[2]
    match event.type:
        case "level.changed":
            return f"level {_number(event.body.get('to')) or '?'}"
        case "circuit.opened":
            return f"{name} open"
        case "circuit.half_open" | "circuit.closed" | "circuit.isolated":
            return f"{name} {CIRCUITS[what.upper()][2]}"
        case "heal.started":
            return healing.words(str(event.body.get("action", "")), name)
        case "heal.ended":
            outcome = str(event.body.get("outcome"))
            return {"failed": "that did not help"}.get(outcome, outcome)
        case "heal.escalated":
            return "needs a person"
        case "process.exited" | "process.silent" | "process.failed" | "process.ready" | "process.started" | "process.stopped":
            return f"{name} {({'exited': 'ended'}).get(what, what)}"
        case "agent.connected" | "agent.lost" | "agent.left":
            return f"{name} {what}"
        case "app.started":
            return "WinClaw started again"
        case _:
            return ""
