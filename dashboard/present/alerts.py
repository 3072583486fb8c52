"""Alerts in words: what is wrong, and who was told of it, try by try, or why nobody was. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from dashboard.present.words import SEVERITIES, SHAPES
from resilience.alerting.alerts import Alert, AlertPriority, AlertState, Telling, TellingState
from resilience.alerting.channels import Channel, EmailChannel, LoudChannel, PhoneChannel, is_here
from resilience.alerting.policy import Alerting
from resilience.context import ErrorSeverity

_STATES: Final = {
    AlertState.OPEN: ("bad", "open"), AlertState.ACKNOWLEDGED: ("info", "acknowledged"), AlertState.RESOLVED: ("off", "resolved"),
}  # fmt: skip
_TELLINGS: Final = {
    TellingState.WAITING: ("warn", "diamond", "waits"), TellingState.SENDING: ("info", "ring", "is being sent"),
    TellingState.DELIVERED: ("ok", "dot", "delivered"), TellingState.FAILED: ("bad", "sq", "did not arrive"),
}  # fmt: skip
_CHANNELS: Final = {
    "log": "Log", "dashboard": "Dashboard", "toast": "Toast", "email": "Email", "sms": "Text message", "twilio_voice": "Call",
    "webhook": "Webhook",
}  # fmt: skip


_SHOWN: Final = 200
_WHAT: Final = {
    "raised": "that it began", "again": "that it came again", "summary": "how often it came", "escalated": "that nobody reacted",
    "resolved": "that it is over", "test": "a test",
}  # fmt: skip
_WHOM: Final = {
    "log": "the log file", "dashboard": "this page", "toast": "this desktop", "webhook": "another program",
}  # fmt: skip
MISSING: Final = "not"
"""What ``deliveries`` is asked for where only messages that have not arrived are wanted."""


def newest_first(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """The alerts for the page: first those that wait for somebody, and of each what every channel told last."""
    order = {AlertState.OPEN: 0, AlertState.ACKNOWLEDGED: 1, AlertState.RESOLVED: 2}
    rows = sorted(alerts, key=lambda one: (order[one.state], bool(one.silent), -one.id))
    return [_row(one) for one in rows[:_SHOWN]]


def deliveries(
    alerts: Iterable[Alert], policy: Alerting, now: datetime, *, only: str = "", before: str = "", limit: int = 50
) -> tuple[list[dict[str, Any]], str]:
    """The delivery log, the newest first: each message by each channel, whom it went to, and what came of each try.

    Args:
        only: ``not``: only what has not arrived. before: the key of the message that a page ends before; limit: rows a page.

    Returns:
        The rows, and the key that the next page ends before; empty: there is none.
    """
    told = [(alert, one) for alert in alerts for one in alert.tellings]
    told.sort(key=lambda pair: (pair[1].at, pair[0].id, pair[1].key), reverse=True)
    keys = [one.key for _, one in told]
    wanted = told[keys.index(before) + 1 :] if before in keys else told
    if only == MISSING:
        wanted = [pair for pair in wanted if pair[1].state is not TellingState.DELIVERED]
    rows = [_delivery(alert, one, policy, now) for alert, one in wanted[:limit]]
    return rows, rows[-1]["key"] if len(wanted) > limit else ""


def _delivery(alert: Alert, one: Telling, policy: Alerting, now: datetime) -> dict[str, Any]:
    tone, shape, word = _TELLINGS[one.state]
    channel = policy.channels.by_name.get(one.channel)
    is_test = one.what == "test"
    tries = [{"at": failed.at.isoformat(), "word": "failed", "why": failed.why} for failed in one.failures]
    if one.state is TellingState.DELIVERED and one.ended is not None:
        tries.append({"at": one.ended.isoformat(), "word": "delivered", "why": one.why})
    return {
        "key": one.key, "at": one.at.isoformat(), "title": alert.cause.title,
        "what": _WHAT.get(one.what, one.what), "channel": channel_name(one.channel),
        "whom": _whom(one.channel, channel), "tone": tone, "shape": shape, "word": word, "attempts": one.attempts,
        "why": _waits(alert, one, channel, now) or one.why, "tries": tries if one.failures else [],
        "left_out": max(one.attempts - len(tries), 0) if one.failures and not one.is_open else 0,
        "took": f"{(one.ended - one.at).total_seconds():.1f} s" if one.ended is not None else "", "together": bool(one.digest),
        "href": f"/alerts#alert-{alert.id}" if is_test else f"/incidents/{alert.id}",
    }  # fmt: skip


def channel_name(name: str) -> str:
    """A channel as people call it."""
    return _CHANNELS.get(name, name)


def _whom(name: str, channel: Channel | None) -> str:
    match channel:
        case EmailChannel():
            return ", ".join(channel.recipients)
        case PhoneChannel():
            return ", ".join(channel.phone_numbers)
        case _:
            return _WHOM.get(name, "")


def _waits(alert: Alert, one: Telling, channel: Channel | None, now: datetime) -> str:
    """Why a message has not been sent yet; empty: it has been, or is about to be."""
    if one.state is not TellingState.WAITING:
        return ""
    is_urgent = alert.cause.severity is ErrorSeverity.FATAL or one.what == "test"
    quiet = channel.quiet_for(now.astimezone()) if channel is not None and not is_urgent else None
    if quiet is not None:
        return f"quiet hours, until {now.astimezone() + quiet:%H:%M}"
    return f"{one.why}; it is tried again" if one.attempts else ""


def untold(alerts: Iterable[Alert], policy: Alerting, offered: Collection[str], limit: int = 50) -> list[dict[str, Any]]:
    """The alerts of which nobody was told, or of which something is held back, the newest first: and why."""
    found = [(one, why) for one in sorted(alerts, key=lambda one: -one.id) if (why := _why_untold(one, policy, offered))]
    return [{**_row(one), "because": why} for one, why in found[:limit]]


def _why_untold(alert: Alert, policy: Alerting, offered: Collection[str]) -> str:
    if alert.silent:
        return alert.silent
    if alert.held and alert.is_open:
        often = f"{policy.max_alerts_per_window} in {policy.rate_limit_window:g} s"
        return f"{alert.held} more {'is' if alert.held == 1 else 'are'} held back: there were {often}; a summary follows"
    if alert.messages:
        return ""
    if not policy.enabled:
        return "alerting is turned off"
    if not any(is_here(one, offered) for one in policy.told_of(alert.priority)):
        return f"no channel that is on tells of {alert.priority.name[:2]}"
    return "it was over, or seen to, before anybody had to be told" if not alert.is_open or alert.acknowledged else ""


def channels(policy: Alerting, offered: Collection[str], undelivered: Mapping[str, str]) -> list[dict[str, Any]]:
    """The channels for the page: whether each is used, what it tells of, when it waits, and whether its last message arrived."""
    return [_channel(name, one, policy, offered, undelivered.get(name, "")) for name, one in policy.channels.by_name.items()]


def _channel(name: str, one: Channel, policy: Alerting, offered: Collection[str], why: str) -> dict[str, Any]:
    is_on = policy.tells_by(name) and is_here(name, offered)
    quiet = one.quiet_hours if isinstance(one, LoudChannel) else None
    told = [priority.name[:2] for priority in AlertPriority if name in policy.told_of(priority)]
    tone, word = ("off", "off") if not is_on else ("bad", "does not deliver") if why else ("ok", "on")
    return {
        "name": name, "title": channel_name(name), "on": is_on, "tone": tone, "shape": SHAPES[tone], "word": word,
        "why": why, "tells_of": f"{told[0]} to {told[-1]}" if len(told) > 1 else "".join(told), "quiet": quiet,
    }  # fmt: skip


def _row(alert: Alert) -> dict[str, Any]:
    tone, word = _STATES[alert.state]
    severity, shape = SEVERITIES[alert.cause.severity.name]
    latest = {one.channel: one for one in alert.tellings}
    return {
        **alert.view(), "tone": tone, "word": word, "severity_tone": severity, "severity_shape": shape,
        "told": [_told(one.channel, one.state, one.why) for one in latest.values()],
    }  # fmt: skip


def _told(channel: str, state: TellingState, why: str) -> dict[str, str]:
    tone, shape, word = _TELLINGS[state]
    return {"channel": channel_name(channel), "tone": tone, "shape": shape, "word": word, "why": why}
