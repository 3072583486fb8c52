"""When agents and processes were there, and WinClaw to see it; and that as a row of bars, bucket by bucket. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from dashboard.present.spans import Lane, Look, Span, apart, in_turn, joined, moment, moment_or
from dashboard.present.windows import Window
from dashboard.present.words import mark
from resilience.events import Event
from resilience.journal.course import Course

_WHOLE: Final = 1000.0


def presences(course: Course, family: str, until: datetime) -> dict[str, Lane]:
    """When each agent, or process, was there, by its name.

    Args:
        family: ``agent`` or ``process``. until: now.
    """
    events = sorted((*course.before, *course.events), key=lambda one: (one.at, one.id))
    gone = away(one for one in events if one.type.startswith(("app.", "journal.")))
    happened: dict[str, list[Event]] = defaultdict(list)
    for one in events:
        if one.type.startswith(f"{family}."):
            happened[one.component].append(one)
    spans = {
        name: of_agent(of, gone, until) if family == "agent" else in_turn(of, _runs) for name, of in happened.items()
    }
    return {name: Lane(f"{family}:{name}", name, one, "beats") for name, one in spans.items()}


def away(events: Iterable[Event]) -> tuple[Span, ...]:
    """When WinClaw was not there, or could write nothing down."""
    found = []
    for one in sorted(events, key=lambda one: (one.at, one.id)):
        at, away_s = moment(one.at), one.body.get("away_s")
        if one.type == "app.started" and isinstance(away_s, int | float) and away_s > 0:
            look = ("crashed", *mark("bad")) if one.body.get("crashed") else ("not running", *mark("off"))
            detail = joined("nobody watched", one.body.get("because"))
            found.append(Span(at - timedelta(seconds=min(float(away_s), 3e8)), at, *look, detail))
        elif one.type == "journal.gap":
            since, until = (moment_or(one.body.get(name), at) for name in ("since", "until"))
            found.append(Span(since, max(since, until), "could not write", *mark("warn"), joined(one.body.get("why"))))
    return apart(sorted(found, key=lambda one: one.since))


_OF_AGENTS: Final = {
    "agent.connected": Look("there", *mark("ok")), "agent.left": Look("left", *mark("off")),
    "agent.lost": Look("silent", *mark("bad"), "its heartbeat stopped"),
}  # fmt: skip
_UNSEEN: Final = Look("not watched", "off", "ring", "WinClaw was not running")
_NOT_YET: Final = Look("not there", *mark("off"))


def of_agent(events: list[Event], away: tuple[Span, ...], until: datetime) -> tuple[Span, ...]:
    """When an agent was there: as long as any process of its name was, and WinClaw to see it."""
    alive: set[Any] = set()
    turns: list[tuple[datetime, Look]] = []
    starts = [(one.until, None) for one in away if one.until is not None and one.word in ("crashed", "not running")]
    told = [(moment(one.at), one) for one in events]
    for at, one in sorted([*told, *starts], key=lambda turn: (turn[0], turn[1] is not None)):
        if one is None:
            alive.clear()
            turns.append((at, _NOT_YET))
            continue
        pid = one.body.get("pid")
        if one.type == "agent.connected":
            alive.add(pid)
        else:
            alive.discard(pid)
        if one.type == "agent.lost":
            at = min(at, moment_or(one.body.get("last_beat"), at))
        if not alive or one.type == "agent.connected":
            turns.append((at, _OF_AGENTS[one.type]))
    first = min((at for at, _ in turns), default=until)
    unseen = [(one.since, _UNSEEN) for one in away if one.word in ("crashed", "not running") and one.since > first]
    turns = sorted([*turns, *unseen], key=lambda turn: turn[0])
    spans: list[Span] = []
    for number, (at, look) in enumerate(turns):
        end = turns[number + 1][0] if number + 1 < len(turns) else None
        if spans and spans[-1][2:] == Span(at, end, *look)[2:]:
            spans[-1] = spans[-1]._replace(until=end)
        elif end is None or end > at:
            spans.append(Span(at, end, *look))
    return tuple(spans)


def _runs(event: Event) -> Look:
    """Whether a process was there: running, silent, or not."""
    match event.type:
        case "process.silent":
            return Look("silent", *mark("bad"))
        case "process.exited" | "process.failed":
            return Look("ended", *mark("bad"))
        case "process.stopped":
            return Look("stopped", *mark("off"))
        case _:
            return Look("running", *mark("ok"))


def bars(lane: Lane, window: Window, now: datetime) -> dict[str, Any]:
    """How something was there, bucket by bucket: bars by tone, and the same in words.

    A bucket is silent if it was silent in it at any time, there if it was there at any time, else absent. Silent bars are drawn
    low and absent ones as dots, so that they differ without their colours, too.
    """
    until = window.until(now)
    since, step = until - window.length, _WHOLE / window.buckets
    paths: dict[str, list[str]] = {"ok": [], "bad": [], "off": []}
    for number in range(window.buckets):
        begins = since + window.bucket * number
        tone = _beat(lane.spans, begins, begins + window.bucket, now)
        top, height = {"ok": (2, 16), "bad": (10, 8), "off": (8, 3)}[tone]
        paths[tone].append(f"M{number * step + step * 0.18:.1f} {top}h{step * 0.64:.1f}v{height}h-{step * 0.64:.1f}z")
    return {"bars": {tone: "".join(path) for tone, path in paths.items() if path}, "said": _there(lane.spans, since, now)}


def _beat(spans: Iterable[Span], since: datetime, until: datetime, now: datetime) -> str:
    tones = {one.tone for one in spans if one.since < min(until, now) and (one.until is None or one.until > since)}
    return "bad" if "bad" in tones else "ok" if "ok" in tones else "off"


def _there(spans: Iterable[Span], since: datetime, now: datetime) -> str:
    """``up 58 of 60 minutes``"""
    up = sum(((min(one.until or now, now) - max(one.since, since)) for one in spans if one.tone == "ok"
              and (one.until is None or one.until > since) and one.since < now), timedelta())  # fmt: skip
    whole = now - since
    if whole > timedelta(hours=2):
        return f"up {up / timedelta(hours=1):.0f} of {whole / timedelta(hours=1):.0f} hours"
    return f"up {up / timedelta(minutes=1):.0f} of {whole / timedelta(minutes=1):.0f} minutes"
