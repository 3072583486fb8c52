"""What keeps alerts silent because people want it so: a snooze, a maintenance. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from resilience.alerting.alerts import Alert
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity

LONGEST_SNOOZE: Final = timedelta(days=7)


class Scene(NamedTuple):
    """What holds while alerts are looked at.

    ``now_s`` is ``at`` in monotonic seconds, which nobody who sets a clock can move. ``down`` are the components that are known
    to be down, ``offered`` the channels that not every WinClaw has and this one has; until ``snoozed_until`` nobody is told.
    """

    at: datetime
    now_s: float
    down: frozenset[str] = frozenset()
    offered: frozenset[str] = frozenset()
    snoozed_until: datetime | None = None


class Silences:
    """The silences that people have asked for, at one moment."""

    def __init__(self, policy: Alerting, scene: Scene) -> None:
        self._policy, self._scene, self._at = policy, scene, scene.at
        self._here = scene.at.astimezone()

    def quiet(self, alert: Alert) -> str:
        """Why people want to hear nothing of it now; empty: they do."""
        if self._is_ahead(alert.snoozed_until):
            return f"snoozed until {time_of(alert.snoozed_until)}"
        if alert.cause.severity is ErrorSeverity.FATAL:
            return ""
        if self._is_ahead(self._scene.snoozed_until):
            return f"all alerts are snoozed until {time_of(self._scene.snoozed_until)}"
        maintained = self._policy.maintained(alert.cause.component, self._here)
        return f"maintenance: {maintained.name}" if maintained is not None else ""

    def _is_ahead(self, until: datetime | None) -> bool:
        """Whether a snooze until then still holds; not one that is too far ahead, because the clock was set back."""
        return until is not None and self._at < until <= self._at + LONGEST_SNOOZE + timedelta(hours=2)


@lru_cache(maxsize=64)
def time_of(moment: datetime | None) -> str:
    """A moment, for people anywhere."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else ""
