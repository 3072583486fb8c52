"""What a message may hold, and when it may leave; test_delivery has how it leaves."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.exact import MAX_DEPTH
from resilience.outbox.message import (
    MAX_LIFETIME_S,
    Pace,
    UnfitMessageError,
    fit_lifetime_s,
    fit_name,
    fit_payload,
    pause_s,
    rate_per_s,
)
from resilience.policies import OutboxLimits

LIMITS = OutboxLimits(drain_per_s=20.0)


class Colour(IntEnum):
    RED = 1


def nested(levels: int) -> Any:
    """A list in a table in a list …, so many below the outermost."""
    value: Any = []
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


@pytest.mark.parametrize("name", ["a", "x" * 200, "ключ", "a b"])
def test_a_name_is_any_text_of_up_to_200_characters(name: str) -> None:
    fit_name("key", name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (7, "channel must be a text of 1 to 200 characters, not int"),
        (b"mail", "channel must be a text of 1 to 200 characters, not bytes"),
        ("", "channel must have 1 to 200 characters; it has 0: ''"),
        ("x" * 201, f"channel must have 1 to 200 characters; it has 201: '{'x' * 40}'"),
        ("\ud800", "channel '\\ud800' holds half a character (a lone surrogate), which is no text"),
    ],
)
def test_another_is_refused_and_told_what_is_wrong_with_it(name: object, said: str) -> None:
    with pytest.raises(UnfitMessageError) as refusal:
        fit_name("channel", name)
    assert str(refusal.value) == said


@pytest.mark.parametrize("seconds", [0.001, 1, MAX_LIFETIME_S])
def test_a_message_may_live_for_up_to_ten_years(seconds: float) -> None:
    found = fit_lifetime_s(seconds)
    assert found == seconds
    assert type(found) is float


@pytest.mark.parametrize("seconds", [0, -1, MAX_LIFETIME_S + 1, math.inf, math.nan, "60", None])
def test_any_other_lifetime_is_refused(seconds: Any) -> None:
    with pytest.raises(UnfitMessageError, match="at most 315360000 seconds"):
        fit_lifetime_s(seconds)


@pytest.mark.parametrize(
    "payload",
    [
        None, True, 0, -1, 1.5, "", "ü\n\ud800", [], {}, [1, [2, {"a": None}]], {"": {"b": [False, 2.5, "c"]}}, nested(MAX_DEPTH),
    ],
)  # fmt: skip
def test_what_json_holds_exactly_is_taken_and_read_back_the_same(payload: Any) -> None:
    text = fit_payload(payload, 256)
    assert json.loads(text) == payload
    assert text.isascii()
    assert ", " not in text, "no byte is wasted on spaces"
    assert ": " not in text


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ((1, 2), "payload is a builtins.tuple,"),
        ({"to": [{"at": datetime(2026, 1, 1, tzinfo=UTC)}]}, "payload['to'][0]['at'] is a datetime.datetime,"),
        ([0, {1}], "payload[1] is a builtins.set,"),
        (Colour.RED, f"payload is a {__name__}.Colour,"),  # read back, it would be a plain 1
        (OrderedDict(), "payload is a collections.OrderedDict,"),
        (math.nan, "payload is nan,"),
        ({"a": [math.inf]}, "payload['a'][0] is inf,"),
        ([-math.inf], "payload[0] is -inf,"),
        ({1: "x"}, "payload has the key 1, a int;"),
        ({"a": {None: 1}}, "payload['a'] has the key None, a NoneType;"),
        (nested(MAX_DEPTH + 1), "the payload nests deeper than 100 levels, or holds itself: payload['in'][0]['in'][0]"),
        ([10**5000], "the payload cannot be written as JSON: "),
    ],
)
def test_what_it_would_change_or_cannot_hold_is_refused_with_its_place(payload: Any, said: str) -> None:
    with pytest.raises(UnfitMessageError) as refusal:
        fit_payload(payload, 256)
    assert str(refusal.value).startswith(said)


def test_a_payload_that_holds_itself_is_refused_with_a_message_that_can_be_read() -> None:
    loop: dict[str, Any] = {}
    loop["a_long_name"] = [loop]
    with pytest.raises(UnfitMessageError) as refusal:
        fit_payload(loop, 256)
    assert str(refusal.value).endswith("…")
    assert len(str(refusal.value)) < 300


def test_the_limit_is_for_the_json_in_thousands_of_bytes() -> None:
    """Two quotes belong to it."""
    assert len(fit_payload("x" * 1998, 2)) == 2000
    with pytest.raises(UnfitMessageError, match=r"2\.0 kB as JSON, and 2 kB is the limit"):
        fit_payload("x" * 1999, 2)
    with pytest.raises(UnfitMessageError, match=r"250\.0 kB as JSON, and 2 kB is the limit"):
        fit_payload("x" * 249_998, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=20,
)


@given(JSON)
def test_an_accepted_payload_is_read_back_exactly(payload: object) -> None:
    assert repr(json.loads(fit_payload(payload, 256))) == repr(payload)


# The pace of a channel


@pytest.mark.parametrize(("draining_s", "per_s"), [(0, 2), (2.9, 2), (3, 4), (6, 8), (9, 16), (12, 20), (1e9, 20)])
def test_who_has_just_come_back_gets_a_tenth_of_the_pace_doubled_every_three_seconds(draining_s: float, per_s: float) -> None:
    assert rate_per_s(LIMITS, draining_s) == per_s
    assert type(rate_per_s(OutboxLimits(drain_per_s=20), draining_s)) is float


@pytest.mark.parametrize(("drain_per_s", "draining_s", "per_s"), [(5, 0, 1), (5, 3, 2), (0.5, 0, 0.5), (0.5, 30, 0.5)])
def test_it_begins_at_one_a_second_unless_the_pace_itself_is_slower(drain_per_s: float, draining_s: float, per_s: float) -> None:
    assert rate_per_s(OutboxLimits(drain_per_s=drain_per_s), draining_s) == per_s


def test_a_very_fast_channel_gets_up_to_speed_too() -> None:
    assert rate_per_s(OutboxLimits(drain_per_s=10_000), 12) == 10_000


def test_one_that_comes_alone_leaves_at_once_and_several_at_the_pace() -> None:
    assert Pace().next_s == -math.inf
    assert Pace().after_one(LIMITS, 100.0, more=False) == Pace()
    assert Pace().after_one(LIMITS, 100.0, more=True) == Pace(next_s=100.05)


def test_where_messages_had_to_wait_the_first_ones_leave_slowly() -> None:
    pace, now_s, leaves = Pace().held(), 100.0, []
    assert pace == Pace(slow=True)
    for _ in range(20):
        pace = pace.after_one(LIMITS, now_s, more=True)
        leaves.append(round(pace.next_s - now_s, 4))
        now_s = pace.next_s
    assert (pace.slow, pace.since_s) == (True, 100.0)
    assert leaves == [0.5] * 6 + [0.25] * 12 + [0.125] * 2


def test_when_all_have_left_the_next_one_alone_is_not_held_back_for_long() -> None:
    slow = Pace().held().after_one(LIMITS, 100.0, more=True)
    done = slow.after_one(LIMITS, 100.5, more=False)
    assert done == Pace(next_s=101.0)
    assert done.after_one(LIMITS, 101.0, more=False) == Pace()


def test_to_be_held_again_begins_slowly_again_but_no_sooner_than_it_was_allowed() -> None:
    slow = Pace().held().after_one(LIMITS, 100.0, more=True)
    assert slow.held() == Pace(slow=True, since_s=None, next_s=100.5)


@pytest.mark.parametrize(
    ("failures", "chance", "asked_s", "expected_s"),
    [
        *((failures, 0.0, None, seconds) for failures, seconds in enumerate([1, 2, 4, 8, 16, 32, 60, 60], 1)),
        (10**6, 0.0, None, 60),
        (1, 1.0, None, 0.5),
        (4, 1.0, None, 4),
        (4, 0.5, None, 6),
        (4, 1.0, 0.0, 4),
        (4, 1.0, 3.0, 4),
        (4, 1.0, 90.0, 90),
        (4, 0.0, 1e9, 3600),
    ],
)
def test_a_channel_rests_longer_after_each_failure_and_as_long_as_it_was_asked_to(
    failures: int, chance: float, asked_s: float | None, expected_s: float
) -> None:
    assert pause_s(failures, chance, asked_s) == expected_s


@given(st.floats(0.01, 10_000), st.lists(st.floats(0, 1e6), min_size=2))
def test_the_pace_grows_and_never_exceeds_its_limit(drain_per_s: float, draining_s: list[float]) -> None:
    rates = [rate_per_s(OutboxLimits(drain_per_s=drain_per_s), seconds) for seconds in sorted(draining_s)]
    assert rates == sorted(rates)
    assert 0 < rates[-1] <= drain_per_s


def test_the_last_of_a_slow_drain_still_keeps_its_distance() -> None:
    pace = Pace().held().after_one(OutboxLimits(), 10.0, more=True)
    assert (pace.slow, pace.since_s, pace.next_s) == (True, 10.0, 11.0)
    assert pace.after_one(OutboxLimits(), 11.0, more=False) == Pace(next_s=12.0)


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_a_pause_has_bounds(failures: int, chance: float, asked_s: float | None) -> None:
    assert 0.5 <= pause_s(failures, chance, asked_s) <= 3600
    assert pause_s(failures, chance) <= 60
