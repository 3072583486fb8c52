"""The loops in which agents work (§5.1): which may run at which level, and how they are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.degradation.policy import Loop

if TYPE_CHECKING:
    from resilience.core.presence import Presence

TIER_FEATURES: Final[Mapping[str, str]] = MappingProxyType(
    {"basic": "enable_basic_loop", "core": "enable_core_loops", "all": "enable_all_loops"}
)
"""The flag (§5.2) that a loop of each tier needs."""
UNKNOWN: Final = Loop(description="Not in the configuration, so it runs at FULL only")
"""What holds for a loop that the configuration does not know."""
_WORST: Final = ("stuck", "late", "paused", "running", "idle")


def view(known: Mapping[str, Loop], agents: Iterable[Presence], level: DegradationLevel) -> list[dict[str, Any]]:
    """The loops as the API gives them: those of the configuration in its order, then those that agents brought."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in known}
    for agent in agents:
        for report in agent.loops:
            beat_at = None if report.beat_age_s is None else agent.beat_at - timedelta(seconds=report.beat_age_s)
            rows.setdefault(report.loop, []).append(
                {
                    "agent": agent.name, "pid": agent.pid, "state": report.state, "running": report.running, "runs": report.runs,
                    "beats": report.beats, "beat_at": beat_at.isoformat() if beat_at else None, "because": report.because,
                }
            )  # fmt: skip
    return [_row(name, known.get(name, UNKNOWN), told, level) for name, told in rows.items()]


def _row(name: str, loop: Loop, agents: list[dict[str, Any]], level: DegradationLevel) -> dict[str, Any]:
    feature = TIER_FEATURES[loop.tier]
    states = [one["state"] for one in agents]
    return {
        "name": name, "tier": loop.tier, "description": loop.description, "feature": feature,
        "allowed": FEATURES[level][feature],
        "state": next((state for state in _WORST if state in states), "unused"),
        "running": sum(one["running"] for one in agents), "runs": sum(one["runs"] for one in agents),
        "beats": sum(one["beats"] for one in agents),
        "beat_at": max((one["beat_at"] for one in agents if one["beat_at"]), default=None),
        "stuck_after_s": loop.stuck_after_s, "max_run_s": loop.max_run_s, "max_depth": loop.max_depth, "agents": agents,
    }  # fmt: skip
