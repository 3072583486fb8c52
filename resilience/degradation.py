"""The five levels and what each allows (§5).

Everything here is a pure function of its arguments; ``core`` keeps the standing, commits it and tells the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final


class DegradationLevel(Enum):
    """How much of the system may run (§5.1); the higher the number, the less."""

    FULL = 1
    DEGRADED_LLM = 2
    LIMITED_EXTERNAL = 3
    MINIMAL = 4
    SAFE_MODE = 5

    @classmethod
    def named(cls, word: str) -> DegradationLevel:
        """The level that people write as ``degraded-llm``, ``DEGRADED_LLM`` or ``2``.

        Raises:
            ValueError: for any other word; it lists the levels.
        """
        wanted = word.strip().upper().replace("-", "_")
        for level in cls:
            if wanted in (level.name, str(level.value)):
                return level
        raise ValueError(f"there is no level {word!r}; the levels are {', '.join(one.word for one in cls)}")

    @property
    def word(self) -> str:
        """The level as the command line writes it, e.g. ``degraded-llm``."""
        return self.name.lower().replace("_", "-")

    @property
    def title(self) -> str:
        """The level as people read it, e.g. ``Degraded LLM``."""
        return self.name.replace("_", " ").title().replace("Llm", "LLM")


_FEATURES: Final = (
    "use_gpt_5_2 use_local_llm_fallback enable_all_loops enable_core_loops enable_basic_loop enable_gmail enable_twilio "
    "enable_browser enable_tts enable_stt enable_memory enable_vector_store enable_code_execution enable_shell "
    "allow_network_access read_only_mode"
).split()
_AT_LIMITED_EXTERNAL: Final = {
    "use_local_llm_fallback", "enable_core_loops", "enable_basic_loop", "enable_memory", "enable_code_execution",
    "enable_shell",
}  # fmt: skip
_ON: Final[Mapping[DegradationLevel, set[str]]] = {
    DegradationLevel.FULL: set(_FEATURES) - {"read_only_mode"},
    DegradationLevel.DEGRADED_LLM: set(_FEATURES) - {"read_only_mode", "use_gpt_5_2", "enable_all_loops"},
    DegradationLevel.LIMITED_EXTERNAL: _AT_LIMITED_EXTERNAL,
    DegradationLevel.MINIMAL: {"enable_basic_loop", "enable_shell"},
    DegradationLevel.SAFE_MODE: {"read_only_mode"},
}
FEATURES: Final[Mapping[DegradationLevel, Mapping[str, bool]]] = MappingProxyType(
    {level: MappingProxyType({flag: flag in on for flag in _FEATURES}) for level, on in _ON.items()}
)
"""Each level's complete row of feature flags (§5.2): a flag that the document leaves out of a row is off there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the level stands, since when, and why; kept in the journal, so that it survives restarts.

    ``pinned``: a person chose it; it holds until *Auto*. ``latched``: a rule chose it, and only a person releases it.
    """

    level: DegradationLevel
    since: datetime
    cause: str
    pinned: bool = False
    latched: bool = False


def at_first(now: datetime) -> Standing:
    """The standing of a new installation: FULL, from the start."""
    return Standing(level=DegradationLevel.FULL, since=now, cause="Everything is allowed.")


def choose(standing: Standing, level: DegradationLevel | None, *, actor: str, now: datetime) -> Standing:
    """The standing after a person chose ``level``, or *Auto* (None), which hands the choice back to the rules.

    Args:
        actor: who chose, in the words of the audit log, e.g. ``tray``.
    """
    if level is None:
        chosen = replace(at_first(now), cause=f"Back to automatic, by {actor}; no rule asks for less.")
    else:
        chosen = Standing(level=level, since=now, cause=f"Chosen by hand ({actor}); it holds until Auto.", pinned=True)
    return replace(chosen, since=standing.since) if chosen.level is standing.level else chosen
