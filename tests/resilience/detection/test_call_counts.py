"""What agents have called between two looks: no call twice, and none of hours ago."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from resilience.core.presence import Presence
from resilience.core.services import Seen, Services
from resilience.core.state import State
from resilience.degradation.levels import at_first
from resilience.detection.call_counts import Calls, Counted, looked, summed, together

AT = datetime(2026, 1, 1, tzinfo=UTC)
Told = dict[tuple[str, int | None, str], tuple[int, int, float | None] | None]


def state(told: Told, gone: tuple[str, ...] = ()) -> State:
    """A state in which agents have told so many calls, failures, and p95; None: it has fallen silent. ``gone``: those are lost."""
    agents = {
        key[:2]: Presence(name=key[0], alive=key[0] not in gone, pid=key[1], version=None, since=AT, beat_at=AT, beat_s=0.0) for key in told
    }
    seen = {key: Seen(0, _numbers(one)) for key, one in told.items()}
    return State(standing=at_first(AT), agents=MappingProxyType(agents), services=Services(seen=MappingProxyType(seen)))


def _numbers(one: tuple[int, int, float | None] | None) -> dict[str, float]:
    if one is None:
        return {}
    numbers = {"calls": one[0], "failures": one[1], "rejected": 0, "p95_ms": one[2]}
    return {name: value for name, value in numbers.items() if value is not None}


A, B = ("a", 1, "gpt-5.2"), ("b", 2, "gpt-5.2")


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ({A: (10, 1, 5.0)}, {A: (14, 2, 7.0)}, {"gpt-5.2": Calls(4, 1, 7.0)}),
        ({A: (10, 1, 5.0)}, {A: (10, 1, 5.0)}, {}),
        ({}, {A: (900, 90, 5.0)}, {}),  # it has just come, and has counted for hours
        ({A: (10, 0, None)}, {A: (10, 0, None), ("a", 1, "gmail_api"): (3, 3, 8.0)}, {"gmail_api": Calls(3, 3, 8.0)}),
        ({A: (10, 1, 5.0), B: (5, 5, 50.0)}, {A: (12, 1, 5.0), B: (6, 6, 50.0)}, {"gpt-5.2": Calls(3, 1, 50.0)}),
        ({A: (10, 1, 5.0), B: (5, 5, 50.0)}, {A: (12, 1, 5.0), B: (5, 5, 50.0)}, {"gpt-5.2": Calls(2, 0, 5.0)}),
        ({("a", None, "x"): (10, 9, None)}, {("a", None, "x"): (2, 1, None)}, {"x": Calls(2, 1, None)}),  # it has begun anew
        ({A: (10, 9, None)}, {A: (12, 3, None)}, {"gpt-5.2": Calls(2, 0, None)}),  # whatever an agent tells
        ({A: (10, 0, None)}, {A: (12, 40, None)}, {"gpt-5.2": Calls(2, 2, None)}),
        ({A: (0, 0, None)}, {A: (10**30, 10**30, None)}, {"gpt-5.2": Calls(10**9, 10**9, None)}),
        ({A: (10, 1, 5.0)}, {A: None}, {}),
        ({A: (10, 1, 5.0)}, {}, {}),
    ],
)
def test_what_is_new_is_the_difference(before: Told, after: Told, new: dict[str, Calls]) -> None:
    known, _ = looked(Counted(), state(before))
    assert looked(known, state(after))[1] == new


def test_an_agent_that_was_silent_does_not_count_anew_what_it_has_told() -> None:
    known, _ = looked(Counted(), state({A: (100, 5, None)}))
    known, new = looked(known, state({A: None}, gone=("a",)))
    assert new == {}
    known, new = looked(known, state({A: (130, 6, None)}))
    assert new == {}, "when it called these nobody knows"
    assert looked(known, state({A: (131, 6, None)}))[1] == {"gpt-5.2": Calls(1, 0, None)}


def test_calls_of_several_looks_are_summed_up() -> None:
    one, other = {"x": Calls(3, 1, 10.0), "y": Calls(1)}, {"x": Calls(2, 2, 40.0)}
    assert together([one, other, {}]) == {"x": Calls(5, 3, 40.0), "y": Calls(1)}
    assert summed([]) == Calls(0, 0, None)
