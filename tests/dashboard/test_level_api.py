"""The level, the loops and what waits, as programs see them over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.core.inputs import Waiting
from resilience.degradation.levels import DegradationLevel
from tests.dashboard.conftest import Caller


def test_the_loops_are_an_address_of_their_own_for_agents_too(call: Caller) -> None:
    found = call("GET", "/api/v1/loops", headers=call.agent).json
    assert found["level"] == "FULL"
    assert [one["name"] for one in found["loops"]][:2] == ["agent_core", "planning"]
    assert len(found["loops"]) == 15
    assert call("GET", "/api/v1/loops").status == 401


def test_the_state_tells_what_the_rules_want_what_waits_and_what_a_context_may_hold(call: Caller) -> None:
    state = call("POST", "/api/v1/level", {"level": "minimal"}, call.operator).json["state"]
    assert state["rules_want"] == {"level": "FULL", "cause": "Everything is allowed.", "rule": "", "rises_at": None, "latches": []}
    assert state["waiting"] == {"messages": 0, "channels": {}}
    assert (state["context_limit_tokens"], state["probing"]) == (4096, [])


def test_leaving_safe_mode_previews_what_will_happen(call: Caller) -> None:
    core = call.winclaw.core
    core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="here").result(10)
    core.tell(Waiting({"gmail_api": 3, "twilio_api": 1})).result(10)
    auto = call("POST", "/api/v1/level", {"level": "auto"}, call.operator)
    assert auto.status == 409
    assert "Messages that are sent, little by little: 4 (gmail_api 3, twilio_api 1)." in auto.json["preview"]["will"]
    pinned = call("POST", "/api/v1/level", {"level": "minimal"}, call.operator).json["preview"]
    assert "Messages that go on waiting: 4." in pinned["will"]
    assert pinned["loops"] == ["agent_core"]
    assert core.state.standing.level is DegradationLevel.SAFE_MODE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"loops": [{"loop": "x"}]}, "loops[0]"), ({"loops": [{"loop": "x", "state": "lost"}]}, "loops[0].state"),
        ({"loops": [{"loop": "x", "state": "idle", "beats": -1}]}, "loops[0].beats"),
        ({"loops": [{"loop": "x", "state": "idle"}] * 201}, "loops"),
        ({"audit": [{"service": "x", "operation": ""}]}, "audit[0].operation"),
    ],
)  # fmt: skip
def test_a_heartbeat_that_makes_no_sense_is_refused_with_the_field(call: Caller, body: dict[str, Any], field: str) -> None:
    answer = call("POST", "/api/v1/heartbeats", {"agent": "a", **body}, call.agent)
    assert (answer.status, answer.json["field"]) == (422, field)
