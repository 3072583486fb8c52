"""Alerts in words: what is wrong, and who was told of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from dashboard.present.words import SEVERITIES
from resilience.alerting.alerts import Alert, AlertState, TellingState

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
    """The alerts for the page: the open ones first, and of each what every channel told last."""
    rows = [_row(one) for one in alerts]
    return sorted(rows, key=lambda row: (row["state"] != AlertState.OPEN.value, -row["id"]))


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
