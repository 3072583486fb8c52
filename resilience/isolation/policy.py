"""What can be set of isolation (§7.1): the zones, and what is cut off by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta

from resilience.config.sections import Section, means
from resilience.errors import KINDS, SandboxEscapeError
from resilience.events import Name, Text

OTHERS: Final = "others"
"""The zone of what is in none."""


class Zone(Section, frozen=True, kw_only=True):
    """Components that share one fate (§7.1): a flood of errors from here delays nobody elsewhere."""

    components: Annotated[tuple[Name, ...], means("services, processes and whatever else errors are about")] = ()
    description: Annotated[Text, means("what it is, for people")] = ""


class Isolation(Section, frozen=True, kw_only=True):
    """What WinClaw cuts off by itself (§7)."""

    kinds: Annotated[
        tuple[Name, ...], means("kinds of errors, each with all below it, that isolate the service or process of the error")
    ] = (SandboxEscapeError.kind,)
    release_after_s: Annotated[
        Annotated[float, Meta(ge=1, le=31_536_000)] | None, means("when it is released again; none: by a person only", "s")
    ] = 900.0
    stop_processes: Annotated[bool, means("whether its processes are stopped for as long")] = False

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for kind in self.kinds:
            if kind not in KINDS:
                yield "kinds", f"there is no kind of error {kind!r}"


ZONES: Final[Mapping[str, Zone]] = MappingProxyType(
    {
        "agent_core": Zone(
            components=("AgentCore", "intent_parser", "plan_engine", "memory_system", "identity_service"),
            description="The agent's own mind",
        ),
        "execution": Zone(
            components=("tool_registry", "browser_control", "shell_execution", "code_sandbox", "file_system"),
            description="What the agent does on this machine",
        ),
        "external": Zone(
            components=("gpt-5.2", "ollama", "gmail_api", "twilio_api", "vector_store", "tts_engine", "stt_engine"),
            description="Services that it calls",
        ),
    }
)
"""The document's three zones."""


def in_two_zones(zones: Mapping[str, Zone]) -> Iterator[tuple[str, str]]:
    """What is wrong with these zones together: the key to change, and why."""
    seen: dict[str, str] = {}
    for name, zone in zones.items():
        if name == OTHERS:
            yield f"zones.{name}", "is the name of the zone of everything that is in none; choose another"
        for component in zone.components:
            if seen.setdefault(component, name) != name:
                yield f"zones.{name}.components", f"{component!r} is in the zone {seen[component]!r} already"


def zone_of(component: str, zones: Mapping[str, Zone]) -> str:
    """The zone that ``component`` is in."""
    return next((name for name, zone in zones.items() if component in zone.components), OTHERS)
