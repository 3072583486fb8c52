"""The course of things as lanes on one line of time: how long the level, each circuit and each process stood how. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from dashboard.present import healing
from dashboard.present.now import CIRCUITS
from dashboard.present.presence import away, of_agent
from dashboard.present.spans import Lane, Look, Span, ends, in_turn, joined, moment
from dashboard.present.words import LEVELS, SEVERITIES, level_title, mark
from resilience.alerting.alerts import Alert
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event
from resilience.journal.course import Course

_TRACKS: Final = 3
"""Lanes of heals, where several go on at once; what is more is drawn in the last one."""


def lanes(course: Course, alerts: Iterable[Alert], level: Mapping[str, Any], until: datetime) -> list[Lane]:
    """The lanes, those that everybody has first; of circuits, processes and WinClaw itself, those that were not well.

    Args:
        level: how the level stands now, as the state's view says it. until: now.
    """
    happened: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for one in sorted((*course.before, *course.events), key=lambda one: (one.at, one.id)):
        happened[one.type.partition(".")[0], one.component].append(one)
    of = {name: {component: events for (family, component), events in happened.items() if family == name} for name in _FAMILIES}
    gone = away(one for events in (*of["app"].values(), *of["journal"].values()) for one in events)
    return [
        Lane("level", "Level", _level(of["level"].get("level", []), level, course.begun)),
        *(Lane(f"circuit:{name}", name, spans) for name, events in of["circuit"].items() if (spans := in_turn(events, _circuit))),
        *_processes(of["process"]),
        *_heals(one for events in of["heal"].values() for one in events),
        Lane("alerts", "Alerts", (*map(_alert, sorted(alerts, key=lambda one: one.at)),), "marks"),
        *([Lane("winclaw", "WinClaw", gone)] if gone else []),
        *(Lane(f"agent:{name}", name, of_agent(events, gone, until), "beats") for name, events in of["agent"].items()),
    ]


_FAMILIES: Final = ("level", "circuit", "process", "heal", "app", "journal", "agent")


def _level(events: list[Event], level: Mapping[str, Any], begun: str | None) -> tuple[Span, ...]:
    if not events:
        return (Span(moment(level["since"]), None, *_of_level(level["level"], level["cause"])),)
    first = _of_level(str(events[0].body.get("from", "")), "")
    earlier = Span(moment(min(begun or events[0].at, events[0].at)), None, *first)
    return in_turn(events, lambda one: _of_level(str(one.body.get("to", "")), str(one.body.get("cause", ""))), earlier)


def _of_level(name: str, cause: str) -> Look:
    if name not in DegradationLevel.__members__:
        return Look(level_title(name), *mark("off"), cause)
    level = DegradationLevel[name]
    return Look(level.title, *LEVELS[level][:2], cause, str(level.value))


def _circuit(event: Event) -> Look | None:
    state = {"circuit.opened": "OPEN"}.get(event.type, event.type.partition(".")[2].upper())
    if state == "CLOSED" or state not in CIRCUITS:
        return None
    tone, shape, word = CIRCUITS[state]
    return Look(word, tone, shape, joined(event.body.get("because"), event.body.get("agent")))


_OF_PROCESSES: Final = {
    "process.silent": ("silent", *mark("bad")), "process.exited": ("ended", *mark("bad")),
    "process.failed": ("failed", "bad", "cross"), "process.stopping": ("stopping", *mark("warn")),
    "process.stopped": ("stopped", *mark("off")),
}  # fmt: skip


def _processes(happened: Mapping[str, list[Event]]) -> Iterator[Lane]:
    """Of the processes those that were not well; one that was only started, or stopped by somebody, was."""
    for name, events in happened.items():
        spans = in_turn([one for one in events if one.type != "process.cleared"], _process)
        if any(one.tone == "bad" for one in spans):
            yield Lane(f"process:{name}", name, spans)


def _process(event: Event) -> Look | None:
    if event.type not in _OF_PROCESSES:
        return None
    return Look(*_OF_PROCESSES[event.type], joined(event.body.get("because")))


def _heals(events: Iterable[Event]) -> Iterator[Lane]:
    """The heals, each from its beginning to its end; those that go on at once stand in lanes of their own."""
    found: dict[Any, Span] = {}
    for one in sorted(events, key=lambda one: (one.at, one.id)):
        number = one.body.get("heal")
        key = number if number is not None else one.id
        begun = found[key].since if key in found else moment(one.at)
        found[key] = _heal(one, begun, f"/healing/{number}" if isinstance(number, int) else "")
    tracks: list[list[Span]] = [[]]
    for span in sorted(found.values(), key=lambda one: one.since):
        free = next((track for track in tracks if not track or ends(track[-1]) <= span.since), None)
        if free is None and len(tracks) < _TRACKS:
            tracks.append(free := [])
        if free is None:
            free = tracks[-1]
            free[-1] = free[-1]._replace(until=max(span.since, free[-1].since))
        free.append(span)
    for number, track in enumerate(tracks):
        yield Lane(f"healing:{number}" if number else "healing", "Healing", tuple(track))


_OUTCOMES: Final = {"healed": "ok", "failed": "bad", "interrupted": "warn"}


def _heal(event: Event, begun: datetime, href: str) -> Span:
    body, what = event.body, healing.words(str(event.body.get("action", "")), event.component)
    at, outcome = moment(event.at), str(event.body.get("outcome", ""))
    detail = joined(body.get("trigger"), body.get("result"), body.get("verification"))
    match event.type:
        case "heal.waiting":
            return Span(begun, None, f"{what}? It waits for approval", "warn", "diamond", detail, "?", href)
        case "heal.started":
            return Span(begun, None, f"{what}: under way", "info", "ring", detail, "…", href)
        case "heal.escalated":
            return Span(at, at, f"{event.component} could not be healed, and needs you", "bad", "sq", detail, "!", href)
    tone = _OUTCOMES.get(outcome, "off")
    said = {"healed": "healed", "failed": "did not help"}.get(outcome, outcome)
    short = {"healed": "\N{CHECK MARK}", "failed": "\N{MULTIPLICATION X}"}.get(outcome, "\N{EN DASH}")
    return Span(begun, max(at, begun), f"{what}: {said}", *mark(tone), detail, short, href)


def _alert(one: Alert) -> Span:
    tone, shape = SEVERITIES[one.cause.severity.name]
    told = f"told by {', '.join(one.told_by)}" if one.told_by else "nobody was told"
    times = f"{one.count} times" if one.count > 1 else ""
    detail = joined(one.cause.severity.name.lower(), told, times)
    return Span(one.at, one.at, one.cause.title, tone, shape, detail, href=f"/alerts#alert-{one.id}")
