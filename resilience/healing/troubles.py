"""What there is to heal (§6): errors, measurements and probes, as far as some rule is for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from resilience.clock import Clock
from resilience.config.version import ConfigTrouble, InForce, has_lapsed, is_watched, trouble_after
from resilience.core.inputs import ConfigTroubled
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event
from resilience.healing.diagnosis import Diagnosis, diagnose
from resilience.healing.heals import HealState, Triggers
from resilience.healing.policy import HealingActionType, HealingRule

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.core.state import State

CONFIG: Final = "config"
"""The target of a roll-back that means WinClaw's own configuration."""
_PROBE: Final = "probe"
"""The operation of errors that WinClaw's own probes report."""
_COMMIT_S: Final = 10.0
_VERIFY_S: Final = 60.0
_OFTEN: Final = 1_000_000
"""Tries that are never used up: each version is rolled back once, and that is seen by its heal."""
Values = Mapping[tuple[str, str], float]
"""Measurements by component and metric."""


class Case(Struct, frozen=True):
    """Trouble that a rule is for: the rule, what was seen, what is believed to be wrong, and what is to be mended.

    ``followed`` is the version of the configuration that it followed, where that is the trouble.
    """

    rule: HealingRule
    trigger: str
    diagnosis: Diagnosis
    target: str
    followed: InForce | None = None

    def is_over(self, state: State) -> bool:
        """Whether there is nothing left to decide on: another configuration is in force."""
        return self.followed is not None and (state.config is None or state.config.blamed != self.followed.blamed)

    def what_is_wrong(self, state: State) -> str:
        """What is still worse than before that version came; empty if nothing is."""
        return trouble_after(self.followed, state.standing.wanted.level, state.processes) if self.followed is not None else ""


class Troubles:
    """Finds what rules are for; for any thread.

    Args:
        measure: what is measured now.
    """

    def __init__(self, core: Core, measure: Callable[[], Values], clock: Clock) -> None:
        self._core, self._measure, self._clock = core, measure, clock
        self._triggers = Triggers()
        self._counting = threading.Lock()

    def of_error(self, event: Event) -> Iterator[Case]:
        """The trouble that an error is, or that it makes together with earlier ones."""
        state, component = self._core.state, event.component
        kind, operation, message = (str(event.body[name]) for name in ("kind", "operation", "message"))
        with self._counting:
            rule = self._triggers.error(
                state.settings.self_healing.rules, kind, component, operation, self._clock.monotonic()
            )
        if rule is not None:
            times = f"{rule.at_least} errors within {rule.within_s:g} s, the last one: " if rule.at_least > 1 else ""
            yield _case(state, rule, component, f"{times}{kind} in {operation}: {message[:300]}.")

    def measured(self) -> Iterator[Case]:
        """Measurements that have been too high for long enough."""
        state = self._core.state
        for rule, component, value in self._triggers.measured(state.settings.self_healing.rules, self._measure()):
            yield _case(state, rule, component, f"{rule.measurement} is {value:.1f}, above {rule.above:g}.")

    def unwell(self) -> Iterator[Case]:
        """Probes that are still unwell: they were an error once, and are trouble until they are well."""
        state = self._core.state
        for name, probe in state.services.probes.items():
            if not probe.well:
                rules = state.settings.self_healing.rules
                fitting = (one for one in rules if _PROBE in one.operations and (not one.components or name in one.components))
                if (rule := next(fitting, None)) is not None:
                    yield _case(state, rule, name, f"the probe still fails: {probe.what}.")

    def of_configuration(self) -> Case | None:
        """Trouble that followed the version of the configuration in force, and nobody has been asked about; it is put down."""
        state = self._core.state
        in_force, policy = state.config, state.settings.recovery
        if in_force is None or in_force.before is None:
            return None
        trouble, within_s, now = in_force.known_trouble, policy.config_trouble_within_s, self._clock.now()
        worse = trouble_after(in_force, state.standing.wanted.level, state.processes)
        if trouble is None and worse and is_watched(in_force, within_s, self._clock.monotonic()):
            trouble = ConfigTrouble(in_force.blamed.number, worse, now)
            self._core.tell(ConfigTroubled(trouble)).result(_COMMIT_S)
        if trouble is None or trouble.offered or policy.config_roll_back == "never":
            return None
        if not worse and has_lapsed(trouble, within_s, now):
            return None
        rule = _of_roll_back(in_force, state)
        asked = [one for one in state.heals.values() if one.rule == rule.name and one.state is not HealState.INTERRUPTED]
        if any(not one.is_open for one in asked):  # heals are forgotten, and it is not to be offered again then
            self._core.tell(ConfigTroubled(replace(trouble, offered=True))).result(_COMMIT_S)
        return None if asked else _offer(rule, in_force, trouble.what)

    def last_s(self, rule: HealingRule, component: str) -> float | None:
        """When the last error came that was such trouble of ``component`` (monotonic); None if none is known."""
        with self._counting:
            return self._triggers.last_s(rule, component)


def _of_roll_back(in_force: InForce, state: State) -> HealingRule:
    """What is done about trouble that followed a version; in Safe Mode nothing is without a person."""
    automatic = state.settings.recovery.config_roll_back == "automatic" and state.standing.level is not DegradationLevel.SAFE_MODE
    rises_in_s = state.settings.degradation.recover_after_s * (len(DegradationLevel) - 1)
    return HealingRule(
        name=f"configuration version {in_force.blamed.number}", components=(CONFIG,), target=CONFIG, confirm=not automatic,
        actions=(HealingActionType.ROLLBACK_VERSION,), attempts=_OFTEN, cooldown_s=0.0, verify_s=_VERIFY_S + rises_in_s,
        settle_s=0.0,
    )  # fmt: skip


def _offer(rule: HealingRule, in_force: InForce, what: str) -> Case:
    number, before = in_force.blamed.number, in_force.before
    changed = "; ".join(in_force.blamed.changed[:3])
    because = (f"version {number} of the configuration came into force before it", f"it changed {changed}")
    diagnosis = Diagnosis(pattern=rule.name, component=CONFIG, root_cause=CONFIG, because=because)
    trigger = f"Trouble followed version {number} of the configuration: {what}. Before it, version {before} was in force."
    return Case(rule, trigger, diagnosis, CONFIG, in_force)


def _case(state: State, rule: HealingRule, component: str, trigger: str) -> Case:
    diagnosis = diagnose(state, rule.name, component)
    return Case(rule, trigger, diagnosis, rule.target or diagnosis.root_cause)
