"""Whether something is well again after it was mended (§6). Pure: it reads one state."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from resilience.healing.policy import HealingRule
from resilience.processes.supervision import ProcessState

if TYPE_CHECKING:
    from resilience.core.state import State


def what_is_wrong(
    state: State,
    rule: HealingRule | None,
    component: str,
    target: str,
    runs_before: int | None = None,
    values: Mapping[tuple[str, str], float] = MappingProxyType({}),
) -> str:
    """What is still not well, for people; empty if nothing is known to be wrong.

    Args:
        rule: whose measurement must have come down; None: none has to.
        runs_before: the number of the process's run that must be over; None: it was not started again.
        values: what is measured now, by component and metric.
    """
    process = state.processes.get(state.settings.process_of(target))
    if process is not None and process.state is not ProcessState.STOPPED:
        if runs_before is not None and process.run <= runs_before:
            return f"{process.name} has not been started again yet"
        if not process.ready:
            return f"{process.name} is {process.state.value}, but not ready: {process.why}"
    for name in {target, component}:
        probe = state.services.probes.get(name)
        if probe is not None and not probe.well:
            return f"the probe of {name}: {probe.what}"
    if rule is not None and rule.measurement is not None and rule.above is not None:
        value = values.get((component, rule.measurement))
        if value is None:
            return f"{rule.measurement} of {component} is not measured"
        if value > rule.above:
            return f"{rule.measurement} of {component} is {value:.1f}, still above {rule.above:g}"
    return ""
