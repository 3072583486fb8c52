"""What the core knows, whole, and what it has to say of itself. Frozen: a new state replaces the old one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from resilience.degradation import FEATURES, Standing
from resilience.presence import NOBODY, Agents
from resilience.services import Services


class Notice(Struct, frozen=True, kw_only=True):
    """Something that is wrong with WinClaw itself and waits for its user: what, why, and what to do."""

    name: str
    what: str
    cause: str
    action: str


class State(Struct, frozen=True, kw_only=True):
    """What the core knows, whole; a new one replaces it, nothing changes inside. ``version`` grows with each."""

    standing: Standing
    agents: Agents = NOBODY
    services: Services = Services()
    notices: tuple[Notice, ...] = ()
    settings_id: str = ""
    version: int = 0

    def view(self, now: datetime) -> dict[str, Any]:
        """The state as the API gives it at ``now``."""
        standing = self.standing
        return {
            "level": standing.level.name,
            "number": standing.level.value,
            "since": standing.since.isoformat(),
            "cause": standing.cause,
            "pinned": standing.pinned,
            "latched": standing.latched,
            "features": dict(FEATURES[standing.level]),
            "services": self.services.view(now),
            "isolated": [one.name for one in self.services.circuits.values() if one.state == "ISOLATED"],
            "agents": [agent.view() for agent in self.agents.values()],
            "notices": [msgspec.to_builtins(notice) for notice in self.notices],
            "needs_you": len(self.notices),
            "version": self.version,
        }
