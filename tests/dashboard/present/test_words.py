"""Tones, shapes and times, as all pages have them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dashboard.present import errors, now, words
from resilience.degradation.levels import DegradationLevel
from tests.dashboard.present.conftest import NOW
from tests.tray.states import a_state


def test_every_tone_has_a_shape_of_its_own() -> None:
    assert len(set(words.SHAPES.values())) == len(words.SHAPES)


@pytest.fixture
def far_away() -> Iterator[None]:
    """A machine whose own time is half a day ahead of UTC."""
    if sys.platform == "win32":
        pytest.skip("Windows takes no time zone from the environment")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "XXX-12")
        time.tzset()
        yield
    time.tzset()


def test_all_times_are_in_utc_whatever_the_machines_own(far_away: None) -> None:
    late, elsewhere = datetime(2026, 1, 1, 22, 0, tzinfo=UTC), timezone(timedelta(hours=-5))
    assert words.when("2026-01-01T09:08:07.000000Z", late.astimezone(elsewhere)) == "09:08:07 UTC"
    assert errors.minute_series([("2026-01-01T22:00", "", 3)], late, length=1) == [(int(late.timestamp()), "22:00", 3)]


def test_a_time_has_its_date_unless_it_is_today() -> None:
    assert words.when("2026-01-01T09:08:07.000000Z", NOW) == "09:08:07 UTC"
    assert words.when("2025-12-31T23:08:07.000000Z", NOW) == "2025-12-31 23:08 UTC"


def test_every_level_has_a_shape_and_words_of_its_own() -> None:
    assert len({now.band(a_state(level).view(NOW))["shape"] for level in DegradationLevel}) == 5
    assert len({words.LEVELS[level][2] for level in DegradationLevel}) == 5


def test_what_stands_between_backticks_is_code_and_nothing_is_markup() -> None:
    assert words.ticks("`a` and <b> `c`") == "<code>a</code> and &lt;b&gt; <code>c</code>"
    assert words.ticks("`<i>`") == "<code>&lt;i&gt;</code>"
    assert words.ticks("one ` alone") == "one ` alone"
    assert words.ticks("`a` one ` alone") == "<code>a</code> one ` alone"
