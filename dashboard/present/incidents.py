"""An incident in words: where it stands, its alerts, and what happened, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from dashboard.present import alerts, events
from dashboard.present.words import SEVERITIES, SHAPES
from resilience.alerting.alerts import AlertState
from resilience.alerting.digest import digest
from resilience.alerting.incidents import Incident, timeline
from resilience.events import Event


def incident(one: Incident, happened: Iterable[Event], now: datetime) -> dict[str, Any]:
    """The incident for its page; ``happened`` is what the journal has of that time."""
    found = [*happened]
    tone, word = _state(one)
    severity, shape = SEVERITIES[one.severity.name]
    rows = {row["id"]: row for row in alerts.newest_first(one.alerts)}
    return {
        **one.view(), "digest": digest(one, found, now), "tone": tone, "shape": SHAPES[tone], "word": word,
        "severity_tone": severity, "severity_shape": shape, "rows": [rows[alert.id] for alert in one.alerts],
        "lines": _lines(timeline(one, found)),
    }  # fmt: skip


def _state(one: Incident) -> tuple[str, str]:
    if one.ended is not None:
        return "off", "over"
    unseen = any(alert.state is AlertState.OPEN for alert in one.alerts)
    return ("bad", "open") if unseen else ("info", "acknowledged")


def _lines(happened: Iterable[Event]) -> list[dict[str, Any]]:
    """What happened, in order; an error that comes again before anything else happens is one line, with ``times``."""
    lines: list[dict[str, Any]] = []
    lately: dict[str, dict[str, Any]] = {}
    for event in happened:
        view = event.view()
        if event.type != "error":
            lately.clear()
        elif (again := lately.get(view["fingerprint"])) is not None:
            again["times"] += 1
            continue
        lines.append({**events.with_line(view), "times": 1, "first": False})
        if event.type == "error":
            lately[view["fingerprint"]] = lines[-1]
    return lines
