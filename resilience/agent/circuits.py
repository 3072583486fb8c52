"""An agent's circuits and the machine's: what it sees is told to WinClaw, and what others saw it follows (§3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resilience.agent.texts import as_name, cut
from resilience.circuit.breaker import CircuitBreaker, CircuitState, Transition
from resilience.circuit.registry import CircuitBreakerRegistry

_MOST = 200


class SharedCircuits:
    """Ties the circuits of this process to those of the machine.

    Args:
        agent: this agent's name. changed: called when a circuit has changed by what it saw itself.
    """

    def __init__(self, agent: str, changed: Callable[[], None]) -> None:
        self._agent, self._changed = agent, changed
        self._own: dict[str, int] = {}
        self._lately: dict[str, None] = {}  # the one that changed last is the last
        self._followed: dict[str, int] = {}
        self._told: Mapping[str, Mapping[str, Any]] = {}

    def begin_anew(self) -> None:
        """In a forked child: what its parent has seen, its parent tells."""
        self._own, self._lately = {}, {}

    def join(self, breaker: CircuitBreaker) -> None:
        """Takes in a new circuit: it begins as the machine's is now."""
        told = self._told.get(breaker.name)
        if told is not None and told["circuit"] in ("OPEN", "ISOLATED"):
            _follow(breaker, told)
        breaker.listen(lambda change: self._seen(breaker.name, change))

    def follow(self, services: Sequence[Mapping[str, Any]], circuits: CircuitBreakerRegistry) -> None:
        """Follows what is new in the machine's ``services``, as the API gives them."""
        self._told = {told["name"]: told for told in services}
        for name, told in self._told.items():
            if told["version"] <= self._followed.get(name, 0):
                continue
            self._followed[name] = told["version"]
            breaker = circuits.get(name)
            if breaker is not None and (told["agent"], told["pid"]) != (self._agent, os.getpid()):
                _follow(breaker, told)

    def reports(self, circuits: CircuitBreakerRegistry) -> list[dict[str, Any]]:
        """What there is to tell, as ``events.CircuitReport`` has it.

        Of more than 200 circuits those that are not closed go first, then those that have changed last.
        """
        breakers = list(circuits.all())
        if len(breakers) > _MOST:
            ranks = {name: rank for rank, name in enumerate(list(self._lately), 1)}
            breakers.sort(key=lambda breaker: (breaker.is_closed, -ranks.get(breaker.name, 0)))
        return [self._report(breaker) for breaker in breakers[:_MOST]]

    def _report(self, breaker: CircuitBreaker) -> dict[str, Any]:
        status = breaker.get_status()
        numbers = status["metrics"]
        return {
            "service": as_name(breaker.name), "state": status["state"], "change": self._own.get(breaker.name, 0),
            "because": cut(str(status["because"]), 1000), "retry_after_s": _bounded_s(status["retry_after_s"]),
            "counts": status["window"], "calls": numbers["total_calls"], "failures": numbers["failed_calls"],
            "rejected": numbers["rejected_calls"], "p95_ms": numbers["p95_ms"],
        }  # fmt: skip

    def _seen(self, name: str, change: Transition) -> None:
        if not change.told:
            self._own[name] = self._own.get(name, 0) + 1
            self._lately.pop(name, None)
            self._lately[name] = None
            self._changed()


def _bounded_s(retry_after_s: float | None) -> float | None:
    return None if retry_after_s is None else min(retry_after_s, 86_400.0)  # WinClaw looks no further than a day


def _follow(breaker: CircuitBreaker, told: Mapping[str, Any]) -> None:
    because = f"{told['because']} (seen by {told['agent']})" if told["agent"] else str(told["because"])
    match told["circuit"]:
        case "OPEN" if breaker.state is not CircuitState.OPEN:
            for_s = told["retry_after_s"]  # of a circuit that WinClaw's own probe opened nobody knows how long
            breaker.hold_open(breaker.config.timeout_seconds if for_s is None else for_s, because)
        case "ISOLATED":
            breaker.isolate(because, told=True)
        case "HALF_OPEN" if not told["agent"]:  # WinClaw says so; when another agent probes, that is its own trial
            breaker.release(because, told=True)
        case "CLOSED" if not breaker.is_closed:
            breaker.reset(because, told=True)
