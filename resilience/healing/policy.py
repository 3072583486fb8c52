"""What can be set of healing (§6): which trouble each rule is for, and what it does about it, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from resilience.config.sections import Section, means, named_twice
from resilience.errors import KINDS, is_below
from resilience.events import Name, Text


class HealingActionType(StrEnum):
    """What healing can do (§6.2)."""

    RESTART_SERVICE = "restart_service"
    CLEAR_CACHE = "clear_cache"
    RELOAD_CONFIG = "reload_config"
    RESET_CONNECTIONS = "reset_connections"
    GARBAGE_COLLECT = "garbage_collect"
    SCALE_RESOURCES = "scale_resources"
    ROLLBACK_VERSION = "rollback_version"
    ESCALATE_TO_HUMAN = "escalate_to_human"


_DO = HealingActionType
_Metric = Literal["cpu_percent", "memory_percent", "swap_percent", "memory_mb"]
MACHINE: Final = "machine"
"""The component whose measurements are those of the whole machine."""


class HealingRule(Section, frozen=True, kw_only=True):
    """What is done about one sort of trouble (§6). All that it asks for must fit."""

    name: Annotated[Name, means("what you call the rule")]
    kinds: Annotated[tuple[Name, ...], means("kinds of errors, each with all below it, e.g. `transient.network`")] = ()
    except_kinds: Annotated[tuple[Name, ...], means("kinds that it is not for, though they are below one of `kinds`")] = ()
    components: Annotated[tuple[Name, ...], means("what the error is about; none: anything")] = ()
    operations: Annotated[tuple[Name, ...], means("what failed in it, e.g. `probe`; none: anything")] = ()
    at_least: Annotated[int, means("errors within `within_s`, or looks in a row at a measurement", ge=1, le=10_000)] = 1
    within_s: Annotated[float, means("the time in which errors count", "s", gt=0, le=86_400)] = 60.0
    measurement: Annotated[_Metric | None, means("what is measured, instead of errors")] = None
    above: Annotated[
        Annotated[float, Meta(ge=0, le=1_000_000_000)] | None, means("the value past which a measurement is trouble")
    ] = None
    actions: Annotated[
        tuple[HealingActionType, ...], means("what is tried, in this order, until one has helped; then a person is asked")
    ]
    target: Annotated[Name | None, means("what is mended; none: the root cause that was found")] = None
    confirm: Annotated[bool, means("whether a person must approve each action before it is done")] = False
    attempts: Annotated[
        Annotated[int, Meta(ge=1, le=100)] | None, means("tries of each action; none: `self_healing.max_healing_attempts`")
    ] = None
    cooldown_s: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)] | None,
        means("pause between two tries of an action; none: `self_healing.healing_cooldown`", "s"),
    ] = None
    verify_s: Annotated[float, means("how long it may take until the target is well again", "s", gt=0, le=3600)] = 60.0
    settle_s: Annotated[float, means("how long no such error may come before it counts as healed", "s", ge=0, le=3600)] = 10.0
    scale: Annotated[float, means("`scale_resources`: concurrent calls are multiplied by this", gt=0, le=10)] = 0.5
    scale_s: Annotated[float, means("`scale_resources`: for so long", "s", gt=0, le=86_400)] = 300.0

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if (self.measurement is None) != (self.above is None):
            yield "above", "goes together with measurement; give both or neither"
        if self.measurement is None and not (self.kinds or self.components or self.operations):
            yield "", "give kinds, components or operations of errors, or a measurement"
        if self.measurement is not None and (self.kinds or self.operations):
            yield "kinds", "a rule is for errors or for a measurement; write two rules"
        if not self.actions:
            yield "actions", "it does nothing; name what is to be done"
        for key, kinds in (("kinds", self.kinds), ("except_kinds", self.except_kinds)):
            for kind in kinds:
                if kind not in KINDS:
                    yield key, f"there is no kind of error {kind!r}"

    def fits(self, kind: str, component: str, operation: str) -> bool:
        """Whether an error is such trouble."""
        return (
            self.measurement is None
            and (not self.kinds or is_below(kind, self.kinds))
            and not is_below(kind, self.except_kinds)
            and (not self.components or component in self.components)
            and (not self.operations or operation in self.operations)
        )


class SelfHealing(Section, frozen=True, kw_only=True):
    """What WinClaw mends by itself (§6)."""

    enabled: Annotated[bool, means("whether WinClaw heals by itself")] = True
    health_check_interval: Annotated[float, means("time between two looks at a service", "s", ge=1, le=3600)] = 30.0
    max_healing_attempts: Annotated[int, means("tries before a person is asked", ge=1, le=100)] = 3
    healing_cooldown: Annotated[float, means("pause between two tries", "s", ge=0, le=86_400)] = 60.0
    quiet_s: Annotated[float, means("time without a try after which earlier ones are forgotten", "s", ge=1, le=86_400)] = 900.0
    approve_within_s: Annotated[float, means("how long an action waits for its approval", "s", ge=1, le=604_800)] = 3600.0
    cache_folders: Annotated[
        Mapping[Name, tuple[Annotated[Text, Meta(min_length=3)], ...]],
        means("by component: folders whose contents `clear_cache` deletes"),
    ] = field(default_factory=dict)
    rules: Annotated[tuple[HealingRule, ...], means("the rules; your list replaces the default one")] = (
        HealingRule(
            name="memory_pressure", kinds=("transient.resource.memory",), actions=(_DO.GARBAGE_COLLECT,)
        ),
        HealingRule(
            name="machine_memory", measurement="memory_percent", above=90.0, at_least=3, components=(MACHINE,),
            actions=(_DO.GARBAGE_COLLECT,),
        ),
        HealingRule(
            name="probe_failed", operations=("probe",), actions=(_DO.RESTART_SERVICE, _DO.RESET_CONNECTIONS),
        ),
        HealingRule(
            name="service_down", kinds=("transient.service.unavailable", "platform.os.process"), at_least=3,
            actions=(_DO.RESTART_SERVICE, _DO.RESET_CONNECTIONS),
        ),
        HealingRule(
            name="connections", kinds=("transient.network",), except_kinds=("transient.network.rate_limit",), at_least=3,
            actions=(_DO.RESET_CONNECTIONS, _DO.RESTART_SERVICE),
        ),
        HealingRule(
            name="throttled", at_least=5, actions=(_DO.SCALE_RESOURCES,),
            kinds=("transient.network.rate_limit", "transient.service.throttling", "agentic.llm.rate_limit"),
        ),
        HealingRule(
            name="stale_cache", kinds=("agentic.memory.vector_store", "agentic.memory.embedding"), at_least=3,
            actions=(_DO.CLEAR_CACHE, _DO.RESET_CONNECTIONS),
        ),
        HealingRule(name="disk_full", kinds=("transient.resource.disk_space",), actions=(_DO.CLEAR_CACHE,)),
        HealingRule(
            name="configuration", kinds=("persistent.configuration",), actions=(_DO.RELOAD_CONFIG,), confirm=True
        ),
    )  # fmt: skip

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from named_twice([rule.name for rule in self.rules])
        for component, folders in self.cache_folders.items():
            for folder in folders:
                if not (PurePosixPath(folder).is_absolute() or PureWindowsPath(folder).is_absolute()):
                    yield f"cache_folders.{component}", f"{folder!r} is not a whole path"

    def attempts_of(self, rule: HealingRule) -> int:
        """How often ``rule`` tries an action on one target."""
        return rule.attempts if rule.attempts is not None else self.max_healing_attempts

    def cooldown_of(self, rule: HealingRule) -> float:
        """The pause between two tries of an action on one target, in seconds."""
        return rule.cooldown_s if rule.cooldown_s is not None else self.healing_cooldown
