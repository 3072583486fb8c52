"""Alerts and events of incidents, so many seconds after noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from resilience.alerting.alerts import Alert, AlertState, Cause
from resilience.alerting.digest import digest
from resilience.alerting.incidents import Incident, incidents
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.events import Event

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MOMENT = 1e-6


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def alert(number: int, began_s: float = 0, over_s: float | None = None, **other: Any) -> Alert:
    """An alert that began so many seconds after noon, and is open if it is not over."""
    cause: dict[str, Any] = {"about": f"error:{number}", "component": f"c{number}", "title": f"T{number}"}
    cause |= {"severity": ErrorSeverity.ERROR, "needs": (), "message": "M"}
    cause |= {name: other.pop(name) for name in cause if name in other}
    if over_s is not None:
        other = {"state": AlertState.RESOLVED, "resolved_at": at(over_s), **other}
    return Alert(id=number, cause=Cause(**cause), at=at(began_s), **{"last_at": at(began_s), **other})


def event(number: int, kind: str, seconds: float = 0, component: str = "c1", **body: Any) -> Event:
    return Event(number, as_text(at(seconds)), kind, component, body)


def ids(*alerts: Alert) -> list[list[int]]:
    return [[one.id for one in incident.alerts] for incident in incidents(alerts)]


def one_of(*alerts: Alert) -> Incident:
    (found,) = incidents(alerts)
    return found


def told(incident: Incident, *events: Event, now_s: float = 60) -> str:
    return digest(incident, events, at(now_s))
