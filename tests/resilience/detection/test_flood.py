"""One error a thousand times a second: told at once, then counted."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from resilience.detection.flood import Collapser
from resilience.detection.lines import Finding


def finding(message: str = "it failed", kind: str = "LogError", offset: int = 0, **facts: Any) -> Finding:
    return Finding(kind, message, "ERROR", offset, facts=facts)


def counted(last: Finding, count: int) -> Finding:
    return replace(last, facts={**last.facts, "repeated": count})


def test_the_first_is_told_at_once_and_of_the_others_the_last_with_their_number() -> None:
    """When the time from the first one is up; what comes later is a first one again."""
    collapser = Collapser()
    first, second, third = (finding(offset=at, code="E1") for at in (1, 2, 3))
    assert collapser.take(first, 100.0) == [first]
    assert collapser.take(second, 101.0) == []
    assert collapser.take(third, 109.0) == []
    assert collapser.due(109.9) == []
    assert collapser.due(110.0) == [counted(third, 2)]
    assert collapser.due(1000.0) == []
    assert collapser.take(second, 1000.0) == [second]


def test_what_came_only_once_is_not_told_again() -> None:
    collapser = Collapser()
    once, twice = finding("once"), finding("twice")
    for one in (once, twice, twice):
        collapser.take(one, 0.0)
    assert collapser.due(9.9) == []
    assert collapser.due(10.0) == [counted(twice, 1)]
    assert collapser.take(once, 10.0) == [once]


@pytest.mark.parametrize(
    ("other", "is_the_same"),
    [
        (finding("request 7 of 100 failed"), True), (finding("request 1234 of 9 failed"), True),
        (finding("request seven failed"), False), (finding("request 17 of 100 failed", kind="KeyError"), False),
    ],
)  # fmt: skip
def test_numbers_make_no_difference_and_words_and_types_do(other: Finding, is_the_same: bool) -> None:
    collapser = Collapser()
    collapser.take(finding("request 12 of 100 failed"), 0.0)
    assert collapser.take(other, 1.0) == ([] if is_the_same else [other])


def test_of_a_long_message_the_beginning_decides() -> None:
    collapser = Collapser()
    collapser.take(finding("x" * 200 + "a"), 0.0)
    assert collapser.take(finding("x" * 200 + "b"), 0.0) == []
    assert collapser.take(finding("x" * 199 + "c"), 0.0) != []


def test_past_500_kinds_the_oldest_is_told_off_to_make_room() -> None:
    def kind(number: int) -> Finding:
        return finding(kind=f"Error{number}")

    collapser = Collapser()
    for number in range(500):
        assert collapser.take(kind(number), 0.0) == [kind(number)]
    assert collapser.take(kind(0), 1.0) == []
    assert collapser.take(kind(500), 2.0) == [counted(kind(0), 1), kind(500)]
    assert collapser.take(kind(501), 2.0) == [kind(501)]  # the oldest, 1, had not come again
    assert collapser.take(kind(2), 2.0) == []
    assert collapser.take(kind(1), 2.0) == [counted(kind(2), 1), kind(1)]
    assert collapser.due(12.0) == []
