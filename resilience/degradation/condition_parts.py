"""What a condition is made of (§10.2), one function a sort of part. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from resilience.degradation.health import Circumstances, ServiceHealth

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
Kind = Literal["truth", "number", "state"]
CIRCUIT_STATES: Final = ("closed", "open", "half_open", "isolated")


@dataclass(frozen=True, slots=True)
class Property:
    """One thing that can be asked of a service: of which kind it is, how it is found, and in which words it is told."""

    kind: Kind
    of: Callable[[ServiceHealth], Any]
    words: str


PROPERTIES: Final = {
    "unhealthy": Property("truth", lambda one: not one.is_healthy, "{0} is not answering"),
    "healthy": Property("truth", lambda one: one.is_healthy, "{0} is answering"),
    "error_count": Property("number", lambda one: one.error_count, "{0} has {1} errors"),
    "error_rate": Property("number", lambda one: one.error_rate, "{0} fails {1:.0%} of its calls"),
    "response_time_ms": Property("number", lambda one: one.response_time_ms, "{0} takes {1:.0f} ms"),
    "unhealthy_for_s": Property("number", lambda one: one.unhealthy_for_s, "{0} has not answered for {1:.0f} s"),
    "circuit": Property("state", lambda one: (one.circuit_state or "closed").lower(), "the circuit of {0} is {1}"),
}
"""What can be asked of a service, after its name and a dot."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition: its kind, its value, that value in words, the services it asks for, and where its text begins."""

    kind: Kind
    value: Callable[[Circumstances], Any]
    said: Callable[[Circumstances], str]
    names: tuple[str, ...] = ()
    column: int = 1


def number(value: float) -> Part:
    """A number that stands in the condition."""
    return Part("number", lambda _: value, lambda _: f"{value:g}")


def circuit_state(name: str) -> Part:
    """A circuit's state that stands in the condition."""
    return Part("state", lambda _: name, lambda _: name.replace("_", "-"))


def level_age() -> Part:
    """How long the level has been what it is, in seconds."""
    return Part("number", lambda now: now.level_age_s, lambda now: f"the level is {now.level_age_s:.0f} s old")


def asked(service: str, what: Property) -> Part:
    """A property of a service."""

    def value(now: Circumstances) -> Any:
        return what.of(now.of(service))

    def said(now: Circumstances) -> str:
        health = now.of(service)
        why = f" ({health.because})" if what.kind == "truth" and health.because and not health.is_healthy else ""
        return what.words.format(service, value(now)) + why

    return Part(what.kind, value, said, (service,))


def count_unhealthy(services: tuple[str, ...]) -> Part:
    """How many of some services are not answering."""

    def unwell(now: Circumstances) -> list[str]:
        return [name for name in services if not now.of(name).is_healthy]

    def said(now: Circumstances) -> str:
        found = unwell(now)
        named = f" ({', '.join(found)})" if found else ""
        return f"{len(found)} of {len(services)} services are not answering{named}"

    return Part("number", lambda now: len(unwell(now)), said, services)


def compared(left: Part, sign: str, right: Part) -> Part:
    """Two parts compared."""
    holds = _OPERATORS[sign]
    return Part(
        "truth",
        lambda now: holds(left.value(now), right.value(now)),
        lambda now: f"{left.said(now)} ({sign} {right.said(now)})",
        left.names + right.names,
    )


def several(word: Literal["and", "or"], parts: tuple[Part, ...]) -> Part:
    """Parts joined by *and* or *or*; in words, those that decide."""
    together = all if word == "and" else any

    def value(now: Circumstances) -> bool:
        return together(part.value(now) for part in parts)

    def said(now: Circumstances) -> str:
        wanted = value(now)
        return f" {word} ".join(part.said(now) for part in parts if bool(part.value(now)) == wanted)

    return Part("truth", value, said, tuple(name for part in parts for name in part.names))


def negation(part: Part) -> Part:
    """The contrary of a part."""
    return Part("truth", lambda now: not part.value(now), lambda now: f"not so: {part.said(now)}", part.names)
