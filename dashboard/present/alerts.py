"""Alerts in words: what is wrong, and who was told of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from dashboard.present.words import SEVERITIES, SHAPES
from resilience.alerting.alerts import Alert, AlertPriority, AlertState, TellingState
from resilience.alerting.channels import Channel, LoudChannel, is_here
from resilience.alerting.policy import Alerting

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


def newest_first(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """The alerts for the page: first those that wait for somebody, and of each what every channel told last."""
    order = {AlertState.OPEN: 0, AlertState.ACKNOWLEDGED: 1, AlertState.RESOLVED: 2}
    return [_row(one) for one in sorted(alerts, key=lambda one: (order[one.state], bool(one.silent), -one.id))]


def channels(policy: Alerting, offered: Collection[str], undelivered: Mapping[str, str]) -> list[dict[str, Any]]:
    """The channels for the page: whether each is used, what it tells of, when it waits, and whether its last message arrived."""
    return [_channel(name, one, policy, offered, undelivered.get(name, "")) for name, one in policy.channels.by_name.items()]


def _channel(name: str, one: Channel, policy: Alerting, offered: Collection[str], why: str) -> dict[str, Any]:
    is_on = policy.tells_by(name) and is_here(name, offered)
    quiet = one.quiet_hours if isinstance(one, LoudChannel) else None
    told = [priority.name[:2] for priority in AlertPriority if name in policy.told_of(priority)]
    tone, word = ("off", "off") if not is_on else ("bad", "does not deliver") if why else ("ok", "on")
    return {
        "name": name, "title": _CHANNELS.get(name, name), "on": is_on, "tone": tone, "shape": SHAPES[tone], "word": word,
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
    return {"channel": _CHANNELS.get(channel, channel), "tone": tone, "shape": shape, "word": word, "why": why}
