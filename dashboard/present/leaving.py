"""What leaving Safe Mode will do, said before it is done. Pure."""

from __future__ import annotations

from typing import Any

from dashboard.present.words import LEVELS
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, choose
from resilience.degradation.loops import view as view_of_loops
from resilience.processes.supervision import ProcessState


def leaving_preview(state: State, chosen: DegradationLevel | None) -> dict[str, Any]:
    """What leaving Safe Mode for ``chosen`` (None: as the rules say) will do, in sentences."""
    after = chosen or choose(state.standing, None, actor="preview", now=state.standing.since).wanted.level
    alive = sorted({agent.name for agent in state.agents.values() if agent.alive})
    by = " by the rules" if chosen is None else ", pinned"
    will = [f"The level becomes {after.title}{by}. {LEVELS[after][2]}"]
    if chosen is None:
        will += [f"No longer held: {one.cause}" for one in state.standing.wanted.latches]
    views = view_of_loops(state.settings.loops, state.agents.values(), after)
    loops = [one["name"] for one in views if one["allowed"]]
    paused = [one["name"] for one in views if one["allowed"] and one["state"] == "paused"]
    will.append(f"Loops that may run: {_all_of(loops)}{f'; {_all_of(paused)} waited for it' if paused else ''}.")
    policies = state.settings.processes
    stopped = [
        one.name for one in state.processes.values()
        if one.state is ProcessState.WAITING and one.name in policies and policies[one.name].in_safe_mode == "stop"
    ]  # fmt: skip
    if stopped and after is not DegradationLevel.SAFE_MODE:
        will.append(f"Processes that start again: {_all_of(stopped)}.")
    waiting = dict(state.waiting)
    if waiting and after.value < DegradationLevel.LIMITED_EXTERNAL.value:
        by_channel = ", ".join(f"{channel} {count}" for channel, count in sorted(waiting.items()))
        will.append(f"Messages that are sent, little by little: {sum(waiting.values())} ({by_channel}).")
    elif waiting:
        will.append(f"Messages that go on waiting: {sum(waiting.values())}.")
    else:
        will.append("No message waits to be sent.")
    will.append(f"Agents that are told at once: {', '.join(alive)}." if alive else "No agent is connected just now.")
    return {"level": after.name, "will": will, "agents": alive, "loops": loops, "waiting": waiting}


def _all_of(names: list[str]) -> str:
    return "none" if not names else f"all {len(names)}" if len(names) > 10 else ", ".join(names)
