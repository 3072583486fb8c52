"""Who is told of what, when, and by which channel (§8). Pure.

``policy`` has the one table that §8.1's diagram and §8.2's tables make together; where they differ, the diagram counts. What
comes in becomes alerts; an alert tells at most so often, not while something keeps it silent, on to others where nobody
acknowledges, and at last that it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from resilience.alerting.alerts import (
    MOST_ALERTS,
    Alert,
    AlertPriority,
    Alerts,
    AlertState,
    Cause,
    TellingState,
    with_alerts,
)
from resilience.alerting.channels import is_here
from resilience.alerting.policy import Alerting
from resilience.alerting.silences import Scene, Silences, time_of
from resilience.context import ErrorSeverity

NETWORK: Final = "network"
"""What everything needs that talks to other machines."""
_NETWORK_OF: Final = 3
"""So many components without a connection are one trouble."""
_MOST_OPEN: Final = 2 * MOST_ALERTS - 1
"""Open alerts; of single errors that would be more, there is one alert for all."""
_FLOOD: Final = "flood"
_OVER: Final = "It is over."
_A_MINUTE: Final = timedelta(minutes=1)
"""How far apart they may be, and how long a notification waits for a desktop."""


class Routing:
    """The alerts in one turn of the core: what happens goes in, and ``after`` is what they are then."""

    def __init__(self, alerts: Alerts, policy: Alerting, scene: Scene) -> None:
        self._alerts, self._policy, self._scene = alerts, policy, scene
        self._now = self._at, self._now_s = scene.at, scene.now_s
        self._latest = {one.cause.about: one for one in alerts.values()}
        self._changed: dict[int, Alert] = {}
        self._last = max(alerts, default=0)
        self._open = sum(one.is_open for one in alerts.values())
        self._silences = Silences(policy, scene)
        self._told_unwell: dict[str, int] | None = None

    def after(self) -> Alerts:
        """The alerts after all that came in."""
        return with_alerts(self._alerts, self._changed) if self._changed else self._alerts

    def happened(self, cause: Cause, times: int = 1) -> None:
        """Something has happened, so many times; it may happen again, and is over when it does not for long enough."""
        self._seen(cause, times, lasts=False)
        if NETWORK in cause.needs:
            self._look_at_network()

    def lasting(self, causes: Mapping[str, Cause], *, all_known: bool = True) -> None:
        """These causes, by what they are about, are there now, and if ``all_known`` no others that last."""
        for about, alert in [*self._latest.items()] if all_known else ():
            if alert.is_open and alert.lasts and about not in causes:
                self._put(self._resolved(alert))
        for about, cause in causes.items():
            known = self._latest.get(about)
            if known is None or not known.is_open or cause.severity.value > known.cause.severity.value:
                self._seen(cause, 1, lasts=True)
            elif known.cause != cause:
                self._put(replace(known, cause=cause, priority=self._policy.priority_of(cause.severity)))

    def looked(self) -> None:
        """Time has passed: silences and windows end, what nobody sees to goes on to others, what has not come again is over."""
        alerts = [*{**self._alerts, **self._changed}.values()]
        off = {name for name in {name for one in alerts for name in one.told_by} if not self._tells_by(name)}
        for alert in alerts:
            after = alert if off.isdisjoint(alert.told_by) else self._given_up(alert)
            if self._latest[alert.cause.about].id == alert.id:
                after = self._ended(self._spoken(self._summed_up(after)))
                if after.is_open:
                    after = self._escalated(after)
            elif after.silent:  # it has come again since
                after = replace(after, silent="")
            if after is not alert:
                self._put(after)

    def acknowledge(self, number: int, actor: str, origin: str) -> None:
        """Somebody sees to an alert: who, and from where.

        Raises:
            KeyError: there is no such alert; so with all that name one.
        """
        seen = replace(self._alerts[number], state=AlertState.ACKNOWLEDGED, actor=actor, origin=origin, acknowledged_at=self._at)
        self._put(replace(seen, silent="", behind="", snoozed_until=None, held=0))

    def snooze(self, number: int, until: datetime | None) -> None:
        """Nobody is told of an alert until then; what is new in it by then, and that it still lasts, is told at that time. None:
        people are told of what is new again."""
        alert = replace(self._alerts[number], snoozed_until=until)
        self._put(replace(alert, silent=self._silence(alert)))

    def test(self, channel: str) -> Alert:
        """Has one channel say that this is a test; the alert that does."""
        cause = Cause(
            about=f"test:{channel}", title="A test", severity=ErrorSeverity.INFO, component="winclaw", page="/alerts",
            message="This is how alerts reach you. Nothing is wrong, and there is nothing to do.",
        )  # fmt: skip
        alert = replace(self._new(cause, 1, lasts=False), state=AlertState.RESOLVED, resolved_at=self._at)
        alert = alert.telling("test", cause.message, [channel], self._at)
        self._put(alert)
        return alert

    def _seen(self, cause: Cause, times: int, *, lasts: bool) -> None:
        known = self._latest.get(cause.about)
        if known is None and not lasts and self._open >= _MOST_OPEN and cause.about != _FLOOD:
            cause = Cause(
                about=_FLOOD, title="More goes wrong than alerts can be kept of", severity=cause.severity, component="winclaw",
                message="Look at the page Errors.", page="/errors",
            )  # fmt: skip
            known = self._latest.get(_FLOOD)
        if known is not None and known.is_open:
            priority = self._policy.priority_of(cause.severity)
            alert = replace(known, cause=cause, priority=priority, count=known.count + times, lasts=lasts)
            alert = replace(alert, last_at=self._at, seen_s=self._now_s)
        else:
            alert = self._new(cause, times, lasts=lasts)
            if known is not None:  # what comes and goes has one window, or it would tell each time
                alert = replace(alert, window_s=known.window_s, sent=known.sent, held=known.held)
                alert = replace(alert, snoozed_until=known.snoozed_until)
        if alert.state is AlertState.ACKNOWLEDGED and alert.pressed is not None and alert.priority < alert.pressed:  # worse
            alert = replace(alert, state=AlertState.OPEN)
        if alert.state is not AlertState.ACKNOWLEDGED:
            if silence := self._silence(alert):
                alert = replace(alert, silent=silence, behind=self._missing(alert), held=alert.held + times)
            else:
                alert = self._told(alert, times)
        self._put(alert)

    def _new(self, cause: Cause, times: int, *, lasts: bool) -> Alert:
        self._last += 1
        return Alert(
            id=self._last, cause=cause, priority=self._policy.priority_of(cause.severity), at=self._at, last_at=self._at,
            seen_s=self._now_s, count=times, lasts=lasts,
            due_s=self._now_s + self._policy.wait_for_parent_s if cause.needs else None,
        )  # fmt: skip

    def _look_at_network(self) -> None:
        """Many components without a connection are one trouble, and theirs is behind it."""
        errors = (one for one in self._latest.values() if one.is_open and not one.lasts and NETWORK in one.cause.needs)
        cut_off = sorted({one.cause.component for one in errors if one.quiet_s(*self._now) < _A_MINUTE.total_seconds()})
        if len(cut_off) < _NETWORK_OF:
            return
        cause = Cause(
            about=NETWORK, title="Several services cannot be reached: is the network down?", severity=ErrorSeverity.CRITICAL,
            component=NETWORK, message=f"No connection to {', '.join(cut_off[:10])}{' and others' if len(cut_off) > 10 else ''}.",
            page="/errors?kind=transient.network",
        )  # fmt: skip
        known = self._latest.get(NETWORK)
        if known is None or not known.is_open:
            self._seen(cause, 1, lasts=False)
        else:  # told once
            self._put(replace(known, cause=cause, count=known.count + 1, last_at=self._at, seen_s=self._now_s))

    def _silence(self, alert: Alert) -> str:
        """Why nobody is told of it now; empty: somebody is. What is FATAL is told, unless a person has snoozed just that."""
        if (quiet := self._silences.quiet(alert)) or alert.cause.severity is ErrorSeverity.FATAL:
            return quiet
        if missing := self._missing(alert):
            is_itself = missing == alert.cause.component
            return "that it is unwell is told already" if is_itself else f"it needs {missing}, which is down"
        if alert.due_s is not None and self._now_s < alert.due_s:
            return f"it waits whether {alert.cause.needs[0]} is down, too"
        return ""

    def _missing(self, alert: Alert) -> str:
        """What it needs and is down, or itself where that is known to be so; empty: nothing."""
        network, cause = self._latest.get(NETWORK), alert.cause
        down = self._scene.down | ({NETWORK} if network is not None and network.is_open else set())
        missing = next((one for one in cause.needs if one in down and one != cause.component), "")
        return missing or (cause.component if not alert.lasts and self._is_known_unwell(cause) else "")

    def _is_known_unwell(self, cause: Cause) -> bool:
        """Whether people hear already that what has this error is unwell, and how much that presses."""
        if self._told_unwell is None:
            self._told_unwell = {}
            for one in (one.cause for one in self._latest.values() if one.is_open and one.lasts):
                self._told_unwell[one.component] = max(one.severity.value, self._told_unwell.get(one.component, 0))
        return self._told_unwell.get(cause.component, 0) >= cause.severity.value

    def _told(self, alert: Alert, times: int) -> Alert:
        if self._is_over(alert):
            alert = replace(self._begun(alert), held=alert.held)
        left = max(min(times, self._policy.max_alerts_per_window - alert.sent), 0)
        escalated_s = self._now_s if alert.escalated_s is None else alert.escalated_s
        alert = replace(alert, sent=alert.sent + left, held=alert.held + times - left, escalated_s=escalated_s)
        alert = replace(alert, silent="", behind="", due_s=None)
        for _ in range(left):
            alert = self._telling(alert, "again" if alert.messages else "raised", alert.cause.message)
        return alert

    def _given_up(self, alert: Alert) -> Alert:
        """Without the messages of channels that are off."""
        for one in alert.open_tellings:
            if one.state is TellingState.SENDING:
                continue
            why = "" if self._policy.tells_by(one.channel) else "this channel was turned off"
            if not is_here(one.channel, self._scene.offered) and abs(self._at - one.at) > _A_MINUTE:
                why = "there was no desktop"
            if why:
                alert = alert.told(replace(one, state=TellingState.FAILED, why=why, ended=self._at))
        return alert

    def _summed_up(self, alert: Alert) -> Alert:
        """With the summary of what was held back, if its window is over."""
        if not alert.held or alert.silent or not self._is_over(alert) or self._silence(alert):
            return alert
        return self._telling(self._begun(alert), "summary", f"{alert.held} more, {alert.count} since it began.")

    def _spoken(self, alert: Alert) -> Alert:
        """With what is told because nothing keeps it silent any more."""
        if not alert.silent:
            return alert
        if not alert.is_open:  # what is left to say is that it is over
            spoken = replace(alert, silent="")
            return alert if self._silences.quiet(alert) else self._telling(spoken, "resolved", _OVER, alert.told_by)
        missing = self._missing(alert)
        was_behind = bool(alert.behind) and not missing
        if was_behind and alert.lasts:  # what it needs is back; it may follow
            alert = replace(alert, behind="", due_s=self._now_s + self._policy.wait_for_parent_s)
        if (silence := self._silence(alert)) and (alert.lasts or not was_behind):
            return alert if silence == alert.silent else replace(alert, silent=silence, behind=missing)
        is_news = alert.lasts or (alert.held > 0 and not was_behind)
        alert = replace(alert, silent="", behind="", due_s=None, held=0, snoozed_until=None)
        if not is_news or alert.state is AlertState.ACKNOWLEDGED:
            return alert
        is_old = alert.quiet_s(*self._now) >= self._policy.resolve_after_s  # it is not to be told and over at once
        return replace(self._told(alert, 1), escalated_s=self._now_s, seen_s=self._now_s if is_old else alert.seen_s)

    def _escalated(self, alert: Alert) -> Alert:
        """Told on, where nobody has acknowledged it for too long."""
        policy, pressing = self._policy.escalation, alert.priority <= AlertPriority[self._policy.escalation.from_priority]
        if alert.state is not AlertState.OPEN or not pressing or not alert.messages or alert.silent:
            return alert
        is_over = alert.escalated >= len(policy.channels) or alert.waited_s(*self._now) < policy.after_s
        if is_over or self._silence(alert):
            return alert
        told = {one.channel for one in alert.tellings if one.state is not TellingState.FAILED}
        steps = [(at, one) for at, one in enumerate(policy.channels) if at >= alert.escalated and self._tells_by(one)]
        at, channel = next((step for step in steps if step[1] not in told), steps[-1] if steps else (len(policy.channels), ""))
        alert = replace(alert, escalated=at + 1, escalated_s=self._now_s)
        text = f"Nobody has acknowledged it since {time_of(alert.at)}. {alert.cause.message}"
        return self._telling(alert, "escalated", text, [channel]) if channel else alert

    def _ended(self, alert: Alert) -> Alert:
        """Resolved, if it has not happened again for long enough."""
        quiet_s = alert.quiet_s(*self._now)
        if not alert.is_open or alert.lasts or quiet_s < self._policy.resolve_after_s or (alert.held and not alert.behind):
            return alert
        if alert.pressed is None or alert.pressed > AlertPriority.P2_HIGH:  # one error and its end are two messages too many
            return self._resolved(alert, told=())
        return self._resolved(alert, f"It has not come again since {time_of(alert.last_at)}.")

    def _resolved(self, alert: Alert, text: str = _OVER, told: Iterable[str] | None = None) -> Alert:
        after = replace(alert, state=AlertState.RESOLVED, resolved_at=self._at, held=0 if alert.silent else alert.held)
        after = replace(after, silent="", behind="", due_s=None)
        told = alert.told_by if told is None else told
        if told and (quiet := self._silences.quiet(after)):
            return replace(after, silent=quiet)
        return self._telling(after, "resolved", text, told)

    def _is_over(self, alert: Alert) -> bool:
        """Whether its window has ended; that of an earlier life has."""
        return alert.window_s is None or self._now_s - alert.window_s >= self._policy.rate_limit_window

    def _begun(self, alert: Alert) -> Alert:
        return replace(alert, window_s=self._now_s, sent=0, held=0)

    def _telling(self, alert: Alert, what: str, text: str, channels: Iterable[str] | None = None) -> Alert:
        told = self._policy.told_of(alert.priority) if channels is None else channels
        heard = [one for one in told if self._tells_by(one) and alert.cause.about != f"channel:{one}"]
        return alert.telling(what, text, heard, self._at) if heard else alert

    def _tells_by(self, channel: str) -> bool:
        return self._policy.tells_by(channel) and is_here(channel, self._scene.offered)

    def _put(self, alert: Alert) -> None:
        before = self._changed.get(alert.id) or self._alerts.get(alert.id)
        self._open += alert.is_open - (before is not None and before.is_open)
        if alert.lasts:
            self._told_unwell = None
        self._changed[alert.id] = alert
        latest = self._latest.get(alert.cause.about)
        if latest is None or latest.id <= alert.id:
            self._latest[alert.cause.about] = alert
