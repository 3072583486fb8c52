"""What happened, in words: the lines of the feed. Pure; the live stream uses it, too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from dashboard.present import config, healing, recovery
from dashboard.present.now import CIRCUITS
from dashboard.present.words import LEVELS, SEVERITIES, first_line, level_title, mark
from resilience.degradation.levels import DegradationLevel

_MAX_LINES: Final = 12


def line(event: Mapping[str, Any]) -> dict[str, str]:
    """One event as a line of the feed: ``text``, ``detail``, ``tone``, ``shape``, ``href``."""
    (tone, shape), text, detail = _said(event)
    href = f"/errors/{event['id']}" if event["type"] == "error" else f"/healing/{event['heal']}" if "heal" in event else ""
    return {"tone": tone, "shape": shape, "text": first_line(text), "detail": first_line(detail, 400), "href": href}


def _said(event: Mapping[str, Any]) -> tuple[tuple[str, str], str, str]:
    component = event["component"]
    match event["type"]:
        case "error":
            look = SEVERITIES.get(event["severity"], mark("off"))
            what = event["message"].strip() or event["error_type"]
            return look, what, f"{component} · {event['operation']} · {event['kind']}"
        case "level.changed":
            to = event["to"]
            look = LEVELS[DegradationLevel[to]][:2] if to in DegradationLevel.__members__ else mark("info")
            return look, f"{level_title(event['from'])} → {level_title(to)}", event["cause"]
        case "circuit.opened" | "circuit.half_open" | "circuit.closed" | "circuit.isolated":
            name = {"circuit.opened": "OPEN"}.get(event["type"], event["type"].partition(".")[2].upper())
            tone, shape, word = CIRCUITS[name]
            detail = " · ".join(str(part) for part in ("circuit", event.get("because"), event.get("agent")) if part)
            return (tone, shape), f"{component} is {word}", detail
        case "process.started" | "process.adopted" | "process.ready" | "process.silent" | "process.stopping":
            return _process_said(event, component)
        case "process.stopped" | "process.exited" | "process.failed" | "process.cleared":
            return _process_said(event, component)
        case "heal.waiting" | "heal.started" | "heal.ended" | "heal.escalated":
            tone, text, detail = healing.said(event, component)
            return mark(tone), text, detail
        case "recovery.started" | "recovery.ended":
            color, text, detail = recovery.said(event, component)
            return mark(color), text, detail
        case "command" if component != "level":
            word, _, what = str(event["asked"]).partition(" ")
            whom = component if not what else what if component == "alerts" else f"{what} ({component})"
            return mark("info"), f"{_actor(event)} {_DONE.get(word, word)} {whom}", f"command from {event['origin']}"
        case "command":
            return mark("info"), f"{_actor(event)} chose {level_title(event['asked'])}", f"command from {event['origin']}"
        case "audit":
            tried = ", ".join(f"{event[what]} {what}" for what in ("refused", "allowed") if event[what])
            said = f"{event['agent']} tried {component}: {tried}"
            return mark("warn" if event["refused"] else "info"), said, f"audit in Safe Mode · {event['operation']}"
        case "alert.undelivered":
            return mark("bad"), f"An alert did not arrive by {component}", f"{event['why']} · {event['title']}"
        case "agent.connected":
            return mark("ok"), f"{component} is connected", f"agent, process {event.get('pid') or 'unknown'}"
        case "agent.left":
            return mark("off"), f"{component} said goodbye", "agent left"
        case "agent.lost":
            return mark("bad"), f"{component} gives no sign of life", "agent lost: its heartbeat stopped"
        case "anomaly.began" | "anomaly.ended":
            return _anomaly_said(event, component)
        case "app.started":
            because = f"{event['because']} · " if event.get("because") else ""
            return mark("ok"), f"WinClaw started{_after(event)}", f"{because}version {event.get('version', '')}"
        case "app.stopped":
            return mark("off"), "WinClaw was stopped", f"version {event.get('version', '')}"
        case "config.changed" | "config.rolled_back" | "config.trouble":
            tone, text, detail = config.said(event)
            return mark(tone), text, detail
        case "config.refused":
            problems = " · ".join(map(str, event.get("problems", [])[:2]))
            return mark("warn"), f"The configuration has errors; {event.get('instead', 'another one is')} in force", problems
        case "journal.set_aside":
            return mark("bad"), str(event.get("message", "The journal was set aside")), str(event.get("file", ""))
        case "journal.repaired":
            look = mark("ok" if event.get("lost") == 0 else "warn")
            return look, "The damaged journal was repaired", f"{event.get('message', '')} · {event.get('file', '')}"
        case "journal.gap":
            lost = f", {event['lost']} lost" if event.get("lost") else ""
            said = f"{event.get('written', 0)} events written later{lost} · {event.get('why', '')}"
            return mark("warn"), f"The journal could not be written from {_time(event, 'since')} to {_time(event, 'until')}", said
        case other:
            return mark("info"), str(other), component


def _time(event: Mapping[str, Any], name: str) -> str:
    return f"{str(event.get(name, ''))[11:19]} UTC"


_DONE: Final = {
    "reset": "closed", "isolate": "isolated", "release": "released", "start": "started", "stop": "stopped",
    "restart": "restarted", "approve": "approved", "reject": "rejected", "dismiss": "dismissed", "acknowledge": "acknowledged",
    "snooze": "snoozed", "unsnooze": "ended the snooze of", "test": "tested", "rollback": "rolled back to",
}  # fmt: skip
_METRICS: Final = {
    "cpu_percent": ("CPU", "%"), "memory_percent": ("memory", "%"), "swap_percent": ("swap", "%"), "memory_mb": ("memory", "MB"),
}  # fmt: skip


def _anomaly_said(event: Mapping[str, Any], component: str) -> tuple[tuple[str, str], str, str]:
    name, unit = _METRICS.get(event["metric"], (event["metric"], ""))
    usual = f"{event['value']:.0f} {unit}, where {event['low']:.0f} to {event['high']:.0f} {unit} is usual"
    whose = "This machine" if component == "machine" else component
    if event["type"] == "anomaly.began":
        return mark("warn"), f"{whose} uses unusually {'much' if event['value'] > event['high'] else 'little'} {name}", usual
    again = "has got used to another use of" if event.get("adopted") else "uses as usual of"
    return mark("info"), f"{whose} {again} {name}", usual


def _process_said(event: Mapping[str, Any], component: str) -> tuple[tuple[str, str], str, str]:
    because, pid = str(event.get("because") or ""), event.get("pid")
    detail = " · ".join(part for part in (f"process {pid}" if pid else "process", because) if part)
    match event["type"].partition(".")[2]:
        case "started":
            return mark("info"), f"{component} was started", detail
        case "adopted":
            return mark("ok"), f"{component} has gone on running, and is watched again", detail
        case "ready":
            return mark("ok"), f"{component} is ready after {event['seconds']:g} s", detail
        case "silent":
            return mark("bad"), f"{component} does not answer", detail
        case "stopping":
            return mark("warn"), f"{component} is being stopped", detail
        case "stopped":
            return mark("off"), f"{component} has stopped", detail
        case "exited":
            again = event.get("again_in_s")
            soon = "; it starts again at once" if again == 0 else f"; it starts again in {again:g} s" if again else ""
            return mark("warn"), f"{component} ended{soon}", detail
        case "failed":
            return mark("bad"), f"{component} has failed, and is not started again", detail
        case _:
            return mark("warn"), f"What an earlier run of {component} had left at port {event.get('port')} was ended", detail


def _after(event: Mapping[str, Any]) -> str:
    """For how long WinClaw had been away, and that it had crashed, if so."""
    away_s = event.get("away_s")
    if away_s is None:
        return ""
    long = f"{away_s:.0f} s" if away_s < 120 else f"{away_s / 60:.0f} min" if away_s < 7200 else f"{away_s / 3600:.0f} h"
    return f" again; it had crashed, and nobody watched for {long}" if event.get("crashed") else f"; it was away for {long}"


def _actor(event: Mapping[str, Any]) -> str:
    actor = event["actor"]
    return f"Somebody at the {actor}" if actor in ("dashboard", "tray", "command line") else actor


def with_line(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as the browser gets it: with its words."""
    return {**event, "line": line(event)}


def feed(
    newest_first: Iterable[Mapping[str, Any]], first_ids: Collection[int] = (), most: int = _MAX_LINES
) -> list[dict[str, Any]]:
    """What happened, newest first: between two other events an error that comes again is one line, with ``times``.

    Args:
        first_ids: the errors that were the first of their trouble; their line says so, in ``first``.
        most: lines at the most.
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
        if len(lines) == most:
            break
        lines.append({**with_line(event), "times": 1, "first": event["id"] in first_ids})
        if event["type"] == "error":
            lately[event["fingerprint"]] = lines[-1]
    return lines
