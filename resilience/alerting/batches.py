"""Which message of those that wait a channel sends next, and whether with others in one: for quiet hours and floods. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertChannel, AlertPriority, Alerts, Cause, Telling
from resilience.alerting.channels import Channel
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity
from resilience.core.notices import Notice, cause_of

MAX_AGE: Final = timedelta(hours=24)
"""What could not be sent for so long is given up, if it was tried often."""
_ENOUGH: Final = 20

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
    alerts: Alerts, channel: str, policy: Alerting, pace: Pace, now: datetime, now_s: float,
    resting: Mapping[str, float] = MappingProxyType({}),
) -> Batch | float | None:  # fmt: skip
    """What ``channel`` sends next; or how many seconds it rests; None: nothing waits.

    What is FATAL, and a test, goes first, and waits for no quiet hours and no limit; what was tried less goes before what was
    tried more often.

    Args:
        resting: until when (monotonic seconds) messages rest that could not be sent, by their keys.
    """
    waiting = [(alert, one) for alert in alerts.values() for one in alert.open_tellings if one.channel == channel]
    if not waiting:
        return None
    rests_s = [resting.get(one.digest or one.key, 0.0) - now_s for _, one in waiting]
    free = [pair for pair, rest_s in zip(waiting, rests_s, strict=True) if rest_s <= 0]
    if not free:
        return min(rests_s)
    urgent = [(alert, one) for alert, one in free if alert.cause.severity is ErrorSeverity.FATAL or one.what == "test"]
    used = policy.channels.by_name.get(channel)
    if not urgent and channel not in _AT_ONCE:
        rest_s = max(_quiet_s(used, now), pace.rest_s(policy, now_s))
        if rest_s > 0:
            return rest_s
    untried = [(alert, one) for alert, one in urgent or free if one.attempts == 0]
    if not untried:
        _, least = min(urgent or free, key=lambda pair: pair[1].attempts)
        # It may have arrived, so it must be the same again.
        same = [(alert, one) for alert, one in waiting if one is least or (least.digest and one.digest == least.digest)]
        return _digest(same, least.digest) if least.digest else _one(*same[0])
    is_last = not urgent and pace.left(policy, now_s) == 1
    many = len({alert.id for alert, _ in untried}) > MOST_ALONE
    held_up = len(untried) > 1 and (is_last or any(_quiet_s(used, one.at) > 0 for _, one in untried))
    if channel not in _AT_ONCE and (many or held_up):
        return _digest(untried[:_MOST_TOGETHER], f"{untried[0][1].key}-digest")
    return _one(*untried[0])


def given_up(alerts: Alerts, channel: str, now: datetime) -> tuple[str, ...]:
    """The keys of what ``channel`` has tried to send for too long."""
    old = (one for alert in alerts.values() for one in alert.open_tellings if one.channel == channel and now - one.at > MAX_AGE)
    return tuple(one.key for one in old if one.attempts >= _ENOUGH)


def of_journal(notice: Notice, now: datetime) -> tuple[Alert, Telling]:
    """What is said of a journal that cannot be written; it waits in none."""
    cause = cause_of(notice, ErrorSeverity.FATAL)
    alert = Alert(id=0, cause=cause, priority=AlertPriority.P1_CRITICAL, at=now, last_at=now)
    return alert, Telling(key=f"journal-{int(now.timestamp())}", channel="", what="raised", text=cause.message, at=now)


def _quiet_s(channel: Channel | None, moment: datetime) -> float:
    """How long its quiet hours still last at ``moment``; 0: it does not lie in them, or nobody uses such a channel any more."""
    quiet = channel.quiet_for(moment.astimezone()) if channel is not None else None
    return quiet.total_seconds() if quiet is not None else 0.0


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
