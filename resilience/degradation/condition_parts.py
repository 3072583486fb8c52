"""What a condition is made of (§10.2): each part has a kind, a value, its value in words, and the names it asks for. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
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
class Number:
    """A number that stands in the condition."""

    number: float
    kind: Kind = "number"

    def value(self, _: Circumstances) -> Any:
        return self.number

    def said(self, _: Circumstances) -> str:
        return f"{self.number:g}"

    def names(self) -> Iterable[str]:
        return ()


@dataclass(frozen=True, slots=True)
class StateName:
    """A circuit's state that stands in the condition."""

    state: str
    kind: Kind = "state"

    def value(self, _: Circumstances) -> Any:
        return self.state

    def said(self, _: Circumstances) -> str:
        return self.state.replace("_", "-")

    def names(self) -> Iterable[str]:
        return ()


@dataclass(frozen=True, slots=True)
class Age:
    """How long the level has been what it is, in seconds."""

    kind: Kind = "number"

    def value(self, circumstances: Circumstances) -> Any:
        return circumstances.level_age_s

    def said(self, circumstances: Circumstances) -> str:
        return f"the level is {circumstances.level_age_s:.0f} s old"

    def names(self) -> Iterable[str]:
        return ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A property of a service."""

    service: str
    asked: Property

    @property
    def kind(self) -> Kind:
        return self.asked.kind

    def value(self, circumstances: Circumstances) -> Any:
        return self.asked.of(circumstances.of(self.service))

    def said(self, circumstances: Circumstances) -> str:
        health = circumstances.of(self.service)
        why = f" ({health.because})" if self.kind == "truth" and health.because and not health.is_healthy else ""
        return self.asked.words.format(self.service, self.value(circumstances)) + why

    def names(self) -> Iterable[str]:
        return (self.service,)


@dataclass(frozen=True, slots=True)
class Count:
    """How many of some services are not answering."""

    services: tuple[str, ...]
    kind: Kind = "number"

    def _unwell(self, circumstances: Circumstances) -> list[str]:
        return [name for name in self.services if not circumstances.of(name).is_healthy]

    def value(self, circumstances: Circumstances) -> Any:
        return len(self._unwell(circumstances))

    def said(self, circumstances: Circumstances) -> str:
        unwell = self._unwell(circumstances)
        named = f" ({', '.join(unwell)})" if unwell else ""
        return f"{len(unwell)} of {len(self.services)} services are not answering{named}"

    def names(self) -> Iterable[str]:
        return self.services


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two parts compared."""

    left: Node
    operator: str
    right: Node
    kind: Kind = "truth"

    def value(self, circumstances: Circumstances) -> Any:
        return _OPERATORS[self.operator](self.left.value(circumstances), self.right.value(circumstances))

    def said(self, circumstances: Circumstances) -> str:
        return f"{self.left.said(circumstances)} ({self.operator} {self.right.said(circumstances)})"

    def names(self) -> Iterable[str]:
        return (*self.left.names(), *self.right.names())


@dataclass(frozen=True, slots=True)
class Several:
    """Parts joined by *and* or *or*; in words, those that decide."""

    word: Literal["and", "or"]
    parts: tuple[Node, ...]
    kind: Kind = "truth"

    def value(self, circumstances: Circumstances) -> Any:
        return (all if self.word == "and" else any)(part.value(circumstances) for part in self.parts)

    def said(self, circumstances: Circumstances) -> str:
        wanted = self.value(circumstances)
        return f" {self.word} ".join(part.said(circumstances) for part in self.parts if bool(part.value(circumstances)) == wanted)

    def names(self) -> Iterable[str]:
        return [name for part in self.parts for name in part.names()]


@dataclass(frozen=True, slots=True)
class Negation:
    """The contrary of a part."""

    part: Node
    kind: Kind = "truth"

    def value(self, circumstances: Circumstances) -> Any:
        return not self.part.value(circumstances)

    def said(self, circumstances: Circumstances) -> str:
        return f"not so: {self.part.said(circumstances)}"

    def names(self) -> Iterable[str]:
        return self.part.names()


Node = Number | StateName | Age | Asked | Count | Comparison | Several | Negation
