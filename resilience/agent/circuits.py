"""An agent's circuits and the machine's: what it sees is told to WinClaw, and what others saw it follows (§3)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from resilience.agent.texts import as_name, cut

if TYPE_CHECKING:
    from resilience.circuit.breaker import CircuitBreaker, Transition

_MOST: Final = 200
_DAY_S: Final = 86_400.0
"""WinClaw looks no further."""


class SharedCircuits:
    """Ties the circuits of this process to those of the machine.

    Args:
        agent: this agent's name. changed: called when a circuit has changed by what it saw itself.
    """

    def __init__(self, agent: str, changed: Callable[[], None]) -> None:
        self._agent, self._changed = agent, changed
        self._breakers: dict[str, CircuitBreaker] = {}
        self._own: dict[str, tuple[int, int]] = {}
        """Of each circuit that has changed by what it saw itself: how often, and which of all those changes is its latest."""
        self._changes = itertools.count(1)
        self._told: Mapping[str, Mapping[str, Any]] = {}

    def begin_anew(self) -> None:
        """In a forked child: what its parent has seen, its parent tells."""
        self._own = {}

    def join(self, breaker: CircuitBreaker) -> None:
        """Takes in a new circuit: it begins as the machine's is now."""
        self._breakers[breaker.name] = breaker
        told = self._told.get(breaker.name)
        if told is not None and told["circuit"] in ("OPEN", "ISOLATED"):
            _follow(breaker, told)
        breaker.listen(lambda change: self._seen(breaker.name, change))

    def follow(self, services: Sequence[Mapping[str, Any]]) -> None:
        """Follows what is new in the machine's ``services``, as the API gives them."""
        before, self._told = self._told, {told["name"]: told for told in services}
        for name, told in self._told.items():
            breaker, known = self._breakers.get(name), before[name]["version"] if name in before else 0
            if breaker is not None and told["version"] > known and (told["agent"], told["pid"]) != (self._agent, os.getpid()):
                _follow(breaker, told)

    def reports(self) -> list[dict[str, Any]]:
        """What there is to tell, as ``events.CircuitReport`` has it.

        Of more than 200 circuits those that are not closed go first, then those that have changed last.
        """
        breakers = list(self._breakers.values())
        if len(breakers) > _MOST:
            breakers.sort(key=lambda breaker: (breaker.is_closed, -self._changed_as(breaker)[1]))
        return [self._report(breaker) for breaker in breakers[:_MOST]]

    def _changed_as(self, breaker: CircuitBreaker) -> tuple[int, int]:
        return self._own.get(breaker.name, (0, 0))

    def _report(self, breaker: CircuitBreaker) -> dict[str, Any]:
        status = breaker.get_status()
        numbers, retry_after_s = status["metrics"], status["retry_after_s"]
        return {
            "service": as_name(breaker.name), "state": status["state"], "change": self._changed_as(breaker)[0],
            "because": cut(str(status["because"]), 1000),
            "retry_after_s": None if retry_after_s is None else min(retry_after_s, _DAY_S),
            "counts": status["window"], "calls": numbers["total_calls"], "failures": numbers["failed_calls"],
            "rejected": numbers["rejected_calls"], "p95_ms": numbers["p95_ms"],
        }  # fmt: skip

    def _seen(self, name: str, change: Transition) -> None:
        if not change.told:
            self._own[name] = (self._own.get(name, (0, 0))[0] + 1, next(self._changes))
            self._changed()


def _follow(breaker: CircuitBreaker, told: Mapping[str, Any]) -> None:
    because = f"{told['because']} (seen by {told['agent']})" if told["agent"] else str(told["because"])
    match told["circuit"]:
        case "OPEN" if breaker.state.name != "OPEN":
            for_s = told["retry_after_s"]  # of a circuit that WinClaw's own probe opened nobody knows how long
            breaker.hold_open(breaker.config.timeout_seconds if for_s is None else for_s, because)
        case "ISOLATED":
            breaker.isolate(because, told=True)
        case "HALF_OPEN" if not told["agent"]:  # WinClaw says so; when another agent probes, that is its own trial
            breaker.release(because, told=True)
        case "CLOSED" if not breaker.is_closed:
            breaker.reset(because, told=True)
