"""The document's ``AlertManager`` (§8.2), for a program of its own: whoever is to be told is told here, by its handlers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import field
from msgspec.structs import asdict, replace

from resilience.alerting.alerts import (
    MOST_ALERTS,
    NO_ALERTS,
    SEVERITY_PRIORITY,
    Alert,
    AlertChannel,
    AlertPriority,
    Alerts,
    AlertState,
    Cause,
    Telling,
    TellingState,
    with_alerts,
)
from resilience.alerting.channels import Channels, OtherChannel
from resilience.alerting.handlers import Handler, called
from resilience.alerting.policy import Alerting
from resilience.alerting.routing import Routing
from resilience.alerting.silences import Scene
from resilience.bulkhead import Bulkhead
from resilience.clock import Clock, SystemClock
from resilience.context import ErrorContext, fingerprint

MOST_AT_ONCE: Final = 10
"""Calls of one handler at the same time; more wait for them, so that one which hangs does not use up the threads."""
_MOST: Final = 2 * MOST_ALERTS - 2
"""Alerts that are remembered: nobody has to see to those of a program alone, so the oldest make room."""
_SEVERITIES: Final = {priority: severity for severity, priority in SEVERITY_PRIORITY.items()}
_log = logging.getLogger("winclaw.alerts")


class Occasion(Cause, frozen=True, kw_only=True):
    """A cause as a program tells it: with the error itself, and whatever else it has to say."""

    error_context: ErrorContext | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class _Asked(Alerting, frozen=True, kw_only=True):
    """The policy for one alert of which it is known how much it presses and who is to be told."""

    priority: AlertPriority
    told: tuple[str, ...]

    def priority_of(self, _severity: object) -> AlertPriority:
        return self.priority

    def told_of(self, _priority: object) -> tuple[str, ...]:
        return self.told

    def tells_by(self, channel: str) -> bool:
        return channel in self.told


class AlertManager:
    """Tells people of alerts, each channel by the handler that is registered for it; the log has one from the start.

    May be used from any thread and any event loop; a program without one calls ``asyncio.run(manager.send_alert(...))``.
    Alerts of one title (but for numbers and quoted words), component and priority are one, which counts them. What needs
    somebody who watches the time, only WinClaw does: quiet hours, digests, escalation, the end of what does not come again.

    Args:
        policy: who is told of what, and how often. A channel is on if it has a handler, whatever ``enabled`` says of it; the
            log has none if that is off.
        timeout_s: seconds that each handler has.

    Raises:
        ValueError: the policy or the time is not possible; it says why.
    """

    def __init__(self, policy: Alerting | None = None, *, clock: Clock | None = None, timeout_s: float = 30.0) -> None:
        if not 0 < timeout_s <= 86_400:
            raise ValueError(f"timeout_s={timeout_s!r} is not possible: seconds above 0, and not more than a day")
        given = (policy or Alerting()).sound()
        self._policy = replace(given, channels=_turned_on(given.channels, set()))
        self._clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._alerts: Alerts = NO_ALERTS
        self._ways: dict[str, tuple[Handler, Bulkhead]] = {}
        if given.channels.log.enabled:
            self.register_channel_handler(AlertChannel.LOG, _to_log)

    def register_channel_handler(self, channel: AlertChannel | str, handler: Handler) -> None:
        """Has ``handler`` tell by ``channel`` from now on, in the place of who did before (§8.2).

        A function runs in a thread of its own, a coroutine function in the event loop that sends. One that takes too long is
        left alone, or cancelled. A channel of a name of yours tells from P3 on, unless ``policy.channels.others`` says else.

        Raises:
            ValueError: no channel can have that name.
        """
        name = str(channel)
        room = Bulkhead(f"alerts by {name}", MOST_AT_ONCE, 1000, self._timeout_s, clock=self._clock)
        with self._lock:
            channels = _turned_on(self._policy.channels, {*self._ways, name}).sound()
            self._policy = replace(self._policy, channels=channels)
            self._ways[name] = handler, room

    async def send_alert(
        self, title: str, message: str, priority: AlertPriority | None = None, error_context: ErrorContext | None = None,
        channels: Iterable[AlertChannel | str] | None = None, **metadata: Any,
    ) -> Alert | None:  # fmt: skip
        """Tells of something, by all channels at once, and waits until each has told or failed (§8.2).

        Args:
            priority: how much it presses; None: as the severity of ``error_context`` says, without one P4.
            channels: who is told; None: as the policy's routes say.
            metadata: for the handlers. ``component`` says what it is about, where no ``error_context`` does.

        Returns:
            The alert; its ``tellings`` say what became of each message. None: it was held back, since enough were sent in
            this time, or for maintenance; the next one that is sent says how many were.
        """
        if priority is None:
            priority = self._policy.priority_of(error_context.severity) if error_context else AlertPriority.P4_LOW
        told = self._policy.told_of(priority) if channels is None else map(str, channels)
        cause = _occasion(title, message, priority, error_context, metadata)
        alert, new = self._taken_in(cause, priority, told)
        if alert.held:
            if alert.held == 1:  # of the rest nobody would hear if no more came
                _log.warning("%s: %r is held back, and counted: %s", priority.name, title, alert.silent or "enough were sent")
            return None
        for ended in await asyncio.gather(*(self._told(alert, one) for one in new)):
            alert = alert.told(ended)
        return alert

    async def acknowledge_alert(self, alert_id: int, acknowledged_by: str) -> bool:
        """Says that somebody sees to an alert; False: it is over, or there is none (§8.2). If it comes again, it is another."""
        now = self._clock.now()
        return self._change(alert_id, state=AlertState.ACKNOWLEDGED, actor=acknowledged_by, acknowledged_at=now)

    def resolve_alert(self, alert_id: int) -> bool:
        """Says that the cause of an alert is gone; False: that is known already, or there is none."""
        return self._change(alert_id, state=AlertState.RESOLVED, resolved_at=self._clock.now())

    def get_active_alerts(self, min_priority: AlertPriority | None = None) -> list[Alert]:
        """The alerts that nobody sees to and that press so much, or more; the most pressing first (§8.2)."""
        least = min_priority or AlertPriority.P5_INFO
        active = [one for one in self._alerts.values() if one.state is AlertState.OPEN and one.priority <= least]
        return sorted(active, key=lambda one: (one.priority, one.id))

    @property
    def alert_history(self) -> list[Alert]:
        """The alerts that are remembered, the oldest first (§8.2)."""
        return list(self._alerts.values())

    def _change(self, alert_id: int, **changes: Any) -> bool:
        with self._lock:
            alert = self._alerts.get(alert_id)
            if alert is None or not alert.is_open:
                return False
            self._alerts = with_alerts(self._alerts, {alert_id: replace(alert, **changes)})
        return True

    def _taken_in(self, cause: Cause, priority: AlertPriority, told: Iterable[str]) -> tuple[Alert, list[Telling]]:
        """The alert of ``cause``, and its messages that are now to be sent; none, and ``held`` above 0: it is held back."""
        names = tuple(dict.fromkeys(told)) if self._policy.enabled else ()
        with self._lock:
            scene = Scene(self._clock.now(), self._clock.monotonic(), offered=frozenset({AlertChannel.TOAST}))
            policy = _Asked(**asdict(self._policy), priority=priority, told=names)
            alerts: Alerts = dict([*self._alerts.items()][-_MOST:])
            before = _latest(alerts, cause.about)
            if before is not None and before.state is AlertState.ACKNOWLEDGED:
                alerts = {**alerts, before.id: replace(before, state=AlertState.RESOLVED, resolved_at=scene.at)}
            turn = Routing(alerts, policy, scene)
            turn.happened(cause)
            self._alerts = turn.after()
            alert = _latest(self._alerts, cause.about)
            assert alert is not None, "what has just happened is the last to be forgotten"
            if alert.held > (before.held if before is not None else 0):
                return alert, []
            alert, new = _begun(alert)
            self._alerts = with_alerts(self._alerts, {alert.id: alert})
        return alert, new

    async def _told(self, alert: Alert, telling: Telling) -> Telling:
        """One message after its channel has told it, or has failed."""
        why = "it was interrupted"
        try:
            why = await self._failure(alert, telling.channel)
        finally:
            state = TellingState.FAILED if why else TellingState.DELIVERED
            ended = replace(telling, state=state, why=why, ended=self._clock.now())
            with self._lock:
                if (known := self._alerts.get(alert.id)) is not None:  # else it has made room for others
                    self._alerts = with_alerts(self._alerts, {known.id: known.told(ended)})
            if why:
                _log.error("the alert %r was not told by %s: %s", alert.cause.title, telling.channel, why)
        return ended

    async def _failure(self, alert: Alert, channel: str) -> str:
        """Has a channel tell; why it could not, or empty."""
        way = self._ways.get(channel)
        if way is None:
            return "no handler is registered for this channel"
        call = asyncio.ensure_future(called(*way, alert))
        limit = asyncio.ensure_future(self._clock.asleep(self._timeout_s))
        try:
            await asyncio.wait((call, limit), return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                return f"its handler has not ended within {self._timeout_s:g} s"
            return "its handler was cancelled" if call.cancelled() else call.result()
        finally:
            call.cancel()
            limit.cancel()


def _occasion(
    title: str, message: str, priority: AlertPriority, context: ErrorContext | None, metadata: Mapping[str, Any]
) -> Occasion:
    component = context.component if context else str(metadata.get("component", ""))
    return Occasion(
        about=fingerprint("alert", component, priority.name, "", title), title=title, message=message, component=component,
        severity=context.severity if context else _SEVERITIES[priority], error_context=context, metadata=metadata,
    )  # fmt: skip


def _turned_on(channels: Channels, names: set[str]) -> Channels:
    """The channels, of which those called ``names`` are on."""
    named = {one.value: replace(getattr(channels, one.value), enabled=one in names) for one in AlertChannel}
    unknown = {one: OtherChannel() for one in names.difference(AlertChannel, channels.others)}
    others = {name: replace(one, enabled=name in names) for name, one in {**channels.others, **unknown}.items()}
    return replace(channels, **named, others=others)


def _latest(alerts: Alerts, about: str) -> Alert | None:
    return max((one for one in alerts.values() if one.cause.about == about), key=lambda one: one.id, default=None)


def _begun(alert: Alert) -> tuple[Alert, list[Telling]]:
    """The alert with its new messages under way, and these; they say how many were held back before them."""
    text = f"{alert.cause.message} (Held back before this: {alert.held} more.)" if alert.held else alert.cause.message
    new = {
        one.key: replace(one, text=text, state=TellingState.SENDING, attempts=1)
        for one in alert.tellings if one.state is TellingState.WAITING
    }  # fmt: skip
    tellings = tuple(new.get(one.key, one) for one in alert.tellings)
    return replace(alert, cause=replace(alert.cause, message=text), held=0, tellings=tellings), list(new.values())


async def _to_log(alert: Alert) -> None:
    level = logging.CRITICAL - 10 * (alert.priority - AlertPriority.P1_CRITICAL)  # P1 CRITICAL … P5 DEBUG (§8.2)
    _log.log(level, "ALERT [%s] %s: %s", alert.priority.name, alert.cause.title, alert.cause.message)
