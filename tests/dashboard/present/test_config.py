"""The versions of the configuration, in words."""

from __future__ import annotations

from typing import Any

import pytest

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
