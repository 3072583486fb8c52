"""The five levels and what each allows (§5).

Everything here is a pure function of its arguments; ``core`` keeps the standing, commits it and tells the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:  # agents need the levels, not what is needed to set the policy of them
    from resilience.degradation.policy import LevelPolicy


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


_ALL_WELL: Final = "Everything is allowed."


class Demand(NamedTuple):
    """A rule that holds now: the level it asks for, and why. ``unwell`` are the services that it holds because of.

    Of demands for one level, the one with the lowest ``priority`` names the cause.
    """

    rule: str
    level: DegradationLevel
    cause: str
    priority: int = 100
    auto_recover: bool = True
    unwell: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Latch:
    """A level that is held for ``rule``, whatever becomes of its cause, until a person releases it."""

    rule: str
    level: DegradationLevel
    cause: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the rules choose, also while a person has pinned another level.

    ``rule`` names the cause, empty where none holds. ``rises_at``: when the next step up is due, if all stays well, and
    ``quiet_since_s`` the monotonic time since when it has been. ``unwell``: the services this level is due to.
    ``counts_since``: what happened before a person released a latch is not counted any more.
    """

    level: DegradationLevel = DegradationLevel.FULL
    cause: str = _ALL_WELL
    rule: str = ""
    latches: tuple[Latch, ...] = ()
    unwell: frozenset[str] = frozenset()
    rises_at: datetime | None = None
    quiet_since_s: float | None = None
    counts_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the level stands, since when, and why; kept in the journal, so that it survives restarts.

    ``pinned``: a person chose it; it holds until *Auto*. ``latched``: a rule chose it, and only a person releases it.
    ``wanted``: what the rules choose, which is the level itself while it is not pinned.
    """

    level: DegradationLevel
    since: datetime
    cause: str
    pinned: bool = False
    latched: bool = False
    wanted: Wanted = Wanted()

    @property
    def probing(self) -> frozenset[str]:
        """The services that may be called though the level does not allow it: it is what it is because of them.

        Their circuits let a few calls through; without those nobody would ever know that they answer again.
        """
        if self.pinned or self.latched or self.level is DegradationLevel.SAFE_MODE:
            return frozenset()
        return self.wanted.unwell


def at_first(now: datetime) -> Standing:
    """The standing of a new installation: FULL, from the start."""
    return Standing(level=DegradationLevel.FULL, since=now, cause=_ALL_WELL)


def choose(standing: Standing, level: DegradationLevel | None, *, actor: str, now: datetime) -> Standing:
    """The standing after a person chose ``level``, or *Auto* (None), which hands the choice back to the rules.

    *Auto* ends a pin. Where there is none, or it leaves Safe Mode, it releases what is latched, too; the rules then look
    at what happens from now on.

    Args:
        actor: who chose, in the words of the audit log, e.g. ``tray``.
    """
    if level is not None:
        chosen = replace(
            standing, level=level, cause=f"Chosen by hand ({actor}); it holds until Auto.", pinned=True, latched=False
        )
        return _dated(chosen, standing, now)
    wanted = standing.wanted
    if wanted.latches and (not standing.pinned or standing.level is DegradationLevel.SAFE_MODE):
        wanted = Wanted(counts_since=now)
    if wanted.level is DegradationLevel.FULL:
        wanted = replace(wanted, cause=f"Back to automatic, by {actor}; no rule asks for less.")
    return _dated(_by_rules(replace(standing, pinned=False), wanted), standing, now)


def held(standing: Standing, latch: Latch, now: datetime) -> Standing:
    """The standing after something latched a level, as a rule does that only a person ends."""
    wanted = standing.wanted
    latches = (*(one for one in wanted.latches if one.rule != latch.rule), latch)
    if latch.level.value >= wanted.level.value:
        wanted = Wanted(level=latch.level, cause=latch.cause, rule=latch.rule, counts_since=wanted.counts_since)
    wanted = replace(wanted, latches=latches)
    return replace(standing, wanted=wanted) if standing.pinned else _dated(_by_rules(standing, wanted), standing, now)


def followed(
    standing: Standing, demands: Iterable[Demand], policy: LevelPolicy, now: datetime, now_s: float
) -> Standing:
    """The standing after a look at the rules: down at once to the worst demand, up one step after each quiet time.

    Args:
        demands: the rules that hold. now_s: the monotonic time.
    """
    asked = sorted(demands if policy.auto_degrade else (), key=lambda one: (-one.level.value, one.priority))
    wanted, known = standing.wanted, {latch.rule for latch in standing.wanted.latches}
    latches = wanted.latches + tuple(
        Latch(one.rule, one.level, one.cause, now)
        for one in asked
        if one.rule not in known and not (one.auto_recover and policy.auto_recover)
    )
    levels = [*(one.level for one in asked[:1]), *(one.level for one in latches), DegradationLevel.FULL]
    worst = max(levels, key=lambda level: level.value)
    if worst.value >= wanted.level.value:
        after = _caused(worst, asked, latches)
    else:
        quiet_since_s = now_s if wanted.quiet_since_s is None else wanted.quiet_since_s
        left_s = quiet_since_s + policy.recover_after_s - now_s
        if left_s > 0:
            rises_at = wanted.rises_at if wanted.quiet_since_s is not None else now + timedelta(seconds=left_s)
            after = replace(wanted, quiet_since_s=quiet_since_s, rises_at=rises_at, unwell=frozenset())
        elif wanted.level.value - worst.value == 1:
            after = _caused(worst, asked, latches)
        else:
            step = DegradationLevel(wanted.level.value - 1)
            rises_at = now + timedelta(seconds=policy.recover_after_s)
            after = Wanted(
                level=step, cause=f"Rising step by step; {wanted.level.title} is over.", rule=wanted.rule,
                quiet_since_s=now_s, rises_at=rises_at,
            )  # fmt: skip
    after = replace(after, latches=latches, counts_since=wanted.counts_since)
    if after == wanted:
        return standing
    if standing.pinned:
        return replace(standing, wanted=after)
    return _dated(_by_rules(standing, after), standing, now)


def _caused(level: DegradationLevel, asked: Sequence[Demand], latches: Sequence[Latch]) -> Wanted:
    """What is wanted at ``level``, with the cause that asks for it now, or for which it is latched."""
    for demand in asked[:1]:
        if demand.level is level:
            unwell = frozenset[str]().union(*(one.unwell for one in asked if one.level is level))
            return Wanted(level=level, cause=demand.cause, rule=demand.rule, unwell=unwell)
    for latch in latches:
        if latch.level is level:
            return Wanted(level=level, cause=latch.cause, rule=latch.rule)
    return Wanted()


def _by_rules(standing: Standing, wanted: Wanted) -> Standing:
    latched = any(latch.level is wanted.level for latch in wanted.latches)
    return replace(standing, level=wanted.level, cause=wanted.cause, latched=latched, wanted=wanted)


def _dated(chosen: Standing, before: Standing, now: datetime) -> Standing:
    return replace(chosen, since=before.since if chosen.level is before.level else now)
