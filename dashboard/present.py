"""From what is stored to what a person reads: words first, the field's term second. Pure; the stream uses it, too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from dashboard import present_healing
from resilience.degradation import DegradationLevel
from resilience.errors import TAXONOMY

# (tone, shape): a tone is a colour, and the shape tells the same without it.
_LEVELS: Final = {1: ("ok", "dot"), 2: ("warn", "tri"), 3: ("warn", "diamond"), 4: ("bad", "sq"), 5: ("safe", "shield")}
_SEVERITIES: Final = {
    "DEBUG": ("off", "dash"), "INFO": ("info", "ring"), "WARNING": ("warn", "tri"), "ERROR": ("bad", "sq"),
    "CRITICAL": ("bad", "oct"), "FATAL": ("bad", "cross"),
}  # fmt: skip
SHAPES: Final = {"ok": "dot", "warn": "tri", "bad": "sq", "safe": "shield", "info": "ring", "off": "dash"}
"""The shape of each tone; severities and levels tell more apart."""
_STRATEGIES: Final = {
    "RETRY_WITH_BACKOFF": "Try again, with growing pauses; it passes by itself.",
    "REFRESH_CREDENTIALS": "Renew the key or token that this component uses.",
    "RELOAD_CONFIG": "Mend the setting and load the configuration again.",
    "ESCALATE_TO_LLM": "Show it to the model, which can correct what it wrote.",
    "ISOLATE_AND_ALERT": "Cut the component off, and look at it before it works again.",
    "HEAL_THEN_RETRY": "Make room first, then try again; waiting alone frees nothing.",
    "ESCALATE_TO_HUMAN": "Somebody has to look; trying again changes nothing.",
}
_IMPACTS: Final = {
    "NONE": "nothing",
    "SINGLE_REQUEST": "this one request",
    "SINGLE_SESSION": "this session",
    "SINGLE_COMPONENT": "this component",
    "MULTIPLE_COMPONENTS": "several components",
    "FULL_SYSTEM": "the whole system",
}
LEVEL_WORDS: Final = {
    DegradationLevel.FULL: "Everything is allowed.",
    DegradationLevel.DEGRADED_LLM: "Without GPT-5.2; the local model and the core loops go on.",
    DegradationLevel.LIMITED_EXTERNAL: "Local work only: no mail, no phone, no browser.",
    DegradationLevel.MINIMAL: "Only the core loop and the shell.",
    DegradationLevel.SAFE_MODE: "Only reading.",
}
"""What each level means, in a line."""
_MEANINGS: Final = {one.kind: (one.__doc__ or "").partition("\n")[0] for one in TAXONOMY.values()}


def strategy_words(strategy: str) -> str:
    """What helps, in words."""
    return _STRATEGIES.get(strategy, strategy)


def impact_words(impact: str) -> str:
    """What is affected, in words."""
    return _IMPACTS.get(impact, impact)


def meaning(kind: str) -> str:
    """What a kind of error means, in a sentence; empty for one that this version does not know."""
    return _MEANINGS.get(kind, "")


def when(at: str, now: datetime) -> str:
    """An ISO 8601 moment in UTC, for pages without scripts: ``14:07:31 UTC``, with the date if it is not today's."""
    today = at[:10] == f"{now.astimezone(UTC):%Y-%m-%d}"
    return f"{at[11:19]} UTC" if today else f"{at[:10]} {at[11:16]} UTC"


def level_title(name: str) -> str:
    """``DEGRADED_LLM`` as people read it; a name that is no level stays."""
    return DegradationLevel[name].title if name in DegradationLevel.__members__ else name.title()


def band(state: Mapping[str, Any]) -> dict[str, Any]:
    """The status band: level, tone, shape, cause, since when."""
    number = int(state["number"])
    tone, shape = _LEVELS[number]
    return {
        "number": number,
        "name": state["level"],
        "title": level_title(str(state["level"])),
        "tone": tone,
        "shape": shape,
        "cause": state["cause"],
        "since": state["since"],
        "pinned": bool(state["pinned"]),
        "latched": bool(state["latched"]),
        "also": _also(state),
        "rises": _rises(state),
        "needs_you": int(state["needs_you"]),
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
        said.append(f"{_messages(waiting)} to be sent.")
    return said


def _rises(state: Mapping[str, Any]) -> dict[str, str] | None:
    """The level that comes next and when, if all stays well; None if that is not to be expected."""
    at = state["rules_want"]["rises_at"]
    if at is None or state["pinned"]:
        return None
    return {"title": DegradationLevel(int(state["number"]) - 1).title, "at": at}


def _messages(count: int) -> str:
    return "1 message waits" if count == 1 else f"{count} messages wait"


_LOOPS: Final = {
    "running": ("ok", "dot", "running"), "idle": ("off", "dash", "idle"), "unused": ("off", "dash", "not used yet"),
    "paused": ("warn", "tri", "paused"), "stuck": ("bad", "sq", "stuck"), "late": ("warn", "diamond", "late"),
}  # fmt: skip
_TIERS: Final = {"basic": "down to Minimal", "core": "down to Limited External", "all": "at Full only"}


def loop(view: Mapping[str, Any]) -> dict[str, Any]:
    """One loop: what it is doing in a word, whether the level lets it run, and what each agent says of it."""
    tone, shape, word = _LOOPS[str(view["state"])]
    because = next((str(one["because"]) for one in view["agents"] if one["state"] == view["state"] and one["because"]), "")
    if not view["allowed"] and view["state"] in ("idle", "unused"):
        tone, shape, word = "off", "dash", "not allowed"
    elif not view["allowed"] and view["state"] == "running":
        tone, shape, word, because = "warn", "tri", "asked to pause", "at its next beat"
    return {
        **view, "tone": tone, "shape": shape, "word": word, "because": because, "runs_at": _TIERS[str(view["tier"])],
        "who": ", ".join(sorted({str(one["agent"]) for one in view["agents"]})),
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


_CIRCUITS: Final = {
    "CLOSED": ("ok", "dot", "closed"), "OPEN": ("bad", "sq", "open"), "HALF_OPEN": ("warn", "tri", "half-open"),
    "ISOLATED": ("safe", "shield", "isolated"),
}  # fmt: skip
_COMMANDS: Final = {
    "isolate": ("Isolate", "Refuses every call to it, of every agent, until you release it"),
    "release": ("Release", "Ends the isolation; a few calls then find out whether it answers"),
    "reset": ("Close", "Allows every call to it again, at once"),
}


def circuit(view: Mapping[str, Any]) -> dict[str, Any]:
    """One service's circuit: its state in a word, why it is so, and what can be done."""
    state = str(view["circuit"])
    tone, shape, word = _CIRCUITS[state]
    said = [str(view["because"])]
    if view["agent"]:
        said.append(f"seen by {view['agent']}")
    if state == "OPEN" and view["retry_after_s"]:
        said.append(f"to be probed in {view['retry_after_s']:.0f} s")
    can = {"CLOSED": ("isolate",), "ISOLATED": ("release",)}.get(state, ("reset", "isolate"))
    p95 = "" if view["p95_ms"] is None else f"{view['p95_ms']:.0f} ms" if view["p95_ms"] >= 1 else "< 1 ms"
    return {
        **view, "tone": tone, "shape": shape, "word": word, "why": " · ".join(part for part in said if part),
        "p95": p95, "commands": [(name, *_COMMANDS[name]) for name in can],
    }  # fmt: skip


_PROCESSES: Final = {
    "running": ("ok", "dot", "running"), "starting": ("warn", "tri", "starting"), "waiting": ("warn", "diamond", "waiting"),
    "stopping": ("warn", "tri", "stopping"), "stopped": ("off", "dash", "stopped"), "exited": ("off", "dash", "ended"),
    "failed": ("bad", "sq", "failed"),
}  # fmt: skip
_PROCESS_COMMANDS: Final = {
    "start": ("Start", "Starts it, and forgets earlier failures"),
    "restart": ("Restart", "Asks it to end, with all that it has started, and starts it again"),
    "stop": ("Stop", "Asks it to end, with all that it has started; it stays so until you start it"),
}
_DONE: Final = {
    "reset": "closed", "isolate": "isolated", "release": "released", "start": "started", "stop": "stopped",
    "restart": "restarted",
}  # fmt: skip


def process(view: Mapping[str, Any]) -> dict[str, Any]:
    """One supervised process: its state in a word, why it is so, and what can be done."""
    state = str(view["state"])
    tone, shape, word = _PROCESSES[state]
    if state == "running" and not view["ready"]:
        tone, shape, word = *_mark("bad"), "silent"
    if view["needs_you"]:
        tone, shape = _mark("bad")
    can = {"running": ("restart", "stop"), "starting": ("restart", "stop"), "waiting": ("start", "stop")}.get(state, ("start",))
    memory = "" if view["memory_mb"] is None else f"{view['memory_mb']:.0f} MB"
    cpu = "" if view["cpu_percent"] is None else f"{view['cpu_percent']:.0f} %"
    return {
        **view, "tone": tone, "shape": shape, "word": word, "memory": memory, "cpu": cpu, "line": " ".join(view["command"]),
        "commands": [(name, *_PROCESS_COMMANDS[name]) for name in can],
    }  # fmt: skip


def _process_said(event: Mapping[str, Any], component: str) -> tuple[tuple[str, str], str, str]:
    because, pid = str(event.get("because") or ""), event.get("pid")
    detail = " · ".join(part for part in (f"process {pid}" if pid else "process", because) if part)
    match str(event["type"]).partition(".")[2]:
        case "started":
            return _mark("info"), f"{component} was started", detail
        case "adopted":
            return _mark("ok"), f"{component} has gone on running, and is watched again", detail
        case "ready":
            return _mark("ok"), f"{component} is ready after {event['seconds']:g} s", detail
        case "silent":
            return _mark("bad"), f"{component} does not answer", detail
        case "stopping":
            return _mark("warn"), f"{component} is being stopped", detail
        case "stopped":
            return _mark("off"), f"{component} has stopped", detail
        case "exited":
            again = event.get("again_in_s")
            soon = "; it starts again at once" if again == 0 else f"; it starts again in {again:g} s" if again else ""
            return _mark("warn"), f"{component} ended{soon}", detail
        case "failed":
            return _mark("bad"), f"{component} has failed, and is not started again", detail
        case _:
            return _mark("warn"), f"What an earlier run of {component} had left at port {event.get('port')} was ended", detail


def line(event: Mapping[str, Any]) -> dict[str, str]:
    """One event as a line of the feed: ``text``, ``detail``, ``tone``, ``shape``, ``href``."""
    (tone, shape), text, detail = _said(event)
    href = f"/errors/{event['id']}" if event["type"] == "error" else f"/healing/{event['heal']}" if "heal" in event else ""
    return {"tone": tone, "shape": shape, "text": _first_line(text), "detail": _first_line(detail, 400), "href": href}


def _said(event: Mapping[str, Any]) -> tuple[tuple[str, str], str, str]:
    component = str(event["component"])
    match event["type"]:
        case "error":
            look = _SEVERITIES.get(str(event["severity"]), _mark("off"))
            what = str(event["message"]).strip() or str(event["error_type"])
            return look, what, f"{component} · {event['operation']} · {event['kind']}"
        case "level.changed":
            to = str(event["to"])
            look = _LEVELS[DegradationLevel[to].value] if to in DegradationLevel.__members__ else _mark("info")
            return look, f"{level_title(str(event['from']))} → {level_title(to)}", str(event["cause"])
        case "circuit.opened" | "circuit.half_open" | "circuit.closed" | "circuit.isolated":
            name = {"circuit.opened": "OPEN"}.get(str(event["type"]), str(event["type"]).partition(".")[2].upper())
            tone, shape, word = _CIRCUITS[name]
            detail = " · ".join(str(part) for part in ("circuit", event.get("because"), event.get("agent")) if part)
            return (tone, shape), f"{component} is {word}", detail
        case "process.started" | "process.adopted" | "process.ready" | "process.silent" | "process.stopping":
            return _process_said(event, component)
        case "process.stopped" | "process.exited" | "process.failed" | "process.cleared":
            return _process_said(event, component)
        case "heal.waiting" | "heal.started" | "heal.ended" | "heal.escalated":
            tone, text, detail = present_healing.said(event, component)
            return _mark(tone), text, detail
        case "command" if component != "level":
            what = _DONE.get(str(event["asked"]), event["asked"])
            return _mark("info"), f"{_actor(event)} {what} {component}", f"command from {event['origin']}"
        case "command":
            return _mark("info"), f"{_actor(event)} chose {level_title(str(event['asked']))}", f"command from {event['origin']}"
        case "audit":
            tried = ", ".join(f"{event[what]} {what}" for what in ("refused", "allowed") if event[what])
            said = f"{event['agent']} tried {component}: {tried}"
            return _mark("warn" if event["refused"] else "info"), said, f"audit in Safe Mode · {event['operation']}"
        case "agent.connected":
            return _mark("ok"), f"{component} is connected", f"agent, process {event.get('pid') or 'unknown'}"
        case "agent.left":
            return _mark("off"), f"{component} said goodbye", "agent left"
        case "agent.lost":
            return _mark("bad"), f"{component} gives no sign of life", "agent lost: its heartbeat stopped"
        case "anomaly.began" | "anomaly.ended":
            return _anomaly_said(event, component)
        case "app.started":
            return _mark("ok"), f"WinClaw started{_after(event)}", f"version {event.get('version', '')}"
        case "app.stopped":
            return _mark("off"), "WinClaw was stopped", f"version {event.get('version', '')}"
        case "config.changed":
            later = ", ".join(map(str, event.get("from_next_start", [])))
            said = f"{', '.join(map(str, event.get('changed', []))) or 'nothing'} changed"
            said = f"{said}; {later} from the next start on" if later else said
            return _mark("info"), "Another configuration is in force", said
        case "config.refused":
            problems = " · ".join(map(str, event.get("problems", [])[:2]))
            return _mark("warn"), f"The configuration has errors; {event.get('instead', 'another one is')} in force", problems
        case "journal.set_aside":
            return _mark("bad"), str(event.get("message", "The journal was set aside")), str(event.get("file", ""))
        case other:
            return _mark("info"), str(other), component


_METRICS: Final = {
    "cpu_percent": ("CPU", "%"), "memory_percent": ("memory", "%"), "swap_percent": ("swap", "%"), "memory_mb": ("memory", "MB"),
}  # fmt: skip


def _anomaly_said(event: Mapping[str, Any], component: str) -> tuple[tuple[str, str], str, str]:
    name, unit = _METRICS.get(str(event["metric"]), (str(event["metric"]), ""))
    usual = f"{event['value']:.0f} {unit}, where {event['low']:.0f} to {event['high']:.0f} {unit} is usual"
    whose = "This machine" if component == "machine" else component
    if event["type"] == "anomaly.began":
        return _mark("warn"), f"{whose} uses unusually {'much' if event['value'] > event['high'] else 'little'} {name}", usual
    again = "has got used to another use of" if event.get("adopted") else "uses as usual of"
    return _mark("info"), f"{whose} {again} {name}", usual


def _after(event: Mapping[str, Any]) -> str:
    """For how long WinClaw had been away, and that it had crashed, if so."""
    away_s = event.get("away_s")
    if away_s is None:
        return ""
    long = f"{away_s:.0f} s" if away_s < 120 else f"{away_s / 60:.0f} min" if away_s < 7200 else f"{away_s / 3600:.0f} h"
    return f" again; it had crashed, and nobody watched for {long}" if event.get("crashed") else f"; it was away for {long}"


def _mark(tone: str) -> tuple[str, str]:
    return tone, SHAPES[tone]


def _actor(event: Mapping[str, Any]) -> str:
    actor = str(event["actor"])
    return f"Somebody at the {actor}" if actor in ("dashboard", "tray", "command line") else actor


def _first_line(message: str, limit: int = 160) -> str:
    first = message.strip().partition("\n")[0]
    return first if len(first) <= limit else f"{first[: limit - 1]}…"


def with_line(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as the browser gets it: with its words."""
    return {**event, "line": line(event)}


def feed(newest_first: Iterable[Mapping[str, Any]], first_ids: Collection[int] = (), limit: int = 12) -> list[dict[str, Any]]:
    """What happened, newest first: between two other events an error that comes again is one line, with ``times``.

    Args:
        first_ids: the errors that were the first of their trouble; their line says so, in ``first``.
    """
    lines: list[dict[str, Any]] = []
    lately: dict[str, dict[str, Any]] = {}
    for event in newest_first:
        if event["type"] != "error":
            lately.clear()
        elif (again := lately.get(event["fingerprint"])) is not None:
            again["times"] += 1
            again["first"] |= event["id"] in first_ids
            continue
        if len(lines) == limit:
            break
        lines.append({**with_line(event), "times": 1, "first": event["id"] in first_ids})
        if event["type"] == "error":
            lately[event["fingerprint"]] = lines[-1]
    return lines


def group(row: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """One group of errors, with its spark line and its kind's meaning."""
    tone, shape = _SEVERITIES.get(str(row["severity"]), _mark("off"))
    title = _first_line(str(row["message"])) or str(row["type"])
    return {**row, "tone": tone, "shape": shape, "title": title, "meaning": meaning(str(row["kind"])), "spark": spark(counts)}


def spark(counts: Sequence[int], width: int = 120, height: int = 22) -> str:
    """The path of a spark line (SVG) over ``counts``, oldest first; flat at the bottom when all are 0."""
    top = max((1, *counts))
    step = width / max(1, len(counts) - 1)
    points = (f"{number * step:.1f} {height - 2 - (height - 4) * count / top:.1f}" for number, count in enumerate(counts))
    return "M" + " L".join(points)


def per_bucket(
    minutes: Iterable[tuple[str, str, int]], now: datetime, buckets: int, minutes_a_bucket: int
) -> dict[str, list[int]]:
    """Counts a fingerprint in ``buckets`` steps that end now, oldest first."""
    found: dict[str, list[int]] = {}
    end = int(now.timestamp() // 60)
    for minute, fingerprint, count in minutes:
        at = int(datetime.fromisoformat(minute).replace(tzinfo=UTC).timestamp() // 60)
        place = buckets - 1 - (end - at) // minutes_a_bucket
        if 0 <= place < buckets:
            found.setdefault(fingerprint, [0] * buckets)[place] += count
    return found


def minute_series(minutes: Iterable[tuple[str, str, int]], now: datetime, length: int = 60) -> list[tuple[int, int]]:
    """(seconds since 1970, errors) for each of the last ``length`` minutes, oldest first."""
    counts = per_bucket(minutes, now, length, 1).get("", [0] * length)
    first_s = int(now.timestamp()) // 60 * 60 - 60 * (length - 1)
    return [(first_s + 60 * number, count) for number, count in enumerate(counts)]


def minute_text(seconds: int) -> str:
    """``14:05`` (UTC) for a moment in seconds since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"


@dataclass
class KindNode:
    """One branch of the taxonomy as far as there are errors in it; ``open`` if the chosen kind lies in it."""

    kind: str
    name: str
    meaning: str
    open: bool
    count: int = 0
    below: list[KindNode] = field(default_factory=list)


def kind_tree(counts: Mapping[str, int], chosen: str | None = None) -> list[KindNode]:
    """The taxonomy as a tree to filter by; each branch counts what is below it, too."""
    nodes: dict[str, KindNode] = {}
    roots: list[KindNode] = []
    for kind, count in sorted(counts.items()):
        parts = kind.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            if path not in nodes:
                is_open = f"{chosen}.".startswith(f"{path}.")
                nodes[path] = KindNode(path, parts[depth - 1].replace("_", " "), meaning(path), is_open)
                (nodes[".".join(parts[: depth - 1])].below if depth > 1 else roots).append(nodes[path])
            nodes[path].count += count
    return roots


def causes(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The chain of causes of an error, the nearest first."""
    found: list[Mapping[str, Any]] = []
    link = error.get("cause")
    while isinstance(link, Mapping) and len(found) < 20:
        found.append(link)
        link = link.get("cause")
    return found


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
