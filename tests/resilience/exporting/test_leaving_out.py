"""Secrets are left out of states and of YAML where they stand; all that hides nothing is the very same afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from resilience.config.cleaning import clean_yaml
from resilience.config.file import parse
from resilience.config.settings import Settings
from resilience.exporting.leaving_out import Clean
from resilience.redaction import REDACTED, Redactor

KEY = "sk-abcdefghijklmnopqrstuvwxyz"
DEFAULT = (Path(__file__).parents[3] / "resilience" / "config" / "default.yaml").read_text("utf-8")


def cleaned(text: str, *names: str) -> tuple[str, list[str]]:
    clean = Clean(Redactor(names))
    return clean_yaml(text, clean), clean.places


@pytest.mark.parametrize(("state", "after", "places"), [
    ({"token": "x"}, {"token": REDACTED}, ["$.token"]), ([{"a b": {"pwd": 5}}], [{"a b": {"pwd": REDACTED}}], ["$[0]['a b'].pwd"]),
    ({KEY: 1, f"{KEY}2": 2}, {REDACTED: 1, f"{REDACTED} 2": 2}, ["a key of $", "a key of $"]),
    ({"x" * 70: {"pwd": "y"}, "a-b": {"pwd": "y"}}, {"x" * 70: {"pwd": REDACTED}, "a-b": {"pwd": REDACTED}}, ["$." + "x" * 70 + ".pwd", "$['a-b'].pwd"]),
    ({"token": True, "pwd": "", "secret": None, "auth": [], "cookie": 0}, None, []), ({"token": "env:X", "pwd": "keyring:a.b-c"}, None, []),
    ({"token": " env:X"}, {"token": REDACTED}, ["$.token"]), ({"token": REDACTED}, None, []), (f"use {KEY}", f"use {REDACTED}", ["$"]),
    ({"token": {"a": 1}}, {"token": REDACTED}, ["$.token"]), ("\x01\u202e odd", None, []), (f"\x01{KEY}", f"\ufffd{REDACTED}", ["$"]),
    ("a.b.pwd: x: 1 → 2", "a.b.pwd: [redacted] → another one", ["$"]),
    ("a.my token: 1 → 2", "a.my token: [redacted] → another one", ["$"]), ("a.token: [redacted] → another one", None, []), ("a.b: 1 → 2", None, []),
    ("a.token: 123\nb → c", "a.token: [redacted]\nb → c", ["$"]), ("token: → 1", None, []),
    (1.5, None, []), (None, None, []), ({"passphrase": "x"}, {"passphrase": REDACTED}, ["$.passphrase"]),
])  # fmt: skip
def test_a_secret_is_left_out_where_it_stands(state: Any, after: Any, places: list[str]) -> None:
    clean = Clean(Redactor(["passphrase"]))
    found = clean.value(state)
    assert clean.places == places
    if after is None:
        assert found is state
    else:
        assert found == after


def test_a_long_name_is_told_in_short_and_without_secrets() -> None:
    clean = Clean(Redactor())
    assert (clean.shown("a" * 60), clean.shown("a" * 61)) == ("a" * 60, "a" * 60 + "…")
    assert clean.shown(KEY) == REDACTED


@pytest.mark.parametrize(("text", "after", "places"), [
    ("a: &x hunter2\npassword: *x\n", 'a: &x "[redacted]"\npassword: *x\n', 1),
    ("api_key: |\n  very\n  secret\nb: 1\n", 'api_key: "[redacted]"\n\n\nb: 1\n', 1),
    (f"k: !!str {KEY}\n", 'k: !!str "[redacted]"\n', 1),
    ("{a: [1, 2], token: 5, auth: true, secret: null, pwd: ''}", '{a: [1, 2], token: "[redacted]", auth: true, secret: null, pwd: \'\'}', 1),
    ("credentials:\n- one\n- two: 3\n", 'credentials:\n- "[redacted]"\n- two: "[redacted]"\n', 2),
    ("url: https://me:hunter2@host/x # password: hunter2\r\n", 'url: "https://me:[redacted]@host/x" # password: [redacted]\r\n', 2),
    ("\ufefftoken: abc", '\ufefftoken: "[redacted]"', 1),
    ("token: env:TOKEN # token: env:OTHER\n", "token: env:TOKEN # token: env:OTHER\n", 0),
    ("- bot\n- --api-key\n- hunter2\n- --mine\n", '- bot\n- --api-key\n- "[redacted]"\n- --mine\n', 1),
    ("c: [x, --password, hunter2, --token, env:A, --pwd, {a: b}]\n", 'c: [x, --password, "[redacted]", --token, env:A, --pwd, {a: "[redacted]"}]\n', 2),
    ("a: [\npassword=hunter2\n", "a: [\npassword=[redacted]\n", 1),
    ("a: &a [*a, {token: x}]\n", 'a: &a [*a, {token: "[redacted]"}]\n', 1),
])  # fmt: skip
def test_a_text_of_yaml_keeps_its_lines_and_all_that_hides_nothing(text: str, after: str, places: int) -> None:
    assert (cleaned(text)[0], len(cleaned(text)[1])) == (after, places)
    assert after.count("\n") == text.count("\n")
    assert cleaned(after)[0] == after


def test_nothing_of_the_file_of_a_first_run_is_taken_for_a_secret() -> None:
    assert cleaned(DEFAULT) == (DEFAULT, [])


def test_no_setting_has_a_name_by_which_its_value_would_be_left_out() -> None:
    """But for those that hold references; else a configuration would not be one any more when it was restored."""

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return {*value, *(name for one in value.values() for name in names(one))}
        return set()

    table = json.loads(json.dumps(yaml.safe_load(DEFAULT)))
    assert {name for name in names(table) if isinstance(name, str) and Redactor().is_secret(name)} <= {"secret"}
    assert isinstance(parse(DEFAULT), Settings)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab. é\x01", max_size=4), inner, max_size=3)))
def test_a_state_without_secrets_is_the_very_same(value: Any) -> None:
    clean = Clean(Redactor())
    assert clean.value(value) is value
    assert clean.places == []


@given(st.dictionaries(st.sampled_from(["a", "token", "api_key", KEY, f"{KEY}2", "x y"]), st.sampled_from([1, "", None, True, "text", KEY, [KEY], {"pwd": "x"}, {"a": []}]), max_size=5))
def test_what_is_left_out_is_left_out_for_good_and_nothing_is_lost_beside_it(value: dict[str, Any]) -> None:
    clean = Clean(Redactor())
    after = clean.value(value)
    assert KEY not in json.dumps(after)
    assert len(after) == len(value)
    again = Clean(Redactor())
    assert again.value(after) is after
    assert (clean.places == []) == (after is value)


@given(st.text("abe:#\n -[]{}'\"|>&*!tokn", max_size=40))
def test_any_text_is_cleaned_and_what_was_yaml_still_is(text: str) -> None:
    after, places = cleaned(text)
    assert (places == []) == (after == text)
    try:
        yaml.compose(text)
    except (yaml.YAMLError, ValueError):
        return
    yaml.compose(after)
