"""How many calls the agents have made of each service between two looks at what they count (§6.1). Pure.

Agents count for the life of their process, so what is new is the difference; whoever has just come may have counted for hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from resilience.core.presence import AgentKey
from resilience.core.state import State

_MOST: Final = 1_000_000_000
"""More calls than an agent can make between two looks: what a stranger tells need not be a sensible number."""


class Calls(NamedTuple):
    """Calls of one service: how many, how many of them failed, and the time that 95 of 100 took no longer than, in ms.

    That time is of the slowest agent that has called it; None: it told none.
    """

    calls: int = 0
    failures: int = 0
    p95_ms: float | None = None


class Counted(NamedTuple):
    """What was known at a look: which agents were there, and what each had counted of each service."""

    agents: frozenset[AgentKey] = frozenset()
    totals: Mapping[tuple[str, int | None, str], tuple[int, int]] = {}


def looked(before: Counted, state: State) -> tuple[Counted, dict[str, Calls]]:
    """What is known after a look at ``state``, and what agents have called since the one ``before``, by service."""
    agents = frozenset(key for key, one in state.agents.items() if one.alive)
    totals, new = dict[tuple[str, int | None, str], tuple[int, int]](), dict[str, Calls]()
    for key, seen in state.services.seen.items():
        agent, service = key[:2], key[2]
        if not seen.numbers:  # it has fallen silent
            continue
        calls, failures = totals[key] = int(seen.numbers["calls"]), int(seen.numbers["failures"])
        if agent not in before.agents:
            continue
        known = before.totals.get(key, (0, 0))
        known = known if known[0] <= calls else (0, 0)  # another process of this name, which has no number
        made = min(calls - known[0], _MOST)
        if made > 0:
            one = Calls(made, min(max(failures - known[1], 0), made), seen.numbers.get("p95_ms"))
            new[service] = summed([new.get(service, Calls()), one])
    return Counted(agents, totals), new


def summed(some: Iterable[Calls]) -> Calls:
    """All these calls together."""
    known = [*some]
    slowest = max((one.p95_ms for one in known if one.p95_ms is not None), default=None)
    return Calls(sum(one.calls for one in known), sum(one.failures for one in known), slowest)


def together(looks: Iterable[Mapping[str, Calls]]) -> dict[str, Calls]:
    """What was found at all these looks, by service."""
    found: dict[str, Calls] = {}
    for look in looks:
        for service, one in look.items():
            found[service] = summed([found.get(service, Calls()), one])
    return found
