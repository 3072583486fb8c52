"""The pages of alerts and incidents."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from dashboard.commands import Commands
from dashboard.pages import see
from dashboard.present import alerts as alert_words
from dashboard.present import incidents as incident_words
from resilience.alerting.alerts import AlertState
from resilience.core.core import Core


def alert_pages(core: Core, commands: Commands) -> Blueprint:
    """The pages, and every form on them."""
    site = Blueprint("alerts", __name__)

    @site.get("/alerts")
    def alerts() -> str:
        now = core.state
        return render_template(
            "alerts.html",
            alerts=alert_words.newest_first(now.alerts.values()),
            channels=alert_words.channels(now.settings.alerting, now.offered, now.undelivered),
            waiting=any(one.state is AlertState.OPEN for one in now.alerts.values()),
            snoozed_until=now.snoozed_until.isoformat() if now.snoozed_until else None,
        )

    @site.get("/incidents/<int:number>")
    def incident(number: int) -> str:
        found, events = commands.incident(number)
        return render_template("incident.html", incident=incident_words.incident(found, events, core.clock.now()))

    @site.post("/alerts/<int:number>/<decision>")
    def decide_alert(number: int, decision: str) -> Response:
        commands.decide_alert(number, decision, _seconds("for_s"))
        return see("/alerts")

    @site.post("/alerts/ack")
    def acknowledge_alerts() -> Response:
        commands.acknowledge_alerts()
        return see("/alerts")

    @site.post("/alerts/snooze")
    def snooze_alerts() -> Response:
        commands.snooze_alerts(_seconds("for_s"))
        return see("/alerts")

    @site.post("/alerts/test")
    def test_channel() -> Response:
        alert = commands.test_channel(request.form.get("channel", ""))
        return see(f"/alerts#alert-{alert.id}")

    return site


def _seconds(name: str) -> float:
    """The seconds in the current request's form; -1: there are none."""
    text = request.form.get(name, "")
    return float(text) if text.isascii() and text.isdigit() else -1.0
