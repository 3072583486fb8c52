"""The versions of the configuration at a terminal of eighty columns."""

from __future__ import annotations

from typing import Any

from tray.config_words import roll_back_lines, version_lines

VIEW: dict[str, Any] = {
    "version": 12, "at": "2026-01-02T03:04:05.000000Z", "author": "saved in the file", "origin": "ada", "changed": [],
    "outcome": "in force", "in_force": True, "trouble": "", "restores": None,
}  # fmt: skip


def test_each_version_with_when_who_outcome_and_what_changed() -> None:
    first = VIEW | {"version": 1, "author": "first run", "origin": "", "outcome": "replaced by 12"}
    again = VIEW | {"author": "dashboard", "origin": "127.0.0.1", "restores": 1, "changed": ["a.b: 1 → 2"]}
    assert list(version_lines([again, first])) == [
        "  12  2026-01-02 03:04 UTC  dashboard (127.0.0.1), version 1 again", "      in force", "      a.b: 1 → 2",
        "   1  2026-01-02 03:04 UTC  first run", "      replaced by 12",
    ]  # fmt: skip


def test_of_many_changes_the_first_are_listed_and_how_to_see_the_others() -> None:
    changed = [f"a.{number}: 1 → 2" for number in range(6)]
    assert list(version_lines([VIEW | {"changed": changed[:4]}]))[2:] == [f"      {one}" for one in changed[:4]]
    last = list(version_lines([VIEW | {"changed": changed}]))[-1]
    assert last == "      and 2 more: winclaw config show --version 12 --diff"


def test_what_is_long_is_wrapped() -> None:
    long = "a-rather-long-setting.with.many-parts: one two three four five six → seven eight nine ten eleven twelve"
    said = list(version_lines([VIEW | {"changed": [long], "outcome": f"followed by trouble: {'very ' * 20}bad", "origin": "x " * 40}]))
    assert max(map(len, said)) < 80
    assert " ".join(" ".join(said).split()).endswith(" ".join(long.split()))
    assert said[1].startswith("      x")
    assert [line for line in said if line.startswith("          ")]


def test_lines_are_filled_and_broken_at_spaces_only() -> None:
    option = "--an-option-of-many-words-that-ends-up-on-a-line-of-its-own"
    changed = [f"{'x' * 63} {'y' * 9} z", f"processes.bot.command: {option}"]
    assert list(version_lines([VIEW | {"changed": changed}]))[2:] == [
        f"      {'x' * 63} {'y' * 9}", "          z", "      processes.bot.command:", f"          {option}",
    ]  # fmt: skip
    outcome = f"followed by trouble: {'x' * 52} y"
    assert list(version_lines([VIEW | {"outcome": outcome}]))[1:] == [f"      {outcome[:-2]}", "        y"]
    assert list(roll_back_lines(3, [changed[0]]))[1:] == [f"  {changed[0]}"]
    assert list(roll_back_lines(3, [f"{changed[0]} and more"]))[2] == "      and more"


def test_what_a_roll_back_changes_is_said_first() -> None:
    assert list(roll_back_lines(3, [])) == ["Version 3 has the same settings as what is in force."]
    assert list(roll_back_lines(3, ["a.b: 1 → 2"])) == ["Version 3 changes, against what is in force:", "  a.b: 1 → 2"]
    assert [line[:6] for line in list(roll_back_lines(3, ["a " * 60]))[1:]] == ["  a a ", "      "]
