"""The diagnosis (§6.1), in the document's three steps: which pattern, which root cause, which impact. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from resilience.config.settings import Service
from resilience.detection.policy import Probe, host_and_port
from resilience.processes.supervision import ProcessState

if TYPE_CHECKING:
    from resilience.core.state import State

_TOGETHER: Final = timedelta(seconds=30)
"""What began to fail within so much of each other may have one cause."""


class Trouble(NamedTuple):
    """Something that is not well: since when, and what is seen of it."""

    component: str
    since: datetime
    what: str


class Impact(Struct, frozen=True, kw_only=True):
    """Whom it touches: services that cannot work, their feature flags, agents that use them, those agents' loops, messages."""

    services: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    waiting: int = 0


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What is believed to be wrong.

    ``pattern`` is the rule that fits and ``component`` what the trouble was seen at; ``root_cause`` is what has to be mended,
    ``because`` the reasons for that, in sentences.
    """

    pattern: str
    component: str
    root_cause: str
    because: tuple[str, ...] = ()
    impact: Impact = Impact()


def diagnose(state: State, pattern: str, component: str) -> Diagnosis:
    """What is wrong with ``component``, from all that is known."""
    failing = {one.component: one for one in troubles(state)}
    root, because = _root_cause(component, failing, state.settings.services)
    impact = _impact({root, component}, state)
    return Diagnosis(pattern=pattern, component=component, root_cause=root, because=tuple(because), impact=impact)


def troubles(state: State) -> Iterator[Trouble]:
    """Everything that is known to be unwell now."""
    for circuit in state.services.circuits.values():
        if circuit.state in ("OPEN", "HALF_OPEN"):
            because = f"its circuit is open, because {circuit.because}"
            yield Trouble(circuit.name, circuit.unwell_since or circuit.since, because)
    for name, probe in state.services.probes.items():
        if not probe.well and name not in state.services.circuits:
            yield Trouble(name, probe.since, f"its probe: {probe.what}")
    for process in state.processes.values():
        unready = process.state is ProcessState.RUNNING and not process.ready
        if unready or process.state in (ProcessState.FAILED, ProcessState.WAITING):
            yield Trouble(process.name, process.since, f"the process is {process.state.value}: {process.why}")


def _root_cause(
    component: str, failing: Mapping[str, Trouble], services: Mapping[str, Service]
) -> tuple[str, list[str]]:
    """That of what fails together on which the others depend; then what several share; else the component itself."""
    needed = [name for name in _below(component, services) if name in failing]
    if needed:
        deepest = [one for one in needed if not any(other in failing for other in _below(one, services))] or needed
        root = min(deepest, key=lambda name: failing[name].since)
        because = [f"{component} depends on {root}, which fails too: {failing[root].what}"]
        if component in failing and failing[root].since < failing[component].since:
            earlier_s = (failing[component].since - failing[root].since).total_seconds()
            because.append(f"{root} began to fail {earlier_s:.0f} s before {component}")
        return root, because
    mine = failing.get(component)
    together = [
        name
        for name, one in failing.items()
        if name != component and mine is not None and abs(one.since - mine.since) <= _TOGETHER
    ]
    process = _process_of(component, services)
    if process is not None:
        same = sorted(name for name in together if _process_of(name, services) == process)
        if process != component and same:
            return process, [f"{component} is the process {process} with {', '.join(same)}, and they fail together"]
    host = _host_of(component, services)
    if host is not None:
        same = sorted(name for name in together if _host_of(name, services) == host)
        if same:
            return component, [f"{', '.join(same)} on the same host, {host}, fails at the same time: it may be the host"]
    return component, [f"nothing that {component} depends on is known to fail"]


def _impact(wrong: Collection[str], state: State) -> Impact:
    services = state.settings.services
    touched = sorted(
        name
        for name, service in services.items()
        if name in wrong or service.process in wrong or any(one in wrong for one in _below(name, services))
    )
    names = {*touched, *wrong}
    agents = {agent for (agent, _, service), said in state.services.seen.items() if said.numbers and service in names}
    loops = {one.loop for told in state.agents.values() if told.name in agents for one in told.loops if one.running}
    return Impact(
        services=tuple(touched),
        features=tuple(sorted({feature for name in touched if (feature := services[name].feature) is not None})),
        agents=tuple(sorted(agents)),
        loops=tuple(sorted(loops)),
        waiting=sum(state.waiting.get(name, 0) for name in names),
    )


def _below(component: str, services: Mapping[str, Service]) -> list[str]:
    """Everything that ``component`` depends on, near or far; the process that it is, too."""
    found: list[str] = []
    waiting = [component]
    while waiting:
        service = services.get(waiting.pop())
        if service is None:
            continue
        needed = [*service.depends_on, *([service.process] if service.process is not None else [])]
        for one in needed:
            if one not in found and one != component:
                found.append(one)
                waiting.append(one)
    return found


def _process_of(name: str, services: Mapping[str, Service]) -> str | None:
    return services[name].process if name in services else None


def _host_of(name: str, services: Mapping[str, Service]) -> str | None:
    probe: Probe | None = services[name].probe if name in services else None
    if probe is None:
        return None
    if probe.http is not None:
        return urlsplit(probe.http).hostname
    parts = host_and_port(probe.tcp) if probe.tcp is not None else None
    return parts[0] if parts is not None else None
