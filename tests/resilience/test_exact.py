"""JSON that is read again exactly, or refused with its place. Pure; more of it where it is used, in the outbox's payloads."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.exact import MAX_DEPTH, InexactError, exact_json

HALVES = st.text(st.sampled_from("a\U0001f600\ud83d\ude00\udfff"), max_size=4)


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["\U0001f600", "\ud83d", "\ude00\ud83d", {"\ude00": 1}, nested(MAX_DEPTH), -0.0, 2**70, True])
def test_what_json_holds_is_read_again_as_it_was(value: Any) -> None:
    assert repr(json.loads(exact_json(value, "state"))) == repr(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("\ud800\udc00", "state holds two halves of a character side by side, which JSON reads as one whole character"),
        (["a", "x\udbff\udfffy"], "state[1] holds two halves of"),
        ({"b": {"\ud83d\ude00": 1}}, "the key '\\ud83d\\ude00' of state['b'] holds two halves of"),
        ({"a": [math.nan]}, "state['a'][0] is nan, which JSON cannot hold; give None or a text instead"),
        ({"a": {2: 1}}, "state['a'] has the key 2, a int; keys in JSON are texts"),
        ([(1,)], "state[0] is a builtins.tuple, which JSON cannot hold exactly; make it of dict, list, str, int, float, bool and None"),
        (nested(MAX_DEPTH + 1), "the state nests deeper than 100 levels, or holds itself: state[0][0]"),
        ({"a": nested(MAX_DEPTH)}, "the state nests deeper than 100 levels, or holds itself: state['a'][0]"),
        ([10**5000], "the state cannot be written as JSON: "),
    ],
)
def test_what_it_would_change_is_refused_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(InexactError) as refusal:
        exact_json(value, "state")
    assert str(refusal.value).startswith(said)
    assert len(str(refusal.value)) < 300


@given(st.recursive(HALVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HALVES, inner, max_size=3), max_leaves=5))
def test_whatever_is_taken_is_read_again_as_it_was(value: object) -> None:
    try:
        text = exact_json(value, "state")
    except InexactError:
        return
    assert repr(json.loads(text)) == repr(value)
    assert text.isascii()
