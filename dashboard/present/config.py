"""The versions of the configuration, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dashboard.present.words import mark

_SHOWN: Final = 3


def version(view: Mapping[str, Any]) -> dict[str, Any]:
    """One version: who made it, the first of what changed, and where it stands, by tone and shape."""
    tone = "warn" if view["trouble"] else "ok" if view["in_force"] else "off"
    changed = view["changed"]
    return {
        **view, "tone": tone, "shape": mark(tone)[1], "who": who(view), "first": changed[:_SHOWN],
        "more": max(len(changed) - _SHOWN, 0),
    }  # fmt: skip


def who(view: Mapping[str, Any]) -> str:
    """``saved in the file (ada)``"""
    origin = f" ({view['origin']})" if view["origin"] else ""
    again = f": version {view['restores']} again" if view["restores"] is not None else ""
    return f"{view['author']}{origin}{again}"


def lines(difference: list[str]) -> list[tuple[str, str]]:
    """Each line of a difference, with what it is: ``come``, ``gone``, ``place`` or nothing."""
    kinds = {"+": "come", "-": "gone", "@": "place"}
    return [(kinds.get(line[:1], ""), line) for line in difference]


def said(event: Mapping[str, Any]) -> tuple[str, str, str]:
    """An event of the configuration: tone, text, detail."""
    later = ", ".join(map(str, event.get("from_next_start", [])))
    changed = f"{', '.join(map(str, event.get('changed', []))) or 'nothing'} changed"
    changed = f"{changed}; {later} from the next start on" if later else changed
    number = f"version {event['version']}" if event.get("version") else ""
    match event["type"]:
        case "config.trouble":
            return "warn", f"Trouble followed {number or 'a version'} of the configuration", str(event.get("what", ""))
        case "config.rolled_back":
            text = f"The configuration was rolled back to version {event.get('restores')}"
            return "warn", text, _joined(event.get("because"), f"by {event.get('author')}", changed)
        case _:
            return "info", "Another configuration is in force", _joined(changed, number, event.get("author"))


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)
