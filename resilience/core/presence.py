"""Which agents are there, told from their heartbeats. Pure: time comes in as an argument.

An agent is a name and a process: several processes may go by one name, and one that was killed comes back as another. One
that has *left* has said goodbye, one that is *lost* has been silent for too long; either is *gone*, until it is heard again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resilience.events import EventType, Heartbeat, LoopReport

AgentKey = tuple[str, int | None]
"""An agent's name and the number of its process."""
Agents = Mapping[AgentKey, "Presence"]
NOBODY: Agents = MappingProxyType({})
MAX_AGENTS = 1000


class Presence(Struct, frozen=True, kw_only=True):
    """One agent: alive while heartbeats come; ``beat_s`` is the monotonic time of the last one. ``left``: it said goodbye.

    ``healers``: what it can do to heal, as ``action:component``. ``loops``: what it said last of its loops.
    """

    name: str
    alive: bool
    pid: int | None
    version: str | None
    since: datetime
    beat_at: datetime
    beat_s: float
    left: bool = False
    healers: tuple[str, ...] = ()
    loops: tuple[LoopReport, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Whether it is gone without a goodbye."""
        return not self.alive and not self.left

    def view(self) -> dict[str, Any]:
        """The agent as the state shows it."""
        return {
            "name": self.name, "alive": self.alive, "pid": self.pid, "version": self.version,
            "since": self.since.isoformat(), "last_beat": self.beat_at.isoformat(),
        }  # fmt: skip


def beaten(agents: Agents, beat: Heartbeat, now: datetime, now_s: float) -> tuple[Agents, EventType | None]:
    """The agents after ``beat``, and what is to be announced of it: arrival, departure, or nothing.

    Past 1,000 the longest silent one makes room, so that invented names cannot fill the memory.
    """
    key = (beat.agent, beat.pid)
    known = agents.get(key)
    was_here = known is not None and known.alive
    if beat.leaving and not was_here:
        return agents, None
    came = not was_here and not beat.leaving
    seen = Presence(
        name=beat.agent, alive=not beat.leaving, left=beat.leaving, pid=beat.pid, version=beat.version,
        since=now if came or beat.leaving or known is None else known.since, beat_at=now, beat_s=now_s,
        healers=beat.healers, loops=() if beat.leaving else beat.loops,
    )  # fmt: skip
    after = _without_forerunners({**agents, key: seen})
    if len(after) > MAX_AGENTS:
        del after[min(after, key=lambda one: after[one].beat_s)]
    announced = EventType.AGENT_CONNECTED if came else EventType.AGENT_LEFT if beat.leaving else None
    return MappingProxyType(after), announced


def fallen_silent(agents: Agents, now_s: float, now: datetime, lost_after_s: float) -> tuple[Agents, list[Presence]]:
    """The agents after looking at the clock, and those just lost: alive until now, but silent for too long."""
    lost = [agent for agent in agents.values() if agent.alive and now_s - agent.beat_s > lost_after_s]
    if not lost:
        return agents, []
    gone = {(agent.name, agent.pid): replace(agent, alive=False, since=now, healers=(), loops=()) for agent in lost}
    return MappingProxyType(_without_forerunners({**agents, **gone})), lost


def _without_forerunners(agents: Agents) -> dict[AgentKey, Presence]:
    """Those that are gone are remembered as long as nobody of their name is there."""
    names = {agent.name for agent in agents.values() if agent.alive}
    return {key: agent for key, agent in agents.items() if agent.alive or agent.name not in names}
