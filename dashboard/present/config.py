"""The versions of the configuration, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dashboard.present.words import mark
from resilience.config import explained

_SHOWN: Final = 3


def sections(each: Iterable[Mapping[str, Any]], number: int | None) -> list[dict[str, Any]]:
    """The settings by section: what stands by itself in ``rows``, and the tables with their entries.

    Of an entry, what it has other than a new one begins with, and what is set in it; what is left out is as ``keys`` say.

    Args:
        number: the version whose text the lines are of; None: they are the file's.
    """
    by_section: dict[str, list[Mapping[str, Any]]] = {}
    for one in each:
        by_section.setdefault(one["section"], []).append(one)
    return [_section(name, purpose, by_section.get(name, []), number) for name, purpose in explained.sections().items()]


def _section(name: str, purpose: str, each: list[Mapping[str, Any]], number: int | None) -> dict[str, Any]:
    rows = [_setting(one, number) for one in each if not one["table"]]
    heads = [one for one in each if one["table"] and not one["entry"]]
    tables = [_table(one, [other for other in each if other["table"] == one["table"]], rows, number) for one in heads]
    changed = sum(row["differs"] for row in rows) + sum(table["changed"] for table in tables)
    return {"name": name, "purpose": purpose, "rows": rows, "tables": tables, "changed": changed}


def _table(
    head: Mapping[str, Any], each: list[Mapping[str, Any]], beside: list[dict[str, Any]], number: int | None
) -> dict[str, Any]:
    keys = [_setting(one, number) for one in each if one["entry"] == explained.NEW]
    usual = {one["key"]: one["value"] for one in keys}
    if not keys:  # they begin with what stands beside them
        usual = {one["key"].removeprefix("default."): one["value"] for one in beside if one["key"].startswith("default.")}
    entries: dict[str, list[dict[str, Any]]] = {}
    for one in each:
        if one["entry"] not in ("", explained.NEW):
            told = entries.setdefault(one["entry"], [])
            if one["line"] is not None or one["differs"] or one["value"] != usual.get(one["key"], "none"):
                told.append(_setting(one, number))
    changed = sum(one["differs"] for told in entries.values() for one in told)
    return {**_setting(head, number), "entries": entries, "keys": keys, "changed": max(changed, int(head["differs"]))}


def _setting(one: Mapping[str, Any], number: int | None) -> dict[str, Any]:
    """One setting: where its value comes from, in words."""
    version = number if one["line"] is not None else None
    line = f", line {one['line']}" if one["line"] is not None else ""
    match one["source"]:
        case "environment":
            there = {True: ", which is set", False: ", which is not set"}.get(one["found"], "")
            source = f"environment variable {one['name']}{there}{line}"
        case "keyring":
            source = f"entry {one['name']} of the key store{line}"
        case "command":
            source = f"winclaw run --port, or {one['name']} was taken{line}"
        case "configuration":
            source = f"line {one['line']}" if version is None else f"version {version}{line}"
        case "default" if one["differs"]:
            source = "the configuration"  # whose text is not known any more
        case other:
            source = other
    return {**one, "from": source, "version": version}


def with_port(one: Mapping[str, Any], port: str) -> dict[str, Any]:
    """The dashboard's port as it is, where it is not the one that is set: that was taken, or another was asked for."""
    if one["value"] == port:
        return {**one}
    return {**one, "value": port, "differs": port != one["default"], "source": "command", "name": one["value"]}


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
