"""What there is at present, for people: the level, loops, agents, circuits, processes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from dashboard.present.charts import NOTHING, said
from dashboard.present.errors import spark
from dashboard.present.words import LEVELS, SHAPES, level_title, mark, messages
from resilience.degradation.levels import DegradationLevel
from resilience.detection.call_counts import Calls


def band(state: Mapping[str, Any]) -> dict[str, Any]:
    """The status band: level, tone, shape, cause, since when."""
    level = DegradationLevel[state["level"]]
    tone, shape, _ = LEVELS[level]
    return {
        "number": level.value,
        "name": level.name,
        "title": level.title,
        "tone": tone,
        "shape": shape,
        "cause": state["cause"],
        "since": state["since"],
        "pinned": bool(state["pinned"]),
        "latched": bool(state["latched"]),
        "also": _also(state),
        "rises": _rises(state),
    }


def _also(state: Mapping[str, Any]) -> list[str]:
    """What the band says beside level and cause: what the rules would choose, what holds, what waits, what is probed."""
    said = []
    want = state["rules_want"]
    if state["pinned"] and want["level"] != state["level"]:
        said.append(f"The rules would choose {level_title(want['level'])}: {want['cause']}")
    if state["latched"]:
        said.append("It holds until somebody chooses Auto.")
    if state["probing"]:
        said.append(f"A few calls to {', '.join(state['probing'])} find out whether it answers again.")
    if waiting := state["waiting"]["messages"]:
        said.append(f"{messages(waiting)} to be sent.")
    return said


def _rises(state: Mapping[str, Any]) -> dict[str, str] | None:
    """The level that comes next and when, if all stays well; None if that is not to be expected."""
    at = state["rules_want"]["rises_at"]
    if at is None or state["pinned"]:
        return None
    return {"title": DegradationLevel(int(state["number"]) - 1).title, "at": at}


_LOOPS: Final = {
    "running": ("ok", "dot", "running"), "idle": ("off", "dash", "idle"), "unused": ("off", "dash", "not used yet"),
    "paused": ("warn", "tri", "paused"), "stuck": ("bad", "sq", "stuck"), "late": ("warn", "diamond", "late"),
}  # fmt: skip
_TIERS: Final = {"basic": "down to Minimal", "core": "down to Limited External", "all": "at Full only"}


def loop(view: Mapping[str, Any]) -> dict[str, Any]:
    """One loop: what it is doing in a word, whether the level lets it run, and what each agent says of it."""
    tone, shape, word = _LOOPS[view["state"]]
    because = next((one["because"] for one in view["agents"] if one["state"] == view["state"] and one["because"]), "")
    if not view["allowed"] and view["state"] in ("idle", "unused"):
        tone, shape, word = "off", "dash", "not allowed"
    elif not view["allowed"] and view["state"] == "running":
        tone, shape, word, because = "warn", "tri", "asked to pause", "at its next beat"
    return {
        **view, "tone": tone, "shape": shape, "word": word, "because": because, "runs_at": _TIERS[view["tier"]],
        "who": ", ".join(sorted({one["agent"] for one in view["agents"]})),
    }  # fmt: skip


def agents(views: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The agents, each with its state in a word: lost (it fell silent) first, connected, left (it said goodbye)."""
    return sorted(map(_agent, views), key=lambda agent: (("lost", "connected", "left").index(agent["word"]), agent["name"]))


def _agent(view: Mapping[str, Any]) -> dict[str, Any]:
    if view["alive"]:
        word, tone = "connected", "ok"
    else:  # goodbye is a heartbeat, so its time is the last one's; silence is noticed later
        word, tone = ("left", "off") if view["since"] == view["last_beat"] else ("lost", "bad")
    return {**view, "word": word, "tone": tone, "shape": SHAPES[tone]}


CIRCUITS: Final = {
    "CLOSED": ("ok", "dot", "closed"), "OPEN": ("bad", "sq", "open"), "HALF_OPEN": ("warn", "tri", "half-open"),
    "ISOLATED": ("safe", "shield", "isolated"),
}  # fmt: skip
_COMMANDS: Final = {
    "isolate": ("Isolate", "Refuses every call to it, of every agent, until you release it"),
    "release": ("Release", "Ends the isolation; a few calls then find out whether it answers"),
    "reset": ("Close", "Allows every call to it again, at once"),
}


_MEANS: Final = {
    "CLOSED": "answers", "OPEN": "not answering", "HALF_OPEN": "a few calls find out whether it answers", "ISOLATED": "cut off",
}  # fmt: skip


_NO_CALLS: Final = Calls()


def circuit(view: Mapping[str, Any], lately: Calls = _NO_CALLS, failures: Sequence[int] = ()) -> dict[str, Any]:
    """One service: its circuit's state in a word, what that means, why it is so, how its calls go, and what can be done.

    Args:
        lately: its calls of the last minute. failures: how many failed in each minute of the last hour, the oldest first.
    """
    state = view["circuit"]
    tone, shape, word = CIRCUITS[state]
    why = [view["because"]]
    if view["agent"]:
        why.append(f"seen by {view['agent']}")
    p95 = lately.p95_ms if lately.p95_ms is not None else view["p95_ms"]
    can = {"CLOSED": ("isolate",), "ISOLATED": ("release",)}.get(state, ("reset", "isolate"))
    return {
        **view,
        "tone": tone,
        "shape": shape,
        "word": word,
        "means": _MEANS[state],
        "why": " · ".join(part for part in why if part),
        "next": _next_try(view),
        "p95": "" if p95 is None else said(p95, "ms"),
        "rate": f"{lately.calls}/min",
        "failed": said(100 * lately.failures / lately.calls, "%") if lately.calls else NOTHING,
        "spark": spark(failures or [0, 0]),
        "commands": [(name, *_COMMANDS[name]) for name in can],
    }


def _next_try(view: Mapping[str, Any]) -> str:
    """When the next call may try an open circuit's service; empty, where no time is set for that."""
    left_s = view["retry_after_s"]
    return f"next try in {left_s:.0f} s" if view["circuit"] == "OPEN" and left_s else ""


_PROCESSES: Final = {
    "running": ("ok", "dot", "running"), "starting": ("warn", "tri", "starting"), "waiting": ("warn", "diamond", "waiting"),
    "stopping": ("warn", "tri", "stopping"), "stopped": ("off", "dash", "stopped"), "exited": ("off", "dash", "exited"),
    "failed": ("bad", "sq", "failed"),
}  # fmt: skip
_PROCESS_COMMANDS: Final = {
    "start": ("Start", "Starts it, and forgets earlier failures"),
    "restart": ("Restart", "Asks it to end, with all that it has started, and starts it again"),
    "stop": ("Stop", "Asks it to end, with all that it has started; it stays so until you start it"),
}


def process(view: Mapping[str, Any]) -> dict[str, Any]:
    """One supervised process: its state in a word, why it is so, and what can be done."""
    state = view["state"]
    tone, shape, word = _PROCESSES[state]
    if state == "running" and not view["ready"]:
        tone, shape, word = *mark("bad"), "silent"
    if view["needs_you"]:
        tone, shape = mark("bad")
    can = {"running": ("restart", "stop"), "starting": ("restart", "stop"), "waiting": ("start", "stop")}.get(state, ("start",))
    memory = "" if view["memory_mb"] is None else f"{view['memory_mb']:.0f} MB"
    cpu = "" if view["cpu_percent"] is None else f"{view['cpu_percent']:.0f} %"
    return {
        **view, "tone": tone, "shape": shape, "word": word, "memory": memory, "cpu": cpu, "line": " ".join(view["command"]),
        "commands": [(name, *_PROCESS_COMMANDS[name]) for name in can],
    }  # fmt: skip
