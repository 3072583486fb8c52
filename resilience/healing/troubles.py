"""What there is to heal (§6): errors, measurements and probes, as far as some rule is for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from resilience.clock import Clock
from resilience.events import Event
from resilience.healing.diagnosis import Diagnosis, diagnose
from resilience.healing.heals import Triggers
from resilience.healing.policy import HealingRule

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.core.state import State

_PROBE: Final = "probe"
"""The operation of errors that WinClaw's own probes report."""
Values = Mapping[tuple[str, str], float]
"""Measurements by component and metric."""


class Case(Struct, frozen=True):
    """Trouble that a rule is for: the rule, what was seen, what is believed to be wrong, and what is to be mended."""

    rule: HealingRule
    trigger: str
    diagnosis: Diagnosis
    target: str


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

    def last_s(self, rule: HealingRule, component: str) -> float | None:
        """When the last error came that was such trouble of ``component`` (monotonic); None if none is known."""
        with self._counting:
            return self._triggers.last_s(rule, component)


def _case(state: State, rule: HealingRule, component: str, trigger: str) -> Case:
    diagnosis = diagnose(state, rule.name, component)
    return Case(rule, trigger, diagnosis, rule.target or diagnosis.root_cause)
