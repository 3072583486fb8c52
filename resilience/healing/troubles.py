"""What there is to heal (§6): errors, measurements and probes, as far as some rule is for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from resilience.clock import Clock
from resilience.events import Event
from resilience.healing.diagnosis import Diagnosis, Trouble, diagnose
from resilience.healing.heals import Seen, Triggers
from resilience.healing.policy import HealingRule
from resilience.processes.supervision import ProcessState

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.core.state import State

PROBE: Final = "probe"
"""The operation of errors that WinClaw's own probes report."""
Values = Mapping[tuple[str, str], float]
"""Measurements by component and metric."""


class Case(Struct, frozen=True):
    """Trouble that a rule is for: the rule, what it was seen at, and what was seen."""

    rule: HealingRule
    component: str
    trigger: str


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
        body = event.body
        seen = Seen(str(body["kind"]), event.component, str(body["operation"]), str(body["message"]))
        with self._counting:
            rules = self._core.state.settings.self_healing.rules
            for rule in self._triggers.error(rules, seen, self._clock.monotonic()):
                times = f"{rule.at_least} errors within {rule.within_s:g} s, the last one: " if rule.at_least > 1 else ""
                yield Case(rule, event.component, f"{times}{seen.kind} in {seen.operation}: {seen.message[:300]}.")

    def measured(self) -> Iterator[Case]:
        """Measurements that have been too high for long enough."""
        rules = self._core.state.settings.self_healing.rules
        for rule, component, value in self._triggers.measured(rules, self._measure()):
            yield Case(rule, component, f"{rule.measurement} is {value:.1f}, above {rule.above:g}.")

    def unwell(self) -> Iterator[Case]:
        """Probes that are still unwell: they were an error once, and are trouble until they are well."""
        state = self._core.state
        for name, probe in state.services.probes.items():
            if not probe.well:
                rules = state.settings.self_healing.rules
                fitting = (one for one in rules if PROBE in one.operations and (not one.components or name in one.components))
                if (rule := next(fitting, None)) is not None:
                    yield Case(rule, name, f"the probe still fails: {probe.what}.")

    def last_s(self, rule: HealingRule, component: str) -> float | None:
        """When the last error came that was such trouble of ``component`` (monotonic); None if none is known."""
        with self._counting:
            return self._triggers.last_s(rule, component)


def diagnosed(state: State, pattern: str, component: str) -> Diagnosis:
    """The diagnosis of trouble of ``component``, from all that is known."""
    users: dict[str, set[str]] = {}
    for (agent, _, service), said in state.services.seen.items():
        if said.numbers:
            users.setdefault(service, set()).add(agent)
    loops: dict[str, set[str]] = {}
    for told in state.agents.values():
        loops.setdefault(told.name, set()).update(one.loop for one in told.loops if one.running)
    return diagnose(
        pattern, component, troubles=troubles(state), services=state.settings.services, users=users, loops=loops,
        waiting=state.waiting,
    )  # fmt: skip


def troubles(state: State) -> Iterator[Trouble]:
    """Everything that is known to be unwell now."""
    for circuit in state.services.circuits.values():
        if circuit.state in ("OPEN", "HALF_OPEN"):
            yield Trouble(circuit.name, circuit.unwell_since or circuit.since, f"its circuit is open, because {circuit.because}")
    for name, probe in state.services.probes.items():
        if not probe.well and name not in state.services.circuits:
            yield Trouble(name, probe.since, f"its probe: {probe.what}")
    for process in state.processes.values():
        unready = process.state is ProcessState.RUNNING and not process.ready
        if unready or process.state in (ProcessState.FAILED, ProcessState.WAITING):
            yield Trouble(process.name, process.since, f"the process is {process.state.value}: {process.why}")
