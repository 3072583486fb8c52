"""Stored errors, for people: what they mean, in groups, as a tree, over time, in a file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from dashboard.present.words import SEVERITIES, first_line, mark
from resilience.errors import TAXONOMY

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


def group(row: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """One group of errors, with its spark line and its kind's meaning."""
    tone, shape = SEVERITIES.get(row["severity"], mark("off"))
    title = first_line(row["message"]) or row["type"]
    return {**row, "tone": tone, "shape": shape, "title": title, "meaning": meaning(row["kind"]), "spark": spark(counts)}


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


def minute_series(minutes: Iterable[tuple[str, str, int]], now: datetime, length: int = 60) -> list[tuple[int, str, int]]:
    """(seconds since 1970, ``14:05`` in UTC, errors) for each of the last ``length`` minutes, oldest first."""
    counts = per_bucket(minutes, now, length, 1).get("", [0] * length)
    first_s = int(now.timestamp()) // 60 * 60 - 60 * (length - 1)
    moments = (first_s + 60 * number for number in range(length))
    return [(at, f"{datetime.fromtimestamp(at, UTC):%H:%M}", count) for at, count in zip(moments, counts, strict=True)]


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


def details(error: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an error as text, and apart from that the ``log`` that came with it."""
    metadata = dict(error.get("metadata") or {})
    log = metadata.pop("log") if isinstance(metadata.get("log"), str) else ""
    return {"log": log, "metadata": msgspec.json.format(msgspec.json.encode(metadata)).decode() if metadata else ""}


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
