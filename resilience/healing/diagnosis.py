"""The diagnosis (§6.1), in the document's three steps: which pattern, which root cause, which impact. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from resilience.config.settings import Service
from resilience.detection.policy import Probe, host_and_port

TOGETHER: Final = timedelta(seconds=30)
"""What began to fail within so much of each other may have one cause."""


class Trouble(Struct, frozen=True):
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

    def view(self) -> dict[str, Any]:
        """The diagnosis as the API gives it."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        return seen


def diagnose(
    pattern: str,
    component: str,
    *,
    troubles: Iterable[Trouble],
    services: Mapping[str, Service],
    users: Mapping[str, Collection[str]],
    loops: Mapping[str, Collection[str]],
    waiting: Mapping[str, int],
) -> Diagnosis:
    """What is wrong with ``component``, where all of ``troubles`` are known.

    Args:
        services: the table of services, with what each depends on. users: the agents that use each service.
        loops: the loops that run in each agent. waiting: messages that wait, by channel.
    """
    failing = {one.component: one for one in troubles}
    root, because = _root_cause(component, failing, services)
    return Diagnosis(
        pattern=pattern, component=component, root_cause=root, because=tuple(because),
        impact=_impact({root, component}, services, users, loops, waiting),
    )  # fmt: skip


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
        if name != component and mine is not None and abs(one.since - mine.since) <= TOGETHER
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


def _impact(
    wrong: Collection[str],
    services: Mapping[str, Service],
    users: Mapping[str, Collection[str]],
    loops: Mapping[str, Collection[str]],
    waiting: Mapping[str, int],
) -> Impact:
    touched = sorted(
        name
        for name, service in services.items()
        if name in wrong or service.process in wrong or any(one in wrong for one in _below(name, services))
    )
    features = {services[name].feature for name in touched} - {None}
    agents = {agent for name in {*touched, *wrong} for agent in users.get(name, ())}
    return Impact(
        services=tuple(touched),
        features=tuple(sorted(str(one) for one in features)),
        agents=tuple(sorted(agents)),
        loops=tuple(sorted({loop for agent in agents for loop in loops.get(agent, ())})),
        waiting=sum(waiting.get(name, 0) for name in {*touched, *wrong}),
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
