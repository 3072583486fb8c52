"""A flood in one lane, and the turns of the others."""

from __future__ import annotations

from resilience.core.lanes import Lanes


def filled(**lanes: int) -> Lanes[str]:
    """Lanes with so many in each: ``a1``, ``a2`` … in lane ``a``."""
    made: Lanes[str] = Lanes()
    for lane, count in lanes.items():
        assert all(made.put(lane, f"{lane}{number}", most=count) for number in range(1, count + 1))
    return made


def test_a_full_lane_refuses_and_says_so_while_another_takes() -> None:
    lanes = filled(a=2)
    assert lanes.put("a", "a3", most=2) is False
    assert lanes.put("b", "b1", most=2) is True
    assert len(lanes) == 3
    assert lanes.take(9) == ["a1", "b1", "a2"], "what was refused is not there"


def test_lanes_take_turns_and_each_keeps_its_order() -> None:
    """One waits for no more than the others' turns, however much came before it."""
    lanes = filled(a=4, b=1, c=2)
    assert lanes.take(99) == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]
    assert len(lanes) == 0
    assert lanes.take(99) == []


def test_no_more_is_taken_than_asked_for_and_the_rest_waits() -> None:
    lanes = filled(a=3, b=3)
    assert lanes.take(0) == []
    assert lanes.take(3) == ["a1", "b1", "a2"]
    assert len(lanes) == 3
    assert lanes.take(2) == ["a3", "b2"]
    assert lanes.take(1) == ["b3"]


def test_a_lane_that_was_emptied_takes_again() -> None:
    lanes = filled(a=1)
    assert lanes.put("a", "late", most=1) is False
    lanes.take(1)
    assert lanes.put("a", "again", most=1) is True
    assert lanes.take(1) == ["again"]
