"""What is known of the agents' loops, from what they tell with each heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from resilience.degradation.levels import DegradationLevel
from resilience.degradation.loops import MAX_AGENTS, UNKNOWN, Heard, LoopsHeard, heard, view, without
from resilience.degradation.policy import Loop
from resilience.events import Heartbeat, LoopReport

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY: Heard = MappingProxyType({})
PLANNING = Loop(tier="core", description="Makes plans", stuck_after_s=60, max_run_s=600, max_depth=2)
LATER = T0 + timedelta(seconds=60)


def says(agent: str, *reports: LoopReport, pid: int = 1, leaving: bool = False) -> Heartbeat:
    return Heartbeat(agent=agent, pid=pid, loops=reports, leaving=leaving)


def row(of: str, said: Heard, level: DegradationLevel = DegradationLevel.FULL) -> dict[str, Any]:
    [found] = [one for one in view({"planning": PLANNING}, said, level) if one["name"] == of]
    return found


def test_the_latest_that_each_process_said_is_known() -> None:
    idle, running = LoopReport(loop="planning", state="idle"), LoopReport(loop="planning", state="running")
    said = heard(NOBODY, says("a", idle), T0)
    said = heard(said, says("a", running, pid=2), T0)
    said = heard(said, says("a", running), LATER)
    assert said == {("a", 1): LoopsHeard(LATER, (running,)), ("a", 2): LoopsHeard(T0, (running,))}


@pytest.mark.parametrize("beat", [says("a"), says("a", LoopReport(loop="planning", state="idle"), leaving=True)])
def test_an_agent_that_leaves_or_has_no_loops_any_more_takes_its_own_with_it(beat: Heartbeat) -> None:
    report = LoopReport(loop="planning", state="running")
    said = heard(heard(NOBODY, says("a", report), T0), says("a", report, pid=2), T0)
    assert list(heard(said, beat, LATER)) == [("a", 2)]


def test_who_never_had_loops_changes_nothing() -> None:
    assert heard(NOBODY, says("a"), T0) is NOBODY
    assert heard(NOBODY, says("a", LoopReport(loop="x", state="idle"), leaving=True), T0) is NOBODY


def test_a_lost_process_takes_its_loops_with_it() -> None:
    report = LoopReport(loop="planning", state="running")
    said = NOBODY
    for agent, pid in (("a", 1), ("a", 2), ("b", 1)):
        said = heard(said, says(agent, report, pid=pid), T0)
    assert list(without(said, "a", 1)) == [("a", 2), ("b", 1)]


def test_invented_agents_cannot_fill_the_memory() -> None:
    """Who was heard longest ago makes room, not who came first."""
    report = LoopReport(loop="planning", state="running")
    said: Heard = {(f"a{n}", 1): LoopsHeard(T0 + timedelta(seconds=n), (report,)) for n in range(MAX_AGENTS)}
    said = heard(said, says("a0", report), T0 + timedelta(days=1))
    assert len(said) == MAX_AGENTS
    said = heard(said, says("new", report), T0 + timedelta(days=1))
    assert len(said) == MAX_AGENTS
    assert ("a1", 1) not in said
    assert {("a0", 1), ("a2", 1), ("new", 1)} <= set(said)


def test_a_loop_is_shown_with_what_each_agent_tells_of_it() -> None:
    said = heard(
        NOBODY, says("a", LoopReport(loop="planning", state="running", running=2, runs=5, beats=90, beat_age_s=1.5)), LATER
    )
    said = heard(
        said,
        says("b", LoopReport(loop="planning", state="stuck", running=1, runs=3, beats=7, beat_age_s=55, because="silent"), pid=9),
        LATER,
    )
    assert row("planning", said) == {
        "name": "planning", "tier": "core", "description": "Makes plans", "feature": "enable_core_loops", "allowed": True,
        "state": "stuck", "running": 3, "runs": 8, "beats": 97, "beat_at": "2026-01-01T00:00:58.500000+00:00",
        "stuck_after_s": 60, "max_run_s": 600, "max_depth": 2,
        "agents": [
            {"agent": "a", "pid": 1, "state": "running", "running": 2, "runs": 5, "beats": 90, "beat_at": "2026-01-01T00:00:58.500000+00:00", "because": ""},
            {"agent": "b", "pid": 9, "state": "stuck", "running": 1, "runs": 3, "beats": 7, "beat_at": "2026-01-01T00:00:05+00:00", "because": "silent"},
        ],
    }  # fmt: skip


def test_a_loop_that_nobody_runs_is_shown_all_the_same() -> None:
    found = row("planning", NOBODY)
    assert (found["state"], found["running"], found["runs"], found["beats"]) == ("unused", 0, 0, 0)
    assert (found["beat_at"], found["agents"]) == (None, [])


def test_one_that_has_not_beaten_yet_does_not_hide_the_others_beat() -> None:
    said = heard(NOBODY, says("a", LoopReport(loop="planning", state="idle")), T0)
    assert row("planning", said)["beat_at"] is None
    assert row("planning", said)["agents"][0]["beat_at"] is None
    said = heard(said, says("b", LoopReport(loop="planning", state="running", beat_age_s=0)), T0)
    assert row("planning", said)["beat_at"] == T0.isoformat()


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (("idle", "running"), "running"), (("running", "paused"), "paused"), (("late", "paused"), "late"),
        (("late", "stuck"), "stuck"), (("idle", "idle"), "idle"),
    ],
)  # fmt: skip
def test_a_loop_is_as_bad_as_the_worst_of_its_agents(states: tuple[Any, Any], shown: str) -> None:
    said = NOBODY
    for pid, state in enumerate(states):
        said = heard(said, says("a", LoopReport(loop="planning", state=state), pid=pid), T0)
    assert row("planning", said)["state"] == shown


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
    said = heard(NOBODY, says("a", LoopReport(loop="invented", state="running")), T0)
    assert (row("planning", said, level)["allowed"], row("invented", said, level)["allowed"]) == allowed
    assert row("invented", said)["description"] == UNKNOWN.description


def test_the_configurations_loops_come_first_in_its_order() -> None:
    known = {"z": PLANNING, "a": PLANNING}
    said = heard(NOBODY, says("x", LoopReport(loop="b", state="idle"), LoopReport(loop="a", state="idle")), T0)
    assert [one["name"] for one in view(known, said, DegradationLevel.FULL)] == ["z", "a", "b"]
