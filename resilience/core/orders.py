"""Orders to agents (§6): what healing asks of those that have said they can do it, and what they answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resilience.core.presence import AgentKey
from resilience.events import Heartbeat, OrderAnswer

ANY = "*"
"""The component of a healer that mends any."""
RESTORE = "restore"
"""The action of restoring a component from a checkpoint (§9)."""


class Order(Struct, frozen=True, kw_only=True):
    """One thing that agents are asked to do: ``agents`` have not answered yet, ``answers`` are by agent.

    Where it is for certain ``processes``, each answers for itself: ``answers`` are by process, and ``agents`` are the names
    of those that have not answered yet.
    """

    id: str
    action: str
    component: str
    parameters: Mapping[str, float | str] = {}
    agents: tuple[str, ...]
    processes: tuple[AgentKey, ...] = ()
    answers: Mapping[str | AgentKey, OrderAnswer] = {}

    def view(self) -> dict[str, Any]:
        """The order as an agent gets it; ``pids`` are the processes that it is for, where it is not for all of that name."""
        seen = {"id": self.id, "action": self.action, "component": self.component, "parameters": dict(self.parameters)}
        return {**seen, "pids": [pid for _, pid in self.processes]} if self.processes else seen


Orders = Mapping[str, Order]


def heard(orders: Orders, beat: Heartbeat) -> Orders:
    """The orders after what ``beat`` answers; the very same if it answers none of them."""
    after = dict(orders)
    for answer in beat.orders:
        if (order := after.get(answer.id)) is not None:
            after[order.id] = _answered(order, beat, answer)
    return MappingProxyType(after) if after != orders else orders


def _answered(order: Order, beat: Heartbeat, answer: OrderAnswer) -> Order:
    key = (beat.agent, beat.pid)
    if key in order.processes:
        waits = tuple(one for one in order.processes if one != key)
        names = tuple(sorted({name for name, _ in waits}))
        return replace(order, agents=names, processes=waits, answers={**order.answers, key: answer})
    if order.processes or beat.agent not in order.agents:
        return order
    left = tuple(name for name in order.agents if name != beat.agent)
    return replace(order, agents=left, answers={**order.answers, beat.agent: answer})


def can(healers: tuple[str, ...], action: str, component: str) -> bool:
    """Whether an agent that has told of ``healers`` can do ``action`` for ``component``; ``*`` asks for all it has."""
    if component == ANY:
        return any(one.partition(":")[0] == action for one in healers)
    names = (one.partition(":")[2] for one in healers if one.startswith(f"{action}:"))
    return any(name == component or (name.endswith(ANY) and component.startswith(name[:-1])) for name in names)
