"""Which agents are there, told from their heartbeats. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from resilience.events import EventType, Heartbeat

Agents = Mapping[str, "Presence"]
NOBODY: Agents = MappingProxyType({})
MAX_AGENTS = 1000


class Presence(Struct, frozen=True, kw_only=True):
    """One agent: alive while heartbeats come; ``beat_s`` is the monotonic time of the last one.

    ``healers``: what it can do to heal, as ``action:component``.
    """

    name: str
    alive: bool
    pid: int | None
    version: str | None
    since: datetime
    beat_at: datetime
    beat_s: float
    healers: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        """The agent as the state shows it."""
        return {
            "name": self.name, "alive": self.alive, "pid": self.pid, "version": self.version,
            "since": self.since.isoformat(), "last_beat": self.beat_at.isoformat(),
        }  # fmt: skip


def beaten(agents: Agents, beat: Heartbeat, now: datetime, now_s: float) -> tuple[Agents, EventType | None]:
    """The agents after ``beat``, and what is to be announced of it: arrival, departure, or nothing.

    Past 1,000 names the longest silent one makes room, so that invented names cannot fill the memory.
    """
    known = agents.get(beat.agent)
    was_here = known is not None and known.alive
    if beat.leaving and not was_here:
        return agents, None
    came = not was_here and not beat.leaving
    seen = Presence(
        name=beat.agent, alive=not beat.leaving, pid=beat.pid, version=beat.version,
        since=now if came or beat.leaving or known is None else known.since, beat_at=now, beat_s=now_s,
        healers=beat.healers,
    )  # fmt: skip
    after = {**agents, beat.agent: seen}
    if len(after) > MAX_AGENTS:
        del after[min(after.values(), key=lambda agent: agent.beat_s).name]
    announced = EventType.AGENT_CONNECTED if came else EventType.AGENT_LEFT if beat.leaving else None
    return MappingProxyType(after), announced


def fallen_silent(agents: Agents, now_s: float, now: datetime, lost_after_s: float) -> tuple[Agents, list[Presence]]:
    """The agents after looking at the clock, and those just lost: alive until now, but silent for too long."""
    lost = [agent for agent in agents.values() if agent.alive and now_s - agent.beat_s > lost_after_s]
    if not lost:
        return agents, []
    gone = {
        agent.name: Presence(
            name=agent.name, alive=False, pid=agent.pid, version=agent.version,
            since=now, beat_at=agent.beat_at, beat_s=agent.beat_s,
        )
        for agent in lost
    }  # fmt: skip
    return MappingProxyType({**agents, **gone}), lost
