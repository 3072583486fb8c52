"""An incident: alerts that belong together, with what happened around them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from resilience.alerting.alerts import Alert
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.events import Event, EventType

TOGETHER: Final = timedelta(minutes=5)
"""An alert that began so soon after another belongs to the same incident."""
BEFORE: Final = timedelta(minutes=1)
"""What happened so shortly before the first alert may have led to it."""
MOST_EVENTS: Final = 200
"""Events in a timeline."""


class Incident(Struct, frozen=True, kw_only=True):
    """What went wrong at one time, for people and programs; derived from the alerts, never stored.

    ``id`` is that of the first of ``alerts``, which are in order; ``ended`` is None while any of them is open. ``severity``
    and ``title`` are those of the worst.
    """

    id: int
    alerts: tuple[Alert, ...]
    began: datetime
    ended: datetime | None
    severity: ErrorSeverity
    title: str

    @property
    def components(self) -> tuple[str, ...]:
        """What it is about, in order."""
        return tuple(dict.fromkeys(one.cause.component for one in self.alerts))

    @property
    def touched(self) -> frozenset[str]:
        """Its components and all that they need: where that which belongs to it happens."""
        return frozenset(name for one in self.alerts for name in (one.cause.component, *one.cause.needs))

    @property
    def acknowledged(self) -> dict[str, datetime]:
        """Who sees to it, and since when, in order."""
        seen: dict[str, datetime] = {}
        for at, actor in sorted((one.acknowledged_at, one.actor) for one in self.alerts if one.acknowledged_at is not None):
            seen.setdefault(actor, at)
        return seen

    def view(self) -> dict[str, Any]:
        """The incident as the API gives it."""
        return {
            "id": self.id, "title": self.title, "severity": self.severity.name, "began": self.began.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None, "alerts": [one.id for one in self.alerts],
            "components": list(self.components), "acknowledged_by": list(self.acknowledged),
        }  # fmt: skip


def incidents(alerts: Iterable[Alert]) -> tuple[Incident, ...]:
    """What belongs together, newest first; tests of channels belong to nothing.

    An alert joins the incident that has something open which it has to do with, or else that of the alert before it, if
    that had begun shortly before.
    """
    groups: list[list[Alert]] = []
    previous: list[Alert] = []
    for one in sorted((one for one in alerts if not one.cause.about.startswith("test:")), key=lambda one: (one.at, one.id)):
        group = next((group for group in reversed(groups) if any(_is_of(one, other) for other in group)), None)
        if group is None and previous and one.at - previous[-1].at <= TOGETHER:
            group = previous
        if group is None:
            group = []
            groups.append(group)
        group.append(one)
        previous = group
    return tuple(_incident(group) for group in reversed(groups))


def of_alert(alerts: Iterable[Alert], number: int) -> Incident:
    """The incident that an alert belongs to.

    Raises:
        KeyError: there is no such alert, or it is the test of a channel.
    """
    for incident in incidents(alerts):
        if any(one.id == number for one in incident.alerts):
            return incident
    raise KeyError(number)


def timeline(incident: Incident, events: Iterable[Event]) -> tuple[Event, ...]:
    """Those of ``events`` that belong to it, in order; where they are too many, errors that came before are left out first."""
    found = belonging(incident, events)
    firsts = {one.body.get("fingerprint"): one.id for one in reversed(found) if one.type == EventType.ERROR}

    def is_again(one: Event) -> bool:
        return one.type == EventType.ERROR and firsts[one.body.get("fingerprint")] != one.id

    return tuple(sorted(sorted(found, key=is_again)[:MOST_EVENTS], key=_order))


def _incident(alerts: Sequence[Alert]) -> Incident:
    worst = max(alerts, key=lambda one: one.cause.severity.value)
    is_open = any(one.is_open for one in alerts)
    return Incident(
        id=alerts[0].id, alerts=tuple(alerts), began=alerts[0].at, ended=None if is_open else max(map(_over_at, alerts)),
        severity=worst.cause.severity, title=worst.cause.title,
    )  # fmt: skip


def _over_at(alert: Alert) -> datetime:
    return alert.resolved_at or alert.last_at


def _is_of(alert: Alert, earlier: Alert) -> bool:
    """Whether ``earlier`` was not over when the alert began, and they have to do with each other."""
    if not earlier.is_open and _over_at(earlier) < alert.at:
        return False
    one, other = alert.cause, earlier.cause
    return one.component == other.component or other.component in one.needs or one.component in other.needs


def belonging(incident: Incident, events: Iterable[Event]) -> list[Event]:
    """Those of ``events`` that belong to it, in order."""
    since = as_text(incident.began - BEFORE)
    until = as_text(incident.ended) if incident.ended is not None else None
    about, alerts = incident.touched, {one.id for one in incident.alerts}
    in_time = (one for one in events if since <= one.at and (until is None or one.at <= until))
    return sorted((one for one in in_time if _matters(one, about, alerts)), key=_order)


def _matters(event: Event, about: frozenset[str], alerts: set[int]) -> bool:
    match event.type:
        case EventType.LEVEL_CHANGED:
            return True
        case EventType.AUDIT:  # what Safe Mode refuses says nothing of what is wrong
            return False
        case EventType.ALERT_UNDELIVERED:
            return event.body.get("alert") in alerts
    diagnosis = event.body.get("diagnosis")
    seen_at = diagnosis.get("component") if isinstance(diagnosis, dict) else None
    return event.component in about or (isinstance(seen_at, str) and seen_at in about)


def _order(event: Event) -> tuple[str, int]:
    return event.at, event.id
