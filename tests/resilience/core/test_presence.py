from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from resilience.core.presence import MAX_AGENTS, NOBODY, Agents, Presence, beaten, fallen_silent
from resilience.degradation.levels import DegradationLevel
from resilience.degradation.loops import view
from resilience.events import EventType, Heartbeat, LoopReport

A = ("a", 1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def beat(agents: Agents, name: str, at_s: float, *, leaving: bool = False) -> tuple[Agents, EventType | None]:
    return beaten(agents, Heartbeat(agent=name, pid=1, leaving=leaving), at(at_s), at_s)


def test_an_agent_is_announced_when_it_comes_and_when_it_leaves_but_not_in_between() -> None:
    agents, news = beat(NOBODY, "a", 0)
    assert news is EventType.AGENT_CONNECTED
    agents, news = beat(agents, "a", 5)
    assert news is None
    assert agents[A].since == T0
    agents, news = beat(agents, "a", 7, leaving=True)
    assert news is EventType.AGENT_LEFT
    assert not agents[A].alive
    agents, news = beat(agents, "a", 9)
    assert news is EventType.AGENT_CONNECTED


def test_what_the_latest_heartbeat_says_is_known_and_since_when_the_agent_is_there_or_gone() -> None:
    def says(agents: Agents, at_s: float, **said: Any) -> Agents:
        return beaten(agents, Heartbeat(agent="a", **said), at(at_s), at_s)[0]

    agents = says(NOBODY, 1, pid=7, version="1.0", healers=("clear_cache:llm",))
    assert agents[("a", 7)] == Presence(
        name="a", alive=True, pid=7, version="1.0", since=at(1), beat_at=at(1), beat_s=1, healers=("clear_cache:llm",)
    )
    agents = says(agents, 5, pid=7, version="1.1")
    assert agents == {("a", 7): Presence(name="a", alive=True, pid=7, version="1.1", since=at(1), beat_at=at(5), beat_s=5)}
    agents = says(agents, 9, pid=7, version="1.1", leaving=True)
    assert agents == {("a", 7): Presence(name="a", alive=False, left=True, pid=7, version="1.1", since=at(9), beat_at=at(9), beat_s=9)}
    assert says(agents, 12, pid=7)[("a", 7)].since == at(12)


def test_processes_of_one_name_come_and_go_each_by_itself_and_the_gone_are_shown_while_none_is_there() -> None:
    def says(agents: Agents, at_s: float, pid: int, **said: Any) -> tuple[Agents, EventType | None]:
        return beaten(agents, Heartbeat(agent="a", pid=pid, **said), at(at_s), at_s)

    agents, _ = says(NOBODY, 1, 7)
    agents, news = says(agents, 2, 8)
    assert (set(agents), news) == ({("a", 7), ("a", 8)}, EventType.AGENT_CONNECTED)
    agents, news = says(agents, 3, 7)
    assert news is None
    agents, news = says(agents, 4, 7, leaving=True)
    assert (set(agents), news) == ({("a", 8)}, EventType.AGENT_LEFT)
    agents, lost = fallen_silent(agents, 30, at(30), lost_after_s=15)
    assert ([one.pid for one in lost], [one.alive for one in agents.values()]) == ([8], [False])
    agents, news = says(agents, 31, 9)
    assert (set(agents), news) == ({("a", 9)}, EventType.AGENT_CONNECTED)


def test_an_agents_loops_are_those_of_its_last_heartbeat_and_gone_with_it() -> None:
    idle, running = (LoopReport(loop="planning", state=state) for state in ("idle", "running"))  # type: ignore[arg-type]

    def says(agents: Agents, *loops: LoopReport, pid: int = 1, leaving: bool = False) -> Agents:
        return beaten(agents, Heartbeat(agent="a", pid=pid, loops=loops, leaving=leaving), T0, 0)[0]

    agents = says(says(says(NOBODY, idle), running), idle, pid=2)
    assert {key: one.loops for key, one in agents.items()} == {("a", 1): (running,), ("a", 2): (idle,)}
    assert says(agents)[A].loops == ()
    left = says(agents, running, leaving=True)
    assert {key: one.loops for key, one in left.items()} == {("a", 2): (idle,)}
    assert says(says(NOBODY, idle), idle, leaving=True)[A].loops == ()
    lost, _ = fallen_silent(says(NOBODY, idle), 99, T0, lost_after_s=15)
    assert lost[A].loops == ()


@pytest.mark.parametrize(("age_s", "fits"), [(3_000_000_000, True), (1_764_000_000_000, False), (-1, False)])
def test_a_loop_that_beat_before_there_were_calendars_is_refused_with_the_heartbeat(age_s: int, fits: bool) -> None:
    """Milliseconds since 1970, say: no moment can be told from that, and the state could not be shown."""
    told = {"agent": "a", "loops": [{"loop": "x", "state": "idle", "beat_age_s": age_s}]}
    with contextlib.nullcontext() if fits else pytest.raises(msgspec.ValidationError, match="beat_age_s"):
        beat = msgspec.convert(told, Heartbeat)
        agents, _ = beaten(NOBODY, beat, T0, 0)
        assert view({}, agents.values(), DegradationLevel.FULL)[0]["beat_at"] is not None


def test_one_that_was_killed_and_is_back_is_lost_all_the_same_and_leaves_no_row() -> None:
    agents, _ = beaten(NOBODY, Heartbeat(agent="a", pid=7), at(0), 0)
    agents, _ = beaten(agents, Heartbeat(agent="a", pid=8), at(10), 10)
    agents, lost = fallen_silent(agents, 20, at(20), lost_after_s=15)
    assert [one.pid for one in lost] == [7]
    assert set(agents) == {("a", 8)}


def test_the_state_shows_an_agent_with_its_times() -> None:
    agents, _ = beat(NOBODY, "a", 0)
    agents, _ = beat(agents, "a", 5)
    assert agents[A].view() == {
        "name": "a", "alive": True, "pid": 1, "version": None,
        "since": "2026-01-01T00:00:00+00:00", "last_beat": "2026-01-01T00:00:05+00:00",
    }  # fmt: skip


def test_a_goodbye_of_a_stranger_is_nothing() -> None:
    assert beat(NOBODY, "a", 0, leaving=True) == (NOBODY, None)


def test_a_second_goodbye_is_nothing() -> None:
    agents, _ = beat(NOBODY, "a", 0)
    agents, _ = beat(agents, "a", 1, leaving=True)
    assert beat(agents, "a", 2, leaving=True) == (agents, None)


def test_silence_beyond_the_limit_is_a_loss_told_once() -> None:
    agents, _ = beaten(NOBODY, Heartbeat(agent="a", pid=1, version="1", healers=("clear_cache:*",)), T0, 0)
    agents, lost = fallen_silent(agents, 15, T0, lost_after_s=15)
    assert lost == []
    agents, lost = fallen_silent(agents, 15.1, T0 + timedelta(seconds=15.1), lost_after_s=15)
    assert [agent.name for agent in lost] == ["a"]
    assert not agents[A].alive
    assert agents[A].beat_at == T0
    assert agents[A] == Presence(name="a", alive=False, pid=1, version="1", since=at(15.1), beat_at=T0, beat_s=0)
    assert fallen_silent(agents, 100, T0, lost_after_s=15)[1] == []


def test_who_speaks_up_is_not_lost_with_the_silent() -> None:
    agents, _ = beat(NOBODY, "silent", 0)
    agents, _ = beat(agents, "lively", 10)
    after, lost = fallen_silent(agents, 20, at(20), lost_after_s=15)
    assert lost == [agents[("silent", 1)]], "it is told as it was when it was last heard"
    assert after[("lively", 1)] is agents[("lively", 1)]


def test_an_agent_that_left_is_not_lost() -> None:
    agents, _ = beat(NOBODY, "a", 0)
    agents, _ = beat(agents, "a", 1, leaving=True)
    assert fallen_silent(agents, 100, T0, lost_after_s=15)[1] == []


def test_invented_names_cannot_fill_the_memory() -> None:
    agents = NOBODY
    for number in range(MAX_AGENTS + 5):
        agents, _ = beat(agents, f"agent-{number}", number)
    assert len(agents) == MAX_AGENTS
    assert ("agent-0", 1) not in agents
    assert (f"agent-{MAX_AGENTS + 4}", 1) in agents


def test_the_longest_silent_makes_room_not_the_one_that_came_first() -> None:
    agents = NOBODY
    for number in range(MAX_AGENTS):
        agents, _ = beat(agents, f"agent-{number}", number)
    agents, _ = beat(agents, "agent-0", MAX_AGENTS)
    agents, _ = beat(agents, "one more", MAX_AGENTS + 1)
    assert ("agent-0", 1) in agents
    assert ("agent-1", 1) not in agents
