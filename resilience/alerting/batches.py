"""Which message of those that wait a channel sends next, and whether with others in one: for quiet hours and floods. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertChannel, Alerts, Cause, Telling
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity

MOST_ALONE: Final = 5
"""Alerts that wait for a channel and still go out one by one; more go out as one digest."""
_MOST_TOGETHER: Final = 200
_MOST_LINES: Final = 20
_AT_ONCE: Final = frozenset({AlertChannel.LOG, AlertChannel.DASHBOARD})
"""What keeps everything, and disturbs nobody."""


class Batch(NamedTuple):
    """One message to send: of ``alert``, the telling ``telling``; it stands for those of all ``keys``.

    ``digest`` is its own key, where it stands for several.
    """

    keys: tuple[str, ...]
    digest: str
    alert: Alert
    telling: Telling


class Pace(NamedTuple):
    """When a channel sent its last messages, in monotonic seconds."""

    at_s: tuple[float, ...] = ()

    def sent(self, now_s: float) -> Pace:
        """With one more."""
        return Pace((*self.at_s, now_s)[-10_000:])

    def left(self, policy: Alerting, now_s: float) -> int:
        """How many more may be sent in this window."""
        return policy.max_messages_per_window - len(self._recent(policy, now_s))

    def rest_s(self, policy: Alerting, now_s: float) -> float:
        """How long until one more may be sent."""
        recent, most = self._recent(policy, now_s), policy.max_messages_per_window
        return recent[-most] + policy.rate_limit_window - now_s if len(recent) >= most else 0.0

    def _recent(self, policy: Alerting, now_s: float) -> list[float]:
        return [at_s for at_s in self.at_s if now_s - at_s < policy.rate_limit_window]


def next_batch(
    alerts: Alerts, channel: str, policy: Alerting, pace: Pace, now: datetime, now_s: float
) -> Batch | float | None:
    """What ``channel`` sends next; or how many seconds it rests; None: nothing waits.

    What is FATAL, and a test, waits for no quiet hours and no limit.
    """
    waiting = [(alert, one) for alert in alerts.values() for one in alert.open_tellings if one.channel == channel]
    if not waiting:
        return None
    begun = next((one.digest for _, one in waiting if one.digest), "")
    if begun:  # it may have arrived, so it must be the same again
        return _digest([(alert, one) for alert, one in waiting if one.digest == begun], begun)
    urgent = [(alert, one) for alert, one in waiting if alert.cause.severity is ErrorSeverity.FATAL or one.what == "test"]
    if channel in _AT_ONCE:
        return _one(*waiting[0])
    chosen = urgent or waiting
    together = len({alert.id for alert, _ in chosen}) > MOST_ALONE
    if not urgent:
        configured = policy.channels.by_name.get(channel)
        quiet = configured.quiet_for(now.astimezone()) if configured is not None else None
        rest_s = max(quiet.total_seconds() if quiet is not None else 0.0, pace.rest_s(policy, now_s))
        if rest_s > 0:
            return rest_s
        together = together or (pace.left(policy, now_s) == 1 and len(chosen) > 1)  # the last one says all
    if together:
        return _digest(chosen[:_MOST_TOGETHER], f"{chosen[0][1].key}-digest")
    return _one(*chosen[0])


def _one(alert: Alert, telling: Telling) -> Batch:
    return Batch((telling.key,), "", alert, telling)


def _digest(tellings: list[tuple[Alert, Telling]], key: str) -> Batch:
    """One message for several: a line for each alert, the worst first, with where it stands now."""
    alerts = sorted({alert.id: alert for alert, _ in tellings}.values(), key=lambda one: (-one.cause.severity.value, one.id))
    worst, (first, telling) = alerts[0], tellings[0]
    lines = [_line(one) for one in alerts[:_MOST_LINES]]
    more = [f"and {len(alerts) - _MOST_LINES} more"] if len(alerts) > _MOST_LINES else []
    cause = Cause(
        about="digest", title=worst.cause.title if len(alerts) == 1 else f"{len(alerts)} alerts, the worst: {worst.cause.title}",
        message="\n".join([*lines, *more]), severity=worst.cause.severity, component="several", page="/alerts",
    )  # fmt: skip
    alert = replace(first, cause=cause, priority=worst.priority, count=sum(one.count for one in alerts))
    said = replace(telling, key=key, what="digest", text=cause.message)
    return Batch(tuple(one.key for _, one in tellings), key, alert, said)


def _line(alert: Alert) -> str:
    times = f", {alert.count} times" if alert.count > 1 else ""
    return f"{alert.cause.severity.name} {alert.cause.title} (since {alert.at:%H:%M} UTC{times}, {alert.state.value})"
