"""What is isolated (§7.2), since when, why, and until when. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from resilience.config.settings import Settings

BY_ITSELF: Final = "WinClaw"
"""The actor of what nobody but WinClaw has isolated."""


class Isolated(Struct, frozen=True, kw_only=True):
    """A component that is cut off: its calls are refused, and if asked its processes stopped.

    ``until`` is when it is released by itself; None: not by time. ``until_healed``: a verified heal releases it.
    ``services`` and ``processes`` are what is cut off with it: itself, or all that is in the zone of that name.
    """

    component: str
    reason: str
    actor: str
    since: datetime
    until: datetime | None = None
    until_healed: bool = False
    services: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        """The isolation as the API gives it."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        return seen


Isolations = Mapping[str, Isolated]


def members(settings: Settings, component: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The services and the processes that belong to ``component``: a zone's, a service and its process, or a process."""
    zone = settings.zones.get(component)
    names = zone.components if zone is not None else (component,)
    processes = [name for name in names if name in settings.processes]
    processes += [one.process for name in names if (one := settings.services.get(name)) is not None and one.process is not None]
    services = [name for name in names if name in settings.services or name not in settings.processes]
    return tuple(dict.fromkeys(services)), tuple(dict.fromkeys(processes))


def without(isolations: Isolations, component: str) -> tuple[Isolations, tuple[str, ...]]:
    """The isolations after ``component`` is released, and the services that nothing isolates any more."""
    released = isolations.get(component)
    left = MappingProxyType({name: one for name, one in isolations.items() if name != component})
    if released is None:
        return isolations, ()
    still = {service for one in left.values() for service in one.services}
    return left, tuple(service for service in released.services if service not in still)


def stopped(isolations: Isolations) -> Mapping[str, str]:
    """Why each process must not run that is stopped with something isolated."""
    return {name: f"{one.component} is isolated: {one.reason}" for one in isolations.values() for name in one.processes}
