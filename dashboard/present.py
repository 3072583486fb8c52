"""From what is stored to what a person reads: words first, the field's term second. Pure; the stream uses it, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from resilience.degradation import DegradationLevel

# Each tone has a shape of its own, so that nothing is told by colour alone.
SHAPES: Final = {"ok": "dot", "warn": "tri", "bad": "sq", "safe": "shield", "info": "ring", "off": "dash"}
_LEVEL_TONES: Final = {1: "ok", 2: "warn", 3: "warn", 4: "bad", 5: "safe"}
_SEVERITY_TONES: Final = {"DEBUG": "off", "INFO": "info", "WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad", "FATAL": "bad"}
_STRATEGIES: Final = {
    "RETRY_WITH_BACKOFF": "try again, with growing pauses",
    "REFRESH_CREDENTIALS": "renew the credentials",
    "RELOAD_CONFIG": "reload the configuration",
    "ESCALATE_TO_LLM": "let the model correct it",
    "ISOLATE_AND_ALERT": "isolate the component and alert",
    "HEAL_THEN_RETRY": "make room first, then try again",
    "ESCALATE_TO_HUMAN": "a person has to look",
}
_IMPACTS: Final = {
    "NONE": "nothing",
    "SINGLE_REQUEST": "this one request",
    "SINGLE_SESSION": "this session",
    "SINGLE_COMPONENT": "this component",
    "MULTIPLE_COMPONENTS": "several components",
    "FULL_SYSTEM": "the whole system",
}


def strategy_words(strategy: str) -> str:
    """What is to be done, in words."""
    return _STRATEGIES.get(strategy, strategy)


def impact_words(impact: str) -> str:
    """What is affected, in words."""
    return _IMPACTS.get(impact, impact)


def severity_tone(severity: str) -> str:
    """The tone of a severity."""
    return _SEVERITY_TONES.get(severity, "off")


def level_title(name: str) -> str:
    """``DEGRADED_LLM`` as people read it; a name that is no level stays."""
    return DegradationLevel[name].title if name in DegradationLevel.__members__ else name.title()


def band(state: Mapping[str, Any]) -> dict[str, Any]:
    """The status band: level, tone, cause, and what the level means."""
    number = int(state["number"])
    return {
        "number": number,
        "name": state["level"],
        "title": level_title(str(state["level"])),
        "tone": _LEVEL_TONES[number],
        "shape": SHAPES[_LEVEL_TONES[number]],
        "cause": state["cause"],
        "since": state["since"],
        "pinned": bool(state["pinned"]),
        "needs_you": int(state["needs_you"]),
    }


def line(event: Mapping[str, Any]) -> dict[str, str]:
    """One event as a line of the feed: ``text``, ``detail``, ``tone``, ``shape``, ``href``."""
    tone, text, detail = _said(event)
    href = f"/errors/{event['id']}" if event["type"] == "error" else ""
    return {"tone": tone, "shape": SHAPES[tone], "text": text, "detail": detail, "href": href}


def _said(event: Mapping[str, Any]) -> tuple[str, str, str]:
    component = str(event["component"])
    match event["type"]:
        case "error":
            tone = severity_tone(str(event["severity"]))
            return tone, _first_line(str(event["message"])), f"{component} · {event['operation']} · {event['kind']}"
        case "level.changed":
            tone = _LEVEL_TONES[DegradationLevel[event["to"]].value] if event["to"] in DegradationLevel.__members__ else "info"
            return tone, f"Level {level_title(str(event['from']))} → {level_title(str(event['to']))}", str(event["cause"])
        case "command":
            return "info", f"Asked for {level_title(str(event['asked']))}", f"by {event['actor']}, from {event['origin']}"
        case "agent.connected":
            return "ok", f"{component} is there", f"agent connected, process {event.get('pid') or 'unknown'}"
        case "agent.left":
            return "off", f"{component} said goodbye", "agent left"
        case "agent.lost":
            return "bad", f"{component} gives no sign of life", "agent lost: no heartbeat"
        case "app.started":
            return "ok", "WinClaw started", f"version {event.get('version', '')}"
        case "app.stopped":
            return "off", "WinClaw was stopped", f"version {event.get('version', '')}"
        case "config.refused":
            return "warn", "The configuration has errors", " · ".join(map(str, event.get("problems", [])[:2]))
        case "journal.set_aside":
            return "bad", str(event.get("message", "The journal was set aside")), str(event.get("file", ""))
        case other:
            return "info", str(other), component


def _first_line(message: str) -> str:
    first = message.strip().partition("\n")[0]
    return first if len(first) <= 160 else f"{first[:159]}…"


def with_line(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as the browser gets it: with its words."""
    return {**event, "line": line(event)}


def group(row: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """One group of errors, with its spark line."""
    tone = severity_tone(str(row["severity"]))
    return {**row, "tone": tone, "shape": SHAPES[tone], "title": _first_line(str(row["message"])), "spark": spark(counts)}


def spark(counts: Sequence[int], width: int = 120, height: int = 22) -> str:
    """The path of a spark line (SVG) over ``counts``, oldest first; flat at the bottom when all are 0."""
    top = max(counts, default=0) or 1
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
    last = now.replace(second=0, microsecond=0)
    return [(int((last - timedelta(minutes=length - 1 - n)).timestamp()), count) for n, count in enumerate(counts)]


def minute_text(seconds: int) -> str:
    """``14:05`` (UTC) for a moment in seconds since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"


@dataclass
class KindNode:
    """One branch of the taxonomy as far as there are errors in it."""

    kind: str
    name: str
    count: int = 0
    below: list[KindNode] = field(default_factory=list)


def kind_tree(counts: Mapping[str, int]) -> list[KindNode]:
    """The taxonomy as a tree to filter by; each branch counts what is below it, too."""
    nodes: dict[str, KindNode] = {}
    roots: list[KindNode] = []
    for kind, count in sorted(counts.items()):
        parts = kind.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            if path not in nodes:
                nodes[path] = KindNode(path, parts[depth - 1].replace("_", " "))
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
