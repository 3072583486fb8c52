"""Alerts over HTTP: what is shown, and who may see to them."""

from __future__ import annotations

import pytest

from resilience.alerting.alerts import AlertState
from resilience.events import Report
from tests.dashboard.conftest import Caller
from tests.dashboard.test_pages import Visitor


@pytest.fixture
def alert(call: Caller) -> int:
    """The number of an open alert."""
    report = Report(type="RuntimeError", message="it <b>burns</b>", component="kitchen", operation="cook", severity="CRITICAL")
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


def test_an_alert_is_snoozed_for_a_time_that_has_an_end(call: Caller, alert: int) -> None:
    path = f"/api/v1/alerts/{alert}/snooze"
    assert call("POST", path, {"for_s": 60}, call.agent).status == 403
    for wrong in ({"for_s": 59}, {"for_s": 604_801}, {"for_s": "long"}, {"for": 60}):
        answer = call("POST", path, wrong, call.operator)
        assert answer.status in (400, 422), answer.body
    done = call("POST", path, {"for_s": 60}, call.operator).json
    assert done["silent"].startswith("snoozed until")
    assert call("POST", path, None, call.operator).status == 200
    assert call("POST", path, {"for_s": 0}, call.operator).json["silent"] == ""


def test_all_alerts_are_snoozed_and_told_again(call: Caller) -> None:
    assert call("POST", "/api/v1/alerts/snooze", {"for_s": 3600}, call.agent).status == 403
    assert call("POST", "/api/v1/alerts/snooze", {"for_s": 3600}, call.operator).json["state"]["snoozed_until"]
    assert call("POST", "/api/v1/alerts/snooze", {"for_s": 5}, call.operator).json["field"] == "for_s"
    assert call("POST", "/api/v1/alerts/snooze", {"for_s": 0}, call.operator).json["state"]["snoozed_until"] is None


def test_a_channel_is_tested_and_the_answer_says_what_came_of_it(call: Caller) -> None:
    path = "/api/v1/alerts/test"
    assert call("POST", path, {"channel": "log"}, call.agent).status == 403
    [telling] = call("POST", path, {"channel": "log", "wait_s": 20}, call.operator).json["tellings"]
    assert (telling["what"], telling["state"], telling["why"]) == ("test", "delivered", "in the log")
    refused = call("POST", path, {"channel": "email"}, call.operator).json
    assert (refused["field"], refused["detail"]) == ("channel", "email is off; set alerting.channels.email.enabled to true.")
    assert call("POST", path, {"channel": "log", "wait_s": 26}, call.operator).json["field"] == "wait_s"


def test_on_the_page_channels_are_shown_tested_and_alerts_snoozed(call: Caller, alert: int) -> None:
    cookie = call.login()
    page = call("GET", "/alerts", headers=cookie).body.decode()
    assert f'id="alert-{alert}"' in page
    token = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    form = {**cookie, "Content-Type": "application/x-www-form-urlencoded", "X-CSRF-Token": token, "Origin": call.winclaw.url}
    for path, body in (("test", b"channel=log"), ("snooze", b"for_s=3600"), (f"{alert}/snooze", b"for_s=3600")):
        assert call("POST", f"/alerts/{path}", body, form).status == 303
    page = call("GET", "/alerts", headers=cookie).body.decode()
    assert ("Nobody is told" in page, "not told: snoozed until" in page) == (True, True)
    assert call("POST", "/alerts/snooze", b"for_s=0", form).status == 303
    assert "Nobody is told" not in call("GET", "/alerts", headers=cookie).body.decode()
    assert call("POST", f"/alerts/{alert}/snooze", b"for_s=rm", form).status == 422
    assert call("POST", "/alerts/snooze", b"for_s=nan", form).status == 422


def test_an_incident_is_told_with_all_that_belongs_to_it(call: Caller, alert: int) -> None:
    path = f"/api/v1/incidents/{alert}"
    told = call("GET", path, headers=call.operator).json
    assert (told["title"], told["alerts"], [one["component"] for one in told["events"]]) == ("Error at kitchen", [alert], ["kitchen"])
    assert "kitchen began to fail" in told["digest"]
    [listed] = call("GET", "/api/v1/incidents", headers=call.operator).json["incidents"]
    assert (listed["id"], listed["components"]) == (alert, ["kitchen"])
    assert call("GET", "/api/v1/incidents/99", headers=call.operator).status == 404
    assert call("GET", path, headers=call.agent).json["title"] == "Error at kitchen"
    page = call("GET", f"/incidents/{alert}", headers=call.login()).body.decode()
    assert ("it &lt;b&gt;burns&lt;/b&gt;" in page, "it <b>burns" in page) == (True, False)


def test_all_alerts_are_acknowledged_at_once(call: Caller, alert: int) -> None:
    report = Report(type="ValueError", message="x", component="cellar", operation="cook", severity="CRITICAL")
    call.winclaw.core.report([report]).result(10)
    assert call("POST", "/api/v1/alerts/ack", None, call.agent).status == 403
    assert call("POST", "/api/v1/alerts/ack", None, call.operator).json == {"acknowledged": 2}
    assert {one.state for one in call.winclaw.core.state.alerts.values()} == {AlertState.ACKNOWLEDGED}
    assert call("POST", "/api/v1/alerts/ack", None, call.operator).json == {"acknowledged": 0}
    assert alert == 1


@pytest.mark.parametrize(
    ("then", "to"), [("/", "/"), ("/alerts", "/alerts"), ("//evil.example", "/alerts"), ("/logout", "/alerts"), ("", "/alerts")]
)
def test_a_form_leads_back_to_the_page_that_it_was_on(call: Caller, alert: int, then: str, to: str) -> None:
    answer = Visitor(call).send(f"/alerts/{alert}/ack", then=then)
    assert (answer.status, answer.headers["Location"]) == (303, to)


def test_the_page_has_the_delivery_log_and_can_leave_out_what_has_arrived(call: Caller, alert: int) -> None:
    core, visitor = call.winclaw.core, Visitor(call)
    while any(any(one.open_tellings) for one in core.state.alerts.values()):
        core.wait_for_change(core.state.version, 1)
    page = visitor.see("/alerts")
    assert page.count('<tr data-key="1-1-') == 2
    assert "that it began" in page
    assert "Everything has arrived." in visitor.see("/alerts?only=not")
    assert "There are no older ones." in visitor.see("/alerts?before=1-1-dashboard") + visitor.see("/alerts?before=1-1-log")
    assert "Who was told, message by message" in visitor.see(f"/incidents/{alert}")
