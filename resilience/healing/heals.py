"""A heal: one action against one trouble, from its trigger to its verification. Plain data, and what may be tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from resilience.healing.diagnosis import Diagnosis
from resilience.healing.policy import HealingActionType, HealingRule, SelfHealing

MOST_HEALS: Final = 200
"""Heals that are remembered."""


class HealState(StrEnum):
    """Where a heal stands."""

    WAITING = "waiting"
    APPROVED = "approved"
    RUNNING = "running"
    VERIFYING = "verifying"
    HEALED = "healed"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"
    ESCALATED = "escalated"
    DISMISSED = "dismissed"


_OPEN: Final = frozenset({HealState.WAITING, HealState.APPROVED, HealState.RUNNING, HealState.VERIFYING})


class HealingAction(Struct, frozen=True, kw_only=True):
    """One thing to do (§6.2): what, to whom, and within which limits. Times in seconds."""

    action_type: HealingActionType
    target: str
    parameters: Mapping[str, float | str] = {}
    requires_confirmation: bool = False
    max_attempts: int = 3
    cooldown_seconds: float = 60.0


class HealingResult(Struct, frozen=True, kw_only=True):
    """What came of an action (§6.2), before anybody has verified it; ``side_effects`` says what else it touched."""

    success: bool
    message: str
    side_effects: tuple[str, ...] = ()


class Heal(Struct, frozen=True, kw_only=True):
    """One heal, for people and programs.

    ``trigger`` is what was seen, ``attempt`` counts the tries of this action on this target, ``result`` is what the action
    did and ``verification`` what was seen afterwards. ``until`` is when a waiting one expires; ``actor`` who decided.
    """

    id: int
    rule: str
    action: HealingActionType
    target: str
    state: HealState
    trigger: str
    diagnosis: Diagnosis
    at: datetime
    attempt: int = 1
    until: datetime | None = None
    ended: datetime | None = None
    result: str = ""
    verification: str = ""
    side_effects: tuple[str, ...] = ()
    actor: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state in _OPEN

    @property
    def seconds(self) -> float | None:
        """How long it took, approval included; None while it goes on."""
        return (self.ended - self.at).total_seconds() if self.ended is not None else None

    def view(self) -> dict[str, Any]:
        """The heal as the API gives it."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        return {**seen, "seconds": self.seconds}

    def outcome(self) -> dict[str, Any]:
        """As much of one that has ended as a call needs that waits for it."""
        about = {"component": self.diagnosis.component, "root_cause": self.diagnosis.root_cause, "target": self.target}
        return {"id": self.id, **about, "outcome": self.state.value}


Heals = Mapping[int, Heal]


def with_heal(heals: Heals, heal: Heal) -> Heals:
    """The heals with ``heal`` as it is now; the oldest that have ended make room."""
    after = {**heals, heal.id: heal}
    ended = [one.id for one in after.values() if not one.is_open and one.state is not HealState.ESCALATED]
    for old in ended[: max(len(after) - MOST_HEALS, 0)]:
        del after[old]
    while len(after) > 2 * MOST_HEALS:
        del after[next(iter(after))]
    return MappingProxyType(after)


class Tries(Struct):
    """How often each action was tried on each target, and when last (monotonic seconds); belongs to one thread."""

    made: dict[tuple[HealingActionType, str], tuple[int, float]] = {}

    def before(self, action: HealingActionType, target: str, quiet_s: float, now_s: float) -> tuple[int, float | None]:
        """The tries that still count, and how many seconds ago the last one was."""
        known = self.made.get((action, target))
        if known is None or now_s - known[1] >= quiet_s:
            return 0, None
        return known[0], now_s - known[1]

    def make(self, action: HealingActionType, target: str, quiet_s: float, now_s: float) -> int:
        """Counts one more; returns its number."""
        self.made = {key: one for key, one in self.made.items() if now_s - one[1] < quiet_s}
        count = self.before(action, target, quiet_s, now_s)[0] + 1
        self.made[action, target] = count, now_s
        return count


class Triggers:
    """Counts errors and measurements for the rules; belongs to one thread. Time comes in as an argument."""

    _MOST: Final = 2000

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], tuple[float, ...]] = {}
        self._above: dict[tuple[str, str], int] = {}

    def error(
        self, rules: tuple[HealingRule, ...], kind: str, component: str, operation: str, now_s: float
    ) -> HealingRule | None:
        """The first rule that fits an error, if its trouble is there now that this one has come."""
        rule = next((one for one in rules if one.fits(kind, component, operation)), None)
        if rule is None:
            return None
        key = (rule.name, component)
        times = tuple(at for at in self._times.pop(key, ()) if now_s - at < rule.within_s)[-rule.at_least :]
        self._times[key] = (*times, now_s)
        while len(self._times) > self._MOST:
            del self._times[next(iter(self._times))]
        return rule if len(self._times[key]) >= rule.at_least else None

    def measured(
        self, rules: tuple[HealingRule, ...], values: Mapping[tuple[str, str], float]
    ) -> Iterator[tuple[HealingRule, str, float]]:
        """The rules whose measurement has been too high for as many looks in a row as they ask; with component and value."""
        above: dict[tuple[str, str], int] = {}
        for rule in rules:
            for (component, metric), value in values.items():
                if rule.measurement != metric or rule.above is None or value <= rule.above:
                    continue
                if rule.components and component not in rule.components:
                    continue
                key = (rule.name, component)
                above[key] = self._above.get(key, 0) + 1
                if above[key] >= rule.at_least:
                    yield rule, component, value
        self._above = above

    def last_s(self, rule: HealingRule, component: str) -> float | None:
        """When the last error came that was such trouble of ``component``; None if none is known."""
        times = self._times.get((rule.name, component))
        return times[-1] if times is not None else None


def may_try(tries: Tries, rule: HealingRule, action: HealingActionType, target: str, policy: SelfHealing, now_s: float) -> str:
    """``yes``; ``later``: its pause is not over; ``never``: it has been tried often enough."""
    count, ago_s = tries.before(action, target, policy.quiet_s, now_s)
    if count >= policy.attempts_of(rule):
        return "never"
    return "later" if ago_s is not None and ago_s < policy.cooldown_of(rule) else "yes"
