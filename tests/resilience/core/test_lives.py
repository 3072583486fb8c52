"""When WinClaw's own crashes are too many, and which of them still count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from resilience.core.lives import Lives, begun, ended, is_crash_loop

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def starts(*minutes: float) -> Lives:
    """The lives after starts at these minutes, each but the first after a crash."""
    lives = Lives()
    for minute in minutes:
        lives = begun(lives, at(minute))
    return lives


def test_a_start_after_a_goodbye_is_no_crash() -> None:
    lives = begun(Lives(), at(0))
    assert lives == Lives((), running=True)
    assert ended(lives) == Lives((), running=False)
    assert begun(ended(lives), at(1)) == Lives((), running=True)


def test_a_start_without_a_goodbye_before_it_is_a_crash() -> None:
    lives = starts(0, 5)
    assert lives == Lives((at(5),), running=True)
    assert ended(lives).crashes == (at(5),), "a goodbye does not undo the crashes before it"


@pytest.mark.parametrize(
    ("minutes", "loops"),
    [
        ((0, 1, 2), False),  # the first start follows no crash
        ((0, 1, 2, 3), True),
        ((0, 1, 2, 16), True),  # the oldest was exactly a quarter of an hour ago
        ((0, 1, 2, 16.01), False),
        ((0, 1, 2, 3, 4, 5), True),
    ],
)
def test_three_crashes_within_a_quarter_of_an_hour_are_a_loop(minutes: tuple[float, ...], loops: bool) -> None:
    assert is_crash_loop(starts(*minutes), None) is loops


def test_the_latest_three_crashes_are_remembered() -> None:
    """More would not be asked for, and these lives are written down at each start."""
    crashes = starts(*range(8)).crashes
    assert crashes == (at(5), at(6), at(7))
    assert all(one < other for one, other in pairwise(crashes))


@pytest.mark.parametrize(("since", "loops"), [(None, True), (at(0.5), True), (at(1), False), (at(9), False)])
def test_crashes_up_to_a_persons_look_do_not_count(since: datetime | None, loops: bool) -> None:
    assert is_crash_loop(starts(0, 1, 2, 3), since) is loops


def test_crashes_that_lie_ahead_are_forgotten() -> None:
    """A clock that was a year ahead is set right: its three crashes are none, and the next real one is the first."""
    ahead = starts(*(525_600 + minute for minute in range(4)))
    lives = begun(ended(ahead), at(0))
    assert lives == Lives((), running=True)
    assert begun(lives, at(1)).crashes == (at(1),)


@pytest.mark.parametrize(("ahead_s", "counts"), [(-1e-6, True), (0, True), (1e-6, False)])
def test_a_crash_counts_up_to_this_very_moment(ahead_s: float, counts: bool) -> None:
    crash = at(5) + timedelta(seconds=ahead_s)
    assert begun(Lives((crash,)), at(5)).crashes == ((crash,) if counts else ())
