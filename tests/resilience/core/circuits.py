"""What agents tell of the circuit of one service, and what the machine makes of it, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from resilience.core.services import Probed, ServiceCircuit, Services, heard
from resilience.events import CircuitReport, Heartbeat

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def beat(*reports: CircuitReport, agent: str = "a", pid: int = 1, leaving: bool = False) -> Heartbeat:
    return Heartbeat(agent=agent, pid=pid, circuits=reports, leaving=leaving)


def says(state: Any, change: int, **more: Any) -> CircuitReport:
    more = {"retry_after_s": 10.0, "because": "3 calls in a row failed", **more} if state == "OPEN" else more
    return CircuitReport(service="gpt-5.2", state=state, change=change, **more)


def circuit(services: Services) -> str:
    return services.circuits["gpt-5.2"].state


def play(*beats: Heartbeat) -> tuple[Services, list[str]]:
    services, events = Services(), []
    for one in beats:
        services, changed = heard(services, one, NOW)
        events += [change.state for change in changed]
    return services, events


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_circuit(state: Any, **more: Any) -> Services:
    """The services with one circuit, which nobody has told of."""
    return Services({"gpt-5.2": ServiceCircuit(name="gpt-5.2", state=state, since=NOW, because="?", **more)})


def finds(well: bool, what: str = "seen") -> Probed:
    return Probed(well=well, since=NOW, what=what)
