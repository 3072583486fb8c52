"""How loops are shown, from what agents tell of them with each heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resilience.core.presence import Presence
from resilience.degradation.levels import DegradationLevel
from resilience.degradation.loops import UNKNOWN, view
from resilience.degradation.policy import Loop
from resilience.events import LoopReport

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PLANNING = Loop(tier="core", description="Makes plans", stuck_after_s=60, max_run_s=600, max_depth=2)
LATER = T0 + timedelta(seconds=60)


def agent(name: str, *reports: LoopReport, pid: int = 1, at: datetime = T0) -> Presence:
    return Presence(name=name, alive=True, pid=pid, version=None, since=T0, beat_at=at, beat_s=0, loops=reports)


def row(of: str, *agents: Presence, level: DegradationLevel = DegradationLevel.FULL) -> dict[str, Any]:
    [found] = [one for one in view({"planning": PLANNING}, agents, level) if one["name"] == of]
    return found


def test_a_loop_is_shown_with_what_each_agent_tells_of_it() -> None:
    running = LoopReport(loop="planning", state="running", running=2, runs=5, beats=90, beat_age_s=1.5)
    stuck = LoopReport(loop="planning", state="stuck", running=1, runs=3, beats=7, beat_age_s=55, because="silent")
    assert row("planning", agent("a", running, at=LATER), agent("b", stuck, pid=9, at=LATER)) == {
        "name": "planning", "tier": "core", "description": "Makes plans", "feature": "enable_core_loops", "allowed": True,
        "state": "stuck", "running": 3, "runs": 8, "beats": 97, "beat_at": "2026-01-01T00:00:58.500000+00:00",
        "stuck_after_s": 60, "max_run_s": 600, "max_depth": 2,
        "agents": [
            {"agent": "a", "pid": 1, "state": "running", "running": 2, "runs": 5, "beats": 90, "beat_at": "2026-01-01T00:00:58.500000+00:00", "because": ""},
            {"agent": "b", "pid": 9, "state": "stuck", "running": 1, "runs": 3, "beats": 7, "beat_at": "2026-01-01T00:00:05+00:00", "because": "silent"},
        ],
    }  # fmt: skip


def test_a_loop_that_nobody_runs_is_shown_all_the_same() -> None:
    found = row("planning")
    assert (found["state"], found["running"], found["runs"], found["beats"]) == ("unused", 0, 0, 0)
    assert (found["beat_at"], found["agents"]) == (None, [])


def test_one_that_has_not_beaten_yet_does_not_hide_the_others_beat() -> None:
    idle = agent("a", LoopReport(loop="planning", state="idle"))
    assert row("planning", idle)["beat_at"] is None
    assert row("planning", idle)["agents"][0]["beat_at"] is None
    beaten = agent("b", LoopReport(loop="planning", state="running", beat_age_s=0))
    assert row("planning", idle, beaten)["beat_at"] == T0.isoformat()


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (("idle", "running"), "running"), (("running", "paused"), "paused"), (("late", "paused"), "late"),
        (("late", "stuck"), "stuck"), (("idle", "idle"), "idle"),
    ],
)  # fmt: skip
def test_a_loop_is_as_bad_as_the_worst_of_its_agents(states: tuple[Any, Any], shown: str) -> None:
    agents = [agent("a", LoopReport(loop="planning", state=state), pid=pid) for pid, state in enumerate(states)]
    assert row("planning", *agents)["state"] == shown


@pytest.mark.parametrize(
    ("level", "allowed"),
    [
        (DegradationLevel.FULL, (True, True)),
        (DegradationLevel.LIMITED_EXTERNAL, (True, False)),
        (DegradationLevel.MINIMAL, (False, False)),
    ],
)
def test_the_level_allows_a_loop_by_its_tier_and_one_that_is_not_configured_at_full_only(
    level: DegradationLevel, allowed: tuple[bool, bool]
) -> None:
    one = agent("a", LoopReport(loop="invented", state="running"))
    assert (row("planning", one, level=level)["allowed"], row("invented", one, level=level)["allowed"]) == allowed
    assert row("invented", one)["description"] == UNKNOWN.description


def test_the_configurations_loops_come_first_in_its_order() -> None:
    known = {"z": PLANNING, "a": PLANNING}
    agents = [agent("x", LoopReport(loop="b", state="idle"), LoopReport(loop="a", state="idle"))]
    assert [one["name"] for one in view(known, agents, DegradationLevel.FULL)] == ["z", "a", "b"]
