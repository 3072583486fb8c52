from __future__ import annotations

from datetime import UTC, datetime, timedelta

from resilience.core.presence import MAX_AGENTS, NOBODY, Agents, beaten, fallen_silent
from resilience.events import EventType, Heartbeat

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def beat(agents: Agents, name: str, at_s: float, *, leaving: bool = False) -> tuple[Agents, EventType | None]:
    return beaten(agents, Heartbeat(agent=name, pid=1, leaving=leaving), T0 + timedelta(seconds=at_s), at_s)


def test_an_agent_is_announced_when_it_comes_and_when_it_leaves_but_not_in_between() -> None:
    agents, news = beat(NOBODY, "a", 0)
    assert news is EventType.AGENT_CONNECTED
    agents, news = beat(agents, "a", 5)
    assert news is None
    assert agents["a"].since == T0
    agents, news = beat(agents, "a", 7, leaving=True)
    assert news is EventType.AGENT_LEFT
    assert not agents["a"].alive
    agents, news = beat(agents, "a", 9)
    assert news is EventType.AGENT_CONNECTED


def test_a_goodbye_of_a_stranger_is_nothing() -> None:
    assert beat(NOBODY, "a", 0, leaving=True) == (NOBODY, None)


def test_silence_beyond_the_limit_is_a_loss_told_once() -> None:
    agents, _ = beat(NOBODY, "a", 0)
    agents, lost = fallen_silent(agents, 15, T0, lost_after_s=15)
    assert lost == []
    agents, lost = fallen_silent(agents, 15.1, T0 + timedelta(seconds=15.1), lost_after_s=15)
    assert [agent.name for agent in lost] == ["a"]
    assert not agents["a"].alive
    assert agents["a"].beat_at == T0
    assert fallen_silent(agents, 100, T0, lost_after_s=15)[1] == []


def test_an_agent_that_left_is_not_lost() -> None:
    agents, _ = beat(NOBODY, "a", 0)
    agents, _ = beat(agents, "a", 1, leaving=True)
    assert fallen_silent(agents, 100, T0, lost_after_s=15)[1] == []


def test_invented_names_cannot_fill_the_memory() -> None:
    agents = NOBODY
    for number in range(MAX_AGENTS + 5):
        agents, _ = beat(agents, f"agent-{number}", number)
    assert len(agents) == MAX_AGENTS
    assert "agent-0" not in agents
    assert f"agent-{MAX_AGENTS + 4}" in agents
