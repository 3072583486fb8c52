"""The versions of the configuration, in words."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.present import config
from dashboard.present.config import lines, said, version, who

VIEW: dict[str, Any] = {
    "version": 7, "at": "2026-01-01T00:00:00Z", "author": "saved in the file", "origin": "ada", "changed": [], "outcome": "in force",
    "in_force": True, "trouble": "", "restores": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "tone", "shape"),
    [
        ({}, "ok", "dot"),
        ({"trouble": "it burns"}, "warn", "tri"),
        ({"in_force": False}, "off", "dash"),
        ({"in_force": False, "trouble": "it burns"}, "warn", "tri"),
    ],
)
def test_where_it_stands_is_seen_by_colour_and_shape(changes: dict[str, Any], tone: str, shape: str) -> None:
    shown = version(VIEW | changes)
    assert (shown["tone"], shown["shape"], shown["version"], shown["outcome"]) == (tone, shape, 7, "in force")


@pytest.mark.parametrize(("count", "first", "more"), [(0, 0, 0), (3, 3, 0), (4, 3, 1), (9, 3, 6)])
def test_of_many_changes_the_first_are_shown(count: int, first: int, more: int) -> None:
    changed = [f"a.{number}: 1 → 2" for number in range(count)]
    shown = version(VIEW | {"changed": changed})
    assert (shown["first"], shown["more"]) == (changed[:first], more)


def test_who_made_it_and_from_where() -> None:
    assert who(VIEW) == version(VIEW)["who"] == "saved in the file (ada)"
    assert who(VIEW | {"author": "first run", "origin": ""}) == "first run"
    assert who(VIEW | {"author": "healing", "origin": "heal 5", "restores": 6}) == "healing (heal 5): version 6 again"


def test_trouble_without_words_is_told_all_the_same() -> None:
    assert said({"type": "config.trouble"}) == ("warn", "Trouble followed a version of the configuration", "")


def test_lines_come_go_and_say_where_they_are() -> None:
    assert lines(["@@ -1 +1 @@", " a", "-b", "+c", ""]) == [
        ("place", "@@ -1 +1 @@"), ("", " a"), ("gone", "-b"), ("come", "+c"), ("", ""),
    ]  # fmt: skip


def row(key: str, value: str, default: str = "1", **more: object) -> dict[str, object]:
    one = {
        "path": f"retry.{key}", "section": "retry", "key": key, "table": "", "entry": "", "meaning": "what", "unit": "",
        "value": value, "default": default, "differs": value != default, "source": "default", "line": None, "name": "",
        "found": None, "waits": False,
    }  # fmt: skip
    return {**one, **more}


def test_settings_stand_by_section_and_tell_where_they_come_from() -> None:
    each = [
        row("a", "1"), row("b", "2", source="configuration", line=7), row("c", "2"),
        row("d", "env:X", source="environment", name="X", found=False, line=3),
        row("e", "keyring:x", source="keyring", name="x", line=4), row("f", "9", source="command", name="8"),
    ]  # fmt: skip
    found = {one["name"]: one for one in config.sections(each, None)}
    assert [*found][:3] == ["classification", "circuit_breaker", "retry"]
    assert found["retry"]["changed"] == 5
    assert [one["from"] for one in found["retry"]["rows"]] == [
        "default", "line 7", "the configuration", "environment variable X, which is not set, line 3",
        "entry x of the key store, line 4", "winclaw run --port, or 8 was taken",
    ]  # fmt: skip
    assert [one["version"] for one in found["retry"]["rows"]] == [None] * 6
    assert found["classification"] == {
        "name": "classification", "purpose": "How errors are judged.", "rows": [], "tables": [], "changed": 0,
    }  # fmt: skip


def test_of_a_version_the_line_is_its_own() -> None:
    (one,) = next(one for one in config.sections([row("b", "2", source="configuration", line=7)], 3) if one["rows"])["rows"]
    assert (one["from"], one["version"]) == ("version 3, line 7", 3)


def test_an_entry_shows_what_it_has_of_its_own() -> None:
    table = {"table": "retry.strategies"}
    each = [
        row("strategies", "2 entries", "2 entries", **table),
        row("tries", "3", "3", **table, entry="<name>"), row("pause", "1", "1", **table, entry="<name>"),
        row("tries", "3", "3", **table, entry="net"), row("pause", "2", "2", **table, entry="net"),
        row("tries", "3", "5", **table, entry="disk"), row("pause", "1", "1", **table, entry="disk", line=4),
    ]  # fmt: skip
    section = next(one for one in config.sections(each, None) if one["tables"])
    (one,) = section["tables"]
    assert {name: [pair["key"] for pair in told] for name, told in one["entries"].items()} == {
        "net": ["pause"], "disk": ["tries", "pause"],
    }  # fmt: skip
    assert [key["key"] for key in one["keys"]] == ["tries", "pause"]
    assert (section["changed"], one["changed"], section["rows"]) == (1, 1, [])


def test_entries_that_begin_with_their_neighbour_are_held_against_that() -> None:
    each = [
        row("default.tries", "4", "4"), row("services", "1 entry", "1 entry", table="retry.services"),
        row("tries", "4", "4", table="retry.services", entry="a"), row("tries", "1", "1", table="retry.services", entry="b"),
    ]  # fmt: skip
    (one,) = next(one for one in config.sections(each, None) if one["tables"])["tables"]
    assert {name: len(told) for name, told in one["entries"].items()} == {"a": 0, "b": 1}


def test_the_port_is_the_one_that_it_has() -> None:
    one = row("port", "8765", "8765", source="default")
    assert config.with_port(one, "8765") == one
    other = config.with_port(one, "8766")
    assert (other["value"], other["differs"], other["source"], other["name"]) == ("8766", True, "command", "8765")
