"""What is reported, made to fit what WinClaw takes: names, texts, numbers, and all of it together. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from resilience.agent.texts import as_name, cut
from resilience.context import message_of

_MAX_BYTES: Final = 900_000
"""Of one report; WinClaw takes 1,000,000 in one request."""
_MAX_VALUES: Final = 20_000
_MAX_DEPTH: Final = 20
_LIMITS: Final = {"type": 200, "component": 200, "operation": 200, "message": 10_000, "reason": 10_000, "stack": 120_000}


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """``metadata`` as every JSON reader takes it; what cannot be read says so."""
    left = [_MAX_VALUES]
    return {as_name(message_of(name)): _plain(value, 0, left) for name, value in metadata.items()}


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        return "[too much]"
    if value is None or isinstance(value, bool):
        return value
    try:
        if isinstance(value, str):
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**63 else message_of(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else message_of(value)
        if isinstance(value, (Mapping, list, tuple)) and depth >= _MAX_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {as_name(message_of(name)): _plain(item, depth + 1, left) for name, item in value.items() if left[0] >= 0}
        if isinstance(value, (list, tuple)):
            return [_plain(item, depth + 1, left) for item in value if left[0] >= 0]
        return _plain(message_of(value), depth, left)
    except Exception as fault:  # a value of the user's that cannot be looked at
        return f"(a {type(value).__name__} that cannot be read: {type(fault).__name__})"


def fit(report: dict[str, Any]) -> dict[str, Any]:
    """``report``, from which secrets have been taken out, within WinClaw's limits; the largest values go first."""
    told: Any = report
    while isinstance(told, dict):
        for name in told.keys() & _LIMITS.keys():
            told[name] = cut(told[name], _LIMITS[name])
        told["metadata"] = {as_name(name): value for name, value in told["metadata"].items()}
        told = told.get("cause")
    too_much = _size(report) - _MAX_BYTES
    if too_much <= 0:
        return report
    metadata = report["metadata"]
    sizes = {name: _size(value) for name, value in metadata.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if too_much <= 0:
            return report
        metadata[name] = f"(left out: {sizes[name]:,} bytes)"
        too_much -= sizes[name] - _size(metadata[name])
    if too_much > 0:  # texts that JSON makes six times as long, or names alone
        report["metadata"] = {"left_out": f"{len(metadata)} values, and causes"}
        report["stack"] = cut(report["stack"], 20_000)
        report.pop("cause", None)
    return report


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), default=message_of))
