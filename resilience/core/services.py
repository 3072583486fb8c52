"""The circuits of a machine, put together from what its agents report (§3). Pure: time comes in as an argument.

An agent tells with each heartbeat what its circuits are, and how many changes each has seen by itself. A change that is
new holds for all agents: they follow it, and what they follow they do not report as their own. Changes are taken in the
order in which they arrive; the latest wins, but for an isolation, which only a person ends.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from resilience.core.presence import AgentKey
from resilience.degradation.health import Circumstances, Count, ServiceHealth, Tally
from resilience.events import CircuitReport, Heartbeat

MAX_SERVICES = 500

CircuitName = Literal["CLOSED", "OPEN", "HALF_OPEN", "ISOLATED"]
CircuitCommand = Literal["reset", "isolate", "release"]


class Seen(Struct, frozen=True):
    """What one agent said last of its circuit: how many changes, and its numbers; without numbers it has fallen silent."""

    change: int
    numbers: Mapping[str, float]


class ServiceCircuit(Struct, frozen=True, kw_only=True):
    """One service's circuit, as it holds for the machine.

    ``agent`` opened or closed it, or nobody did (empty); ``until`` is when it may be probed. ``version`` grows with each
    change, so that an agent knows what it has followed already. ``counts`` is what its window held then. ``unwell_since``
    is when it left CLOSED.
    """

    name: str
    state: CircuitName
    since: datetime
    because: str
    agent: str = ""
    pid: int | None = None
    until: datetime | None = None
    version: int = 0
    counts: Mapping[str, int] = {}
    unwell_since: datetime | None = None

    def view(self, now: datetime) -> dict[str, Any]:
        """The circuit as the API gives it; one whose time is up is being probed."""
        left_s = max((self.until - now).total_seconds(), 0.0) if self.until is not None else None
        return {
            "name": self.name,
            "healthy": self.state == "CLOSED",
            "circuit": "HALF_OPEN" if self.state == "OPEN" and left_s == 0 else self.state,
            "since": self.since.isoformat(),
            "because": self.because,
            "agent": self.agent,
            "pid": self.pid,
            "retry_after_s": left_s,
            "until": self.until.isoformat() if self.until is not None else None,
            "counts": dict(self.counts),
            "version": self.version,
        }


class Probed(Struct, frozen=True, kw_only=True):
    """What WinClaw's own probe finds: ``since`` when it is so, and ``what``, for people."""

    well: bool
    since: datetime
    what: str

    def view(self) -> dict[str, Any]:
        """The probe as the API gives it."""
        return {"well": self.well, "since": self.since.isoformat(), "what": self.what}


class Services(NamedTuple):
    """Every circuit of the machine, what each agent said last of its own, by (agent, pid, service), and every probe."""

    circuits: Mapping[str, ServiceCircuit] = MappingProxyType({})
    seen: Mapping[tuple[str, int | None, str], Seen] = MappingProxyType({})
    probes: Mapping[str, Probed] = MappingProxyType({})

    def view(self, now: datetime) -> list[dict[str, Any]]:
        """The services as the API gives them, with what the agents count: those that are unwell first."""
        counted: dict[str, list[Mapping[str, float]]] = {}
        for (_, _, service), one in self.seen.items():
            if one.numbers:
                counted.setdefault(service, []).append(one.numbers)
        views = []
        for circuit in self.circuits.values():
            numbers = counted.get(circuit.name, [])
            sums = {key: sum(one[key] for one in numbers) for key in ("calls", "failures", "rejected")}
            worst = max((one["p95_ms"] for one in numbers if "p95_ms" in one), default=None)
            probe = self.probes.get(circuit.name)
            views.append({**circuit.view(now), **sums, "p95_ms": worst, "probe": probe.view() if probe is not None else None})
        return sorted(views, key=lambda view: (view["healthy"], view["name"]))

    def users(self, name: str) -> set[AgentKey]:
        """The agents, not silent, that have a circuit for the service ``name``."""
        return {(agent, pid) for (agent, pid, service), one in self.seen.items() if service == name and one.numbers}


def heard(services: Services, beat: Heartbeat, now: datetime) -> tuple[Services, list[ServiceCircuit]]:
    """The services after ``beat``, and the circuits that changed with it."""
    if beat.leaving:
        kept = {key: one for key, one in services.seen.items() if key[:2] != (beat.agent, beat.pid)}
        return services._replace(seen=MappingProxyType(kept)), []
    if not beat.circuits:
        return services, []
    circuits, seen = dict(services.circuits), dict(services.seen)
    changed: list[ServiceCircuit] = []
    for report in beat.circuits:
        key = (beat.agent, beat.pid, report.service)
        before = seen.get(key)
        seen[key] = Seen(report.change, _numbers(report))
        circuit = circuits.get(report.service)
        if circuit is None:
            if len(circuits) >= MAX_SERVICES:
                continue
            circuit = circuits[report.service] = _new(report.service, now)
        if report.change > (before.change if before is not None else 0):
            after = circuits[report.service] = _followed(circuit, report, beat, now, is_first=before is None)
            if after.version != circuit.version:
                changed.append(after)
    while len(seen) > 10 * MAX_SERVICES:
        del seen[next(iter(seen))]
    if circuits != services.circuits:  # else the very same, so that nobody stores it again
        services = services._replace(circuits=MappingProxyType(circuits))
    return services._replace(seen=MappingProxyType(seen)), changed


def silent(services: Services, agent: AgentKey) -> Services:
    """The services after ``agent`` was lost: it uses none any more; which changes it has told of is not forgotten."""
    kept = {key: Seen(one.change, {}) if key[:2] == agent else one for key, one in services.seen.items()}
    return services._replace(seen=MappingProxyType(kept))


def commanded(
    services: Services, name: str, command: CircuitCommand, actor: str, now: datetime, *, reason: str = ""
) -> Services | None:
    """The services after a person's ``command``; None where it changes nothing. One that is not known yet can be isolated."""
    circuit = services.circuits.get(name) or _new(name, now)
    match command:
        case "isolate":
            after = _changed(circuit, "ISOLATED", f"isolated by {actor}{': ' if reason else ''}{reason}", now)
        case "release":
            after = circuit if circuit.state != "ISOLATED" else _tried(services, circuit, f"released by {actor}", now)
        case "reset":
            after = _changed(circuit, "CLOSED", f"closed by {actor}", now)
    if after is circuit or (after.state, circuit.state) == ("CLOSED", "CLOSED"):
        return None
    return _with(services, [after])


def probed(
    services: Services, name: str, found: Probed, now: datetime, *, has_circuit: bool = True
) -> tuple[Services, ServiceCircuit | None]:
    """The services after what the probe of ``name`` found, and its circuit if that changed with it.

    A probe that fails opens a circuit. One that is well again lets agents try, who close it; where no agent is there that
    would, it is closed.

    Args:
        has_circuit: whether it is a service, which has one.
    """
    before = services.probes.get(name)
    since = before.since if before is not None and before.well is found.well else found.since
    services = services._replace(probes=MappingProxyType({**services.probes, name: replace(found, since=since)}))
    circuit = services.circuits.get(name)
    if circuit is None:
        if found.well or not has_circuit or len(services.circuits) >= MAX_SERVICES:
            return services, None
        circuit = _new(name, now)
    after = circuit
    if not found.well and circuit.state in ("CLOSED", "HALF_OPEN"):
        after = _changed(circuit, "OPEN", f"its probe: {found.what}", now)
    elif found.well and circuit.state in ("OPEN", "HALF_OPEN"):
        after = _tried(services, circuit, f"its probe: {found.what}", now)
    return (services, None) if after is circuit else (_with(services, [after]), after)


def only_probed(services: Services, names: Container[str], now: datetime) -> tuple[Services, list[ServiceCircuit]]:
    """The services where nothing but ``names`` has a probe any more, and the circuits that a probe now gone had opened."""
    probes = {name: one for name, one in services.probes.items() if name in names}
    if len(probes) != len(services.probes):
        services = services._replace(probes=MappingProxyType(probes))
    changed = [
        _tried(services, circuit, "its probe is no longer configured", now)
        for name, circuit in services.circuits.items()
        if circuit.state == "OPEN" and not circuit.agent and name not in names
    ]
    return _with(services, changed), changed


def left_alone(services: Services, now: datetime) -> tuple[Services, list[ServiceCircuit]]:
    """The services after closing each circuit that waits for a trial by agents, while none that uses it is left.

    An open one is closed only where WinClaw's own probe says that the service is well.
    """
    changed = []
    for name, circuit in services.circuits.items():
        probe = services.probes.get(name)
        waits = circuit.state == "HALF_OPEN" and (probe is None or probe.well)
        waits = waits or (circuit.state == "OPEN" and probe is not None and probe.well)
        if waits and not (circuit.until is not None and circuit.until > now) and not services.users(name):
            said = f"its probe: {probe.what}; " if probe is not None else ""
            changed.append(_changed(circuit, "CLOSED", f"{said}no agent that uses it is left", now))
    return _with(services, changed), changed


def _with(services: Services, changed: list[ServiceCircuit]) -> Services:
    if not changed:
        return services
    circuits = {**services.circuits, **{circuit.name: circuit for circuit in changed}}
    return services._replace(circuits=MappingProxyType(circuits))


def _tried(services: Services, circuit: ServiceCircuit, because: str, now: datetime) -> ServiceCircuit:
    """The circuit while agents try whether the service answers; closed where none is there that would."""
    if services.users(circuit.name):
        return circuit if circuit.state == "HALF_OPEN" else _changed(circuit, "HALF_OPEN", because, now)
    return _changed(circuit, "CLOSED", because, now)


def grown(before: Services, after: Services) -> Iterator[tuple[tuple[str, int | None, str], dict[str, int]]]:
    """By how much what agents count has grown, by (agent, pid, service); of one that was not there before it is all."""
    for key, seen in after.seen.items():
        known = before.seen.get(key)
        if known is seen or not seen.numbers:
            continue
        old = known.numbers if known is not None and known.numbers and known.numbers["calls"] <= seen.numbers["calls"] else {}
        yield key, {name: max(int(seen.numbers[name] - old.get(name, 0)), 0) for name in ("calls", "failures", "rejected")}


def counted(before: Services, after: Services) -> list[tuple[str, Count]]:
    """What an agent that was there before has counted between two of its heartbeats: calls and failures by service."""
    return [
        (service, Count(calls=new["calls"], failures=min(new["failures"], new["calls"])))
        for (_, _, service), new in grown(before, after)
        if new["calls"]
    ]


def circumstances(services: Services, tally: Tally, now: datetime, now_s: float) -> Circumstances:
    """How the services are at ``now``, for the rules of the level; ``now_s`` is the monotonic time."""
    found = Circumstances()
    for view in services.view(now):
        circuit = services.circuits[view["name"]]
        count = tally.within_window(circuit.name, now_s)
        unwell_s = (now - circuit.unwell_since).total_seconds() if circuit.unwell_since is not None else 0.0
        found[circuit.name] = ServiceHealth(
            circuit.name, view["healthy"], now, count.errors, view["p95_ms"] or 0.0, view["circuit"],
            error_rate=count.failures / count.calls if count.calls else 0.0,
            unhealthy_for_s=max(unwell_s, 0.0), because="" if view["healthy"] else circuit.because,
        )  # fmt: skip
    for name in tally.buckets:
        if name not in found:
            found[name] = ServiceHealth(name, True, now, tally.within_window(name, now_s).errors)
    return found


def _new(name: str, now: datetime) -> ServiceCircuit:
    return ServiceCircuit(name=name, state="CLOSED", since=now, because="it has not opened yet")


def _followed(circuit: ServiceCircuit, report: CircuitReport, beat: Heartbeat, now: datetime, is_first: bool) -> ServiceCircuit:
    if circuit.state == "ISOLATED" or report.state == "ISOLATED" or report.state == "DISABLED":
        return circuit  # only a person ends an isolation, and what a program isolates, it isolates for itself
    if report.state == circuit.state == "CLOSED":
        return circuit
    until = now + timedelta(seconds=report.retry_after_s) if report.retry_after_s is not None else None
    until = until if report.state == "OPEN" else None
    if is_first and (circuit.state, circuit.agent, circuit.pid) == (report.state, beat.agent, beat.pid):
        return replace(circuit, until=until, counts=report.counts)  # what it had told a WinClaw that has ended since
    after = _changed(circuit, report.state, report.because, now)
    return replace(after, agent=beat.agent, pid=beat.pid, until=until, counts=report.counts)


def _changed(circuit: ServiceCircuit, state: CircuitName, because: str, now: datetime) -> ServiceCircuit:
    # By the time of day, so that after a restart nobody takes a change for one that was followed already.
    version = max(circuit.version + 1, int(now.timestamp() * 1000))
    unwell_since = None if state == "CLOSED" else circuit.unwell_since or now
    return ServiceCircuit(
        name=circuit.name, state=state, since=now, because=because, version=version, unwell_since=unwell_since
    )


def _numbers(report: CircuitReport) -> dict[str, float]:
    numbers = {"calls": report.calls, "failures": report.failures, "rejected": report.rejected, "p95_ms": report.p95_ms}
    return {name: value for name, value in numbers.items() if value is not None}

