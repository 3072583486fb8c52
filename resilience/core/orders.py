"""Orders to agents (§6): what healing asks of those that have said they can do it, and what they answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resilience.events import Heartbeat, OrderAnswer

ANY = "*"
"""The component of a healer that mends any."""
RESTORE = "restore"
"""The action of restoring a component from a checkpoint (§9)."""


class Order(Struct, frozen=True, kw_only=True):
    """One thing that agents are asked to do: ``agents`` have not answered yet, ``answers`` are by agent."""

    id: str
    action: str
    component: str
    parameters: Mapping[str, float | str] = {}
    agents: tuple[str, ...]
    answers: Mapping[str, OrderAnswer] = {}

    def view(self) -> dict[str, Any]:
        """The order as an agent gets it."""
        return {"id": self.id, "action": self.action, "component": self.component, "parameters": dict(self.parameters)}


Orders = Mapping[str, Order]


def heard(orders: Orders, beat: Heartbeat) -> Orders:
    """The orders after what ``beat`` answers; the very same if it answers none of them."""
    after = dict(orders)
    for answer in beat.orders:
        order = after.get(answer.id)
        if order is not None and beat.agent in order.agents:
            left = tuple(name for name in order.agents if name != beat.agent)
            after[order.id] = replace(order, agents=left, answers={**order.answers, beat.agent: answer})
    return MappingProxyType(after) if after != orders else orders


def can(healers: tuple[str, ...], action: str, component: str) -> bool:
    """Whether an agent that has told of ``healers`` can do ``action`` for ``component``; ``*`` asks for all it has."""
    if component == ANY:
        return any(one.partition(":")[0] == action for one in healers)
    names = (one.partition(":")[2] for one in healers if one.startswith(f"{action}:"))
    return any(name == component or (name.endswith(ANY) and component.startswith(name[:-1])) for name in names)
