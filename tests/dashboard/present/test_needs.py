"""What needs a person: the worst first, with the buttons that there are for it."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.present.needs import needs
from resilience.alerting.alerts import Alert, AlertPriority, AlertState, Cause
from resilience.context import ErrorSeverity
from resilience.core.notices import Notice
from resilience.core.state import State
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from tests.dashboard.present.conftest import NOW
from tests.tray.states import a_state


def alert(number: int = 1, severity: ErrorSeverity = ErrorSeverity.CRITICAL, about: str = "", **more: Any) -> Alert:
    cause = Cause(about=about or f"error:{number}", title=f"Trouble {number}", message="why", severity=severity, component="c")
    return Alert(id=number, cause=cause, priority=AlertPriority.P1_CRITICAL, at=NOW, last_at=NOW, **more)


def with_alerts(*alerts: Alert, state: State | None = None) -> State:
    return replace(state or a_state(), alerts=MappingProxyType({one.id: one for one in alerts}))


def heal(state: HealState) -> Heal:
    diagnosis = Diagnosis(pattern="r", component="gw", root_cause="gw")
    return Heal(
        id=4, rule="r", action=HealingActionType.RESTART_SERVICE, target="gw", state=state, trigger="It fell.",
        diagnosis=diagnosis, at=NOW,
    )  # fmt: skip


def test_an_alert_can_be_snoozed_and_acknowledged() -> None:
    (one,) = needs(with_alerts(alert()))["first"]
    assert (one["what"], one["tone"], one["shape"], one["severity"], one["since"]) == (
        "Trouble 1.", "bad", "oct", "CRITICAL", NOW.isoformat(),
    )  # fmt: skip
    assert [(button.label, button.path, button.fields) for button in one["buttons"]] == [
        ("Snooze", "/alerts/1/snooze", {"for_s": "3600"}), ("Acknowledge", "/alerts/1/ack", {}),
    ]  # fmt: skip
    (snoozed,) = needs(with_alerts(alert(silent="snoozed until 14:00")))["first"]
    assert (snoozed["silent"], snoozed["buttons"][0].label, snoozed["buttons"][0].fields) == (
        "snoozed until 14:00", "Tell again", {"for_s": "0"},
    )  # fmt: skip


def test_who_was_told_last_is_said_but_not_that_it_stands_on_the_page() -> None:
    one = alert().telling("raised", "x", ["log", "email"], NOW)
    assert needs(with_alerts(one))["first"][0]["told"] is None
    sent = [each.heard(NOW + timedelta(seconds=5), delivered=True, why="") for each in one.tellings]
    (row,) = needs(with_alerts(one.told(*sent)))["first"]
    assert row["told"] == {"channel": "Email", "at": (NOW + timedelta(seconds=5)).isoformat()}


def test_the_worst_comes_first_and_no_more_than_five() -> None:
    many = [alert(number, ErrorSeverity.FATAL if number == 7 else ErrorSeverity.CRITICAL) for number in range(1, 60)]
    found = needs(with_alerts(*many))
    assert [one["what"] for one in found["first"]] == ["Trouble 7.", "Trouble 1.", "Trouble 2.", "Trouble 3.", "Trouble 4."]
    assert (len(found["more"]), found["left_out"], found["count"]) == (45, 9, 59)
    assert needs(a_state()) == {"first": [], "more": [], "left_out": 0, "count": 0}


def test_what_somebody_sees_to_already_comes_last_and_says_so() -> None:
    notice = Notice(name="journal", what="The disk is full.", cause="c", action="a")
    state = replace(a_state(), notices=(notice, Notice(name="other", what="?", cause="?", action="?")))
    seen = alert(1, about="journal", state=AlertState.ACKNOWLEDGED, actor="dashboard", acknowledged_at=NOW, lasts=True)
    other, disk = needs(with_alerts(seen, state=state))["first"]
    assert (other["key"], disk["key"], disk["seen_by"], disk["buttons"]) == ("other", "journal", "dashboard", [])


@pytest.mark.parametrize(
    ("state", "labels"),
    [
        (HealState.WAITING, [("Reject", "/healing/4/reject"), ("Approve…", "/healing/4")]),
        (HealState.ESCALATED, [("Dismiss", "/healing/4/dismiss")]),
    ],
)
def test_a_heal_is_decided_on(state: HealState, labels: list[tuple[str, str]]) -> None:
    (one,) = needs(replace(a_state(), heals=MappingProxyType({4: heal(state)})))["first"]
    assert [(button.label, button.path) for button in one["buttons"]] == labels
    assert [button.fields is None for button in one["buttons"]] == [label == "Approve…" for label, _ in labels], (
        "approving takes a look at what it does"
    )


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("process:bot", ["Start"]), ("process:gone", []), ("isolated:gmail", ["Release"]), ("channel:email", ["Test"]),
        ("journal", []), ("heal:99", []),
    ],
)  # fmt: skip
def test_what_is_wrong_has_the_button_that_mends_it(name: str, labels: list[str]) -> None:
    bot = ProcessStatus(name="bot", state=ProcessState.FAILED, since=NOW)
    state = replace(
        a_state(), notices=(Notice(name=name, what="w", cause="c", action="a"),), processes=MappingProxyType({"bot": bot})
    )
    (one,) = needs(state)["first"]
    assert [button.label for button in one["buttons"]] == labels
