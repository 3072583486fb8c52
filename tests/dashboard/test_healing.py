"""Heals over HTTP and on their pages: what is shown, and who may decide."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from resilience.core.inputs import HealTold
from resilience.healing.diagnosis import Diagnosis, Impact
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from tests.dashboard.conftest import Caller

AT = datetime(2026, 1, 1, tzinfo=UTC)


def heal(number: int, state: HealState) -> Heal:
    return Heal(
        id=number, rule="configuration", action=HealingActionType.RELOAD_CONFIG, target="x<b>", state=state, at=AT,
        trigger="It broke, with key=sk-proj-abcdefghijklmnopqrstuvwxyz012345.", ended=None if state is HealState.WAITING else AT,
        diagnosis=Diagnosis(pattern="configuration", component="x<b>", root_cause="x<b>", impact=Impact(agents=("a",), waiting=2)),
    )  # fmt: skip


@pytest.fixture
def waiting(call: Caller) -> Heal:
    one = heal(1, HealState.WAITING)
    call.winclaw.core.tell(HealTold(one)).result(10)
    return one


def test_heals_are_listed_newest_first_for_agents_too(call: Caller, waiting: Heal) -> None:
    call.winclaw.core.tell(HealTold(heal(2, HealState.HEALED))).result(10)
    found = call("GET", "/api/v1/healing", headers=call.agent).json["healing"]
    assert [(one["id"], one["state"], one["seconds"]) for one in found] == [(2, "healed", 0.0), (1, "waiting", None)]
    assert "sk-proj" not in str(found)
    assert call("GET", "/api/v1/healing/1", headers=call.operator).json["diagnosis"]["impact"]["waiting"] == 2
    assert call("GET", "/api/v1/healing/9", headers=call.operator).status == 404


def test_approving_takes_a_fresh_confirmation(call: Caller, waiting: Heal) -> None:
    asked = call("POST", "/api/v1/healing/1/approve", {}, call.operator)
    assert asked.status == 409
    assert asked.json["preview"]["action"] == "reload_config"
    assert call("POST", "/api/v1/healing/1/approve", {"confirm": "made up"}, call.operator).status == 409
    done = call("POST", "/api/v1/healing/1/approve", {"confirm": asked.json["confirm"]}, call.operator)
    assert done.status == 200
    assert call.winclaw.core.state.heals[1].state is HealState.APPROVED
    assert call.winclaw.core.state.heals[1].actor == "command line"
    assert call("POST", "/api/v1/healing/1/reject", {}, call.operator).status == 409


def test_rejecting_and_dismissing_take_none_and_agents_may_do_neither(call: Caller, waiting: Heal) -> None:
    assert call("POST", "/api/v1/healing/1/reject", {}, call.agent).status == 403
    assert call("POST", "/api/v1/healing/1/dismiss", {}, call.operator).status == 409
    assert call("POST", "/api/v1/healing/1/burn", {}, call.operator).json["field"] == "decision"
    assert call("POST", "/api/v1/healing/1/reject", {}, call.operator).status == 200
    assert call.winclaw.core.state.heals[1].state is HealState.REJECTED
    assert call("POST", "/api/v1/healing/1/reject", {"no": 1}, call.operator).status == 422
    assert call("POST", "/api/v1/healing/7/reject", {}, call.operator).status == 404
