"""The pages of alerts and incidents."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from dashboard.commands import Commands
from dashboard.pages import back_or, see
from dashboard.present import alerts as alert_words
from dashboard.present import incidents as incident_words
from resilience.alerting.alerts import AlertState
from resilience.core.core import Core


def alert_pages(core: Core, commands: Commands) -> Blueprint:
    """The pages, and every form on them."""
    site = Blueprint("alerts", __name__)

    @site.get("/alerts")
    def alerts() -> str:
        now, policy = core.state, core.state.settings.alerting
        only, before = request.args.get("only", ""), request.args.get("before", "")
        log, older = alert_words.deliveries(now.alerts.values(), policy, core.clock.now(), only=only, before=before)
        return render_template(
            "alerts.html",
            log=log,
            older=older,
            only=only,
            is_paged=bool(before),
            untold=alert_words.untold(now.alerts.values(), policy, now.offered),
            kept=len(now.alerts),
            alerts=alert_words.newest_first(now.alerts.values()),
            channels=alert_words.channels(now.settings.alerting, now.offered, now.undelivered),
            waiting=any(one.state is AlertState.OPEN for one in now.alerts.values()),
            snoozed_until=now.snoozed_until.isoformat() if now.snoozed_until else None,
        )

    @site.get("/incidents/<int:number>")
    def incident(number: int) -> str:
        found, events = commands.incident(number)
        now, policy = core.clock.now(), core.state.settings.alerting
        log, _ = alert_words.deliveries(found.alerts, policy, now, limit=100)
        return render_template("incident.html", incident=incident_words.incident(found, events, now), log=log)

    @site.post("/alerts/<int:number>/<decision>")
    def decide_alert(number: int, decision: str) -> Response:
        commands.decide_alert(number, decision, _seconds("for_s"))
        return see(back_or("/alerts"))

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
        return see(back_or(f"/alerts#alert-{alert.id}"))

    return site


def _seconds(name: str) -> float:
    """The seconds in the current request's form; -1: there are none."""
    text = request.form.get(name, "")
    return float(text) if text.isascii() and text.isdigit() else -1.0
