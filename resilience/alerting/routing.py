"""Who is told of what, and by which channel (§8): the one table that §8.1's diagram and §8.2's tables make together. Pure.

Where they differ, the diagram counts: CRITICAL goes out as a text message too, and FATAL by all channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertChannel, AlertPriority, Alerts, AlertState, Cause, TellingState, with_alerts
from resilience.alerting.policy import Alerting

PRIORITY_CHANNELS: Final[Mapping[AlertPriority, Sequence[str]]] = MappingProxyType({
    AlertPriority.P1_CRITICAL: tuple(AlertChannel),
    AlertPriority.P2_HIGH: (
        AlertChannel.LOG, AlertChannel.DASHBOARD, AlertChannel.TOAST, AlertChannel.EMAIL, AlertChannel.SMS
    ),
    AlertPriority.P3_MEDIUM: (AlertChannel.LOG, AlertChannel.DASHBOARD, AlertChannel.EMAIL),
    AlertPriority.P4_LOW: (AlertChannel.LOG, AlertChannel.DASHBOARD),
    AlertPriority.P5_INFO: (AlertChannel.LOG,),
})  # fmt: skip
"""Who is told of what (§8.1, §8.2)."""


class Routing:
    """The alerts in one turn of the core: what happens goes in, and ``after`` is what they are then.

    Args:
        at: now, as people read it. now_s: the same in monotonic seconds, which nobody who sets a clock can move.
    """

    def __init__(self, alerts: Alerts, policy: Alerting, at: datetime, now_s: float) -> None:
        self._alerts, self._policy, self._at, self._now_s = alerts, policy, at, now_s
        self._latest = {one.cause.about: one for one in alerts.values()}
        self._changed: dict[int, Alert] = {}

    @property
    def after(self) -> Alerts:
        """The alerts after all that came in."""
        return with_alerts(self._alerts, self._changed) if self._changed else self._alerts

    def happened(self, cause: Cause, times: int = 1) -> None:
        """Something has happened, so many times; it may happen again, and is over when it does not for long enough."""
        self._seen(cause, times, lasts=False)

    def lasting(self, causes: Mapping[str, Cause], *, all_known: bool = True) -> None:
        """These causes, by what they are about, are there now, and if ``all_known`` no others that last."""
        for about, alert in [*self._latest.items()] if all_known else ():
            if alert.is_open and alert.lasts and about not in causes:
                self._resolve(alert)
        for about, cause in causes.items():
            known = self._latest.get(about)
            if known is None or not known.is_open or cause.severity.value > known.cause.severity.value:
                self._seen(cause, 1, lasts=True)
            elif known.cause != cause:
                self._put(replace(known, cause=cause))

    def looked(self) -> None:
        """Time has passed: windows end, what has not happened again for long is over, and who is no longer told, is not."""
        for alert in self._alerts.values():
            for one in alert.open_tellings:
                if not self._policy.tells_by(one.channel):
                    off = replace(one, state=TellingState.FAILED, why="this channel was turned off", ended=self._at)
                    alert = alert.told(off)
                    self._put(alert)
        for alert in [*self._latest.values()]:
            after = alert
            if self._is_over(after):
                after = self._begun(after)
                if alert.held:
                    after = self._telling(after, "summary", f"{alert.held} more of it; {alert.count} since it began.")
            quiet_s = (self._at - after.last_at).total_seconds()
            if after.is_open and not after.lasts and not after.held and quiet_s >= self._policy.resolve_after_s:
                after = replace(after, state=AlertState.RESOLVED, resolved_at=self._at)
            if after != alert:
                self._put(after)

    def acknowledge(self, number: int, actor: str) -> None:
        """Somebody sees to an alert.

        Raises:
            KeyError: there is no such alert.
        """
        self._put(replace(self._alerts[number], state=AlertState.ACKNOWLEDGED, actor=actor, acknowledged_at=self._at))

    def _seen(self, cause: Cause, times: int, *, lasts: bool) -> None:
        known = self._latest.get(cause.about)
        if known is not None and known.is_open:
            alert = replace(known, cause=cause, count=known.count + times, last_at=self._at, lasts=lasts)
        else:
            number = max((*self._alerts, *self._changed), default=0) + 1
            alert = Alert(id=number, cause=cause, at=self._at, last_at=self._at, count=times, lasts=lasts)
            if known is not None:  # what comes and goes has one window, or it would tell each time
                alert = replace(alert, window_s=known.window_s, sent=known.sent, held=known.held)
        if alert.state is not AlertState.ACKNOWLEDGED:
            if self._is_over(alert):
                alert = replace(self._begun(alert), held=alert.held)
            left = max(min(times, self._policy.max_alerts_per_window - alert.sent), 0)
            alert = replace(alert, sent=alert.sent + left, held=alert.held + times - left)
            for _ in range(left):
                alert = self._telling(alert, "again" if alert.messages else "raised", cause.message)
        self._put(alert)

    def _resolve(self, alert: Alert) -> None:
        after = replace(alert, state=AlertState.RESOLVED, resolved_at=self._at)
        told = dict.fromkeys(one.channel for one in alert.tellings)
        self._put(self._telling(after, "resolved", "It is over.", told))

    def _is_over(self, alert: Alert) -> bool:
        """Whether its window has ended; that of an earlier life has."""
        return alert.window_s is None or self._now_s - alert.window_s >= self._policy.rate_limit_window

    def _begun(self, alert: Alert) -> Alert:
        return replace(alert, window_s=self._now_s, sent=0, held=0)

    def _telling(self, alert: Alert, what: str, text: str, channels: Iterable[str] | None = None) -> Alert:
        if channels is None:
            channels = PRIORITY_CHANNELS[alert.cause.priority]
        heard = [one for one in channels if self._policy.tells_by(one)]
        return alert.telling(what, text, heard, self._at) if heard else alert

    def _put(self, alert: Alert) -> None:
        self._latest[alert.cause.about] = self._changed[alert.id] = alert
