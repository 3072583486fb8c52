"""The timeline over HTTP: what the overview and the API show of a window, and what belongs to a chosen moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from dashboard.present import causality, lanes, presence, windows
from dashboard.present import events as event_words
from dashboard.present import timeline as timeline_words
from dashboard.present.spans import Lane
from dashboard.present.windows import Moment, Window
from resilience.alerting.digest import digest
from resilience.alerting.incidents import of_alert
from resilience.clock import as_text
from resilience.core.core import Core
from resilience.journal.course import MOST_COMPONENTS

_MOST_LINES: Final = 60


class Seen(NamedTuple):
    """What the journal has of a window: the lanes, the errors by minute, and how much of each family is left out."""

    window: Window
    lanes: list[Lane]
    minutes: list[tuple[str, str, int]]
    left_out: Mapping[str, int]


class Timeline:
    """Reads what the timeline shows."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def seen(self, window: Window) -> Seen:
        """What there is of the window that ends now."""
        now, state = self._core.clock.now(), self._core.state
        until = window.until(now)
        since = as_text(until - window.length)
        known = {
            "level": ["level"], "app": ["winclaw"],
            "circuit": [one.name for one in state.services.circuits.values() if one.state != "CLOSED"],
            "process": [one.name for one in state.processes.values() if one.needs_you or not one.ready],
            "agent": list(dict.fromkeys(one.name for one in state.agents.values()))[:MOST_COMPONENTS],
        }  # fmt: skip
        course = self._core.history.course(since, as_text(until + timedelta(days=1)), known, window.digits)
        standing = {"level": state.standing.level.name, "since": state.standing.since.isoformat(), "cause": state.standing.cause}
        found = lanes.lanes(course, state.alerts.values(), standing, now)
        return Seen(window, found, self._core.history.per_minute(since), course.left_out)

    def section(self, seen: Seen, moment: Moment | None) -> dict[str, Any]:
        """The window as its section shows it."""
        now = self._core.clock.now()
        shown = timeline_words.timeline(seen.lanes, seen.minutes, seen.window, now, moment)
        return {**shown, "left_out": sum(seen.left_out.values())}

    def view(self, window: Window) -> dict[str, Any]:
        """The window as the API gives it."""
        seen = self.seen(window)
        return timeline_words.as_view(seen.lanes, seen.minutes, seen.left_out, window, self._core.clock.now())

    def beats(self, family: str, names: Iterable[str], seen: Seen | None = None) -> dict[str, dict[str, Any]]:
        """How the agents, or processes, of these names were there in the last hour; those that are not told of are left out.

        Args:
            seen: what was read already; of agents it may have that hour, which is then not read again.
        """
        window, now = windows.WINDOWS["1h"], self._core.clock.now()
        if seen is not None and seen.window is window and family == "agent":
            return {one.title: presence.bars(one, window, now) for one in seen.lanes if one.sort == "beats"}
        until, known = window.until(now), {family: [*names][:MOST_COMPONENTS], "app": ["winclaw"]}
        since, later = as_text(until - window.length), as_text(until + timedelta(days=1))
        found = presence.presences(self._core.history.course(since, later, known, window.digits), family, now)
        return {name: presence.bars(lane, window, now) for name, lane in found.items()}

    def around(self, moment: Moment, seen: Seen) -> dict[str, Any]:
        """What happened around a moment, newest first, and why what was chosen came to be."""
        history, now = self._core.history, self._core.clock.now()
        since, until = windows.around(moment, seen.window)
        happened = history.between(as_text(since), as_text(until), None)
        views = [event.view() for event in reversed(happened)]
        return {
            "since": as_text(since), "until": as_text(until), "at": as_text(moment.at),
            "feed": event_words.feed(views, most=_MOST_LINES), "chain": self._chain(moment, seen),
            "troubles": history.troubles(as_text(since), as_text(until), 10),
            "back": windows.link(seen.window), "now": as_text(now),
        }  # fmt: skip

    def _chain(self, moment: Moment, seen: Seen) -> dict[str, Any] | None:
        history, now, alerts = self._core.history, self._core.clock.now(), self._core.state.alerts
        lane = next((one for one in seen.lanes if one.key == moment.of), None)
        near = [one for one in lane.spans if one.since <= moment.at <= (one.until or now)] if lane is not None else []
        if lane is None or not near:
            return None
        since = min(one.since for one in near) - causality.BEFORE
        until = max(one.until or now for one in near) + causality.AFTER
        found = causality.episode(seen.lanes, moment, history.between(as_text(since), as_text(until), ()), alerts.values(), now)
        if found is None or not found.of:
            return None
        since, until = found.span.since - causality.BEFORE, (found.span.until or now) + causality.AFTER
        happened = history.between(as_text(since), as_text(until), found.of)
        told = causality.chain(found, happened, alerts.values(), now)
        incident = of_alert(alerts.values(), told["alerts"][0]) if told["alerts"] else None
        if incident is not None:
            end = as_text(incident.ended or now)
            events = history.between(as_text(incident.began - causality.BEFORE), end, incident.touched)
            told["digest"] = {"text": digest(incident, events, now), "href": f"/incidents/{incident.id}", "title": incident.title}
        return {**told, "lane": lane.title}
