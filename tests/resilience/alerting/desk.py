"""Alerts turn by turn, with a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from resilience.alerting.alerts import NO_ALERTS, Alert, Alerts, Cause
from resilience.alerting.channels import Channels, EmailChannel, PhoneChannel, WebhookChannel
from resilience.alerting.policy import Alerting
from resilience.alerting.routing import Routing
from resilience.alerting.silences import Scene
from resilience.context import ErrorSeverity

EVERY = Channels(
    email=EmailChannel(enabled=True, url="env:MAIL"), sms=PhoneChannel(enabled=True, url="env:SMS"),
    webhook=WebhookChannel(enabled=True, url="https://example.com/hook"), twilio_voice=PhoneChannel(enabled=True, url="env:SMS"),
)  # fmt: skip
WINDOW_S = 300.0


class Desk:
    """The alerts of a WinClaw, turn by turn; ``pass_s`` lets time pass."""

    def __init__(self, **policy: Any) -> None:
        self.policy = Alerting(**{"channels": EVERY, **policy})
        self.alerts: Alerts = NO_ALERTS
        self.at, self.s = datetime(2026, 1, 1, tzinfo=UTC), 1000.0
        self.down: frozenset[str] = frozenset()
        self.offered: frozenset[str] = frozenset({"toast"})
        self.snoozed_until: datetime | None = None

    def turn(self) -> Routing:
        return Routing(self.alerts, self.policy, Scene(self.at, self.s, self.down, self.offered, self.snoozed_until))

    def happens(self, times: int = 1, **cause: Any) -> Alert:
        turn = self.turn()
        turn.happened(caused(**cause), times)
        self.alerts = turn.after()
        return self.last

    def person(self, do: Callable[[Routing], object]) -> Alert:
        """A person decides something."""
        turn = self.turn()
        do(turn)
        self.alerts = turn.after()
        return self.last

    def lasts(self, *causes: Cause) -> None:
        turn = self.turn()
        turn.lasting({one.about: one for one in causes})
        self.alerts = turn.after()

    def pass_s(self, seconds: float) -> None:
        self.at, self.s = self.at + timedelta(seconds=seconds), self.s + seconds
        turn = self.turn()
        turn.looked()
        self.alerts = turn.after()

    @property
    def last(self) -> Alert:
        return self.alerts[max(self.alerts)]

    def told(self, channel: str = "email") -> list[str]:
        return [one.what for alert in self.alerts.values() for one in alert.tellings if one.channel == channel]


def caused(severity: str = "ERROR", about: str = "error:1", **more: Any) -> Cause:
    return Cause(**{
        "about": about, "title": "It burns", "message": "in the kitchen", "severity": ErrorSeverity[severity], "component": "kitchen",
        **more,
    })  # fmt: skip
