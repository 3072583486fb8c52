"""Alerts over HTTP: what is shown, and who may see to them."""

from __future__ import annotations

import pytest

from resilience.alerting.alerts import AlertState
from resilience.events import Report
from tests.dashboard.conftest import Caller


@pytest.fixture
def alert(call: Caller) -> int:
    """The number of an open alert."""
    report = Report(type="ConnectionError", message="it <b>burns</b>", component="kitchen", operation="cook", severity="CRITICAL")
    call.winclaw.core.report([report]).result(10)
    return max(call.winclaw.core.state.alerts)


def test_alerts_are_listed_newest_first(call: Caller, alert: int) -> None:
    call.winclaw.core.report([Report(type="ValueError", message="x", component="cellar", operation="cook", severity="ERROR")]).result(10)
    found = call("GET", "/api/v1/alerts", headers=call.operator).json["alerts"]
    assert [(one["component"], one["priority"], one["state"], one["count"]) for one in found] == [
        ("cellar", "P3_MEDIUM", "open", 1), ("kitchen", "P2_HIGH", "open", 1),
    ]  # fmt: skip
    assert {one["channel"] for one in found[1]["tellings"]} == {"log", "dashboard"}
    assert call("GET", f"/api/v1/alerts/{alert}", headers=call.operator).json["message"] == "it <b>burns</b>"
    assert call("GET", "/api/v1/alerts/99", headers=call.operator).status == 404


def test_an_alert_is_acknowledged_once_and_not_by_agents(call: Caller, alert: int) -> None:
    assert call("POST", f"/api/v1/alerts/{alert}/ack", {}, call.agent).status == 403
    assert call("POST", f"/api/v1/alerts/{alert}/burn", {}, call.operator).json["field"] == "decision"
    done = call("POST", f"/api/v1/alerts/{alert}/ack", {}, call.operator)
    assert (done.status, done.json["state"], done.json["actor"]) == (200, "acknowledged", "command line")
    assert call.winclaw.core.state.alerts[alert].state is AlertState.ACKNOWLEDGED
    assert call("POST", f"/api/v1/alerts/{alert}/ack", {}, call.operator).status == 409
    assert call("POST", "/api/v1/alerts/99/ack", {}, call.operator).status == 404
