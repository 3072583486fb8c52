from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from resilience.degradation import FEATURES, DegradationLevel, Standing, at_first, choose

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LATER = T0 + timedelta(hours=1)


def test_every_level_has_the_complete_row_of_features() -> None:
    flags = set(FEATURES[DegradationLevel.FULL])
    assert len(flags) == 16
    assert all(set(row) == flags for row in FEATURES.values())


def test_a_fuller_level_allows_all_that_a_lesser_one_does() -> None:
    for fuller, lesser in pairwise(DegradationLevel):
        allowed = {flag for flag, on in FEATURES[lesser].items() if on and flag != "read_only_mode"}
        assert allowed <= {flag for flag, on in FEATURES[fuller].items() if on}


def test_safe_mode_allows_nothing_but_reading() -> None:
    assert [flag for flag, on in FEATURES[DegradationLevel.SAFE_MODE].items() if on] == ["read_only_mode"]


def test_core_and_basic_loops_run_wherever_a_fuller_set_does() -> None:
    row = FEATURES[DegradationLevel.FULL]
    assert row["enable_all_loops"]
    assert row["enable_core_loops"]
    assert row["enable_basic_loop"]


@pytest.mark.parametrize("word", ["safe-mode", "SAFE_MODE", "Safe-Mode", "5"])
def test_a_level_is_found_under_each_of_its_names(word: str) -> None:
    assert DegradationLevel.named(word) is DegradationLevel.SAFE_MODE


def test_an_unknown_level_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="full, degraded-llm, limited-external, minimal, safe-mode"):
        DegradationLevel.named("panic")


def test_features_are_on_from_the_start() -> None:
    assert at_first(T0).level is DegradationLevel.FULL


def test_a_manual_choice_is_pinned_and_auto_releases_it() -> None:
    pinned = choose(at_first(T0), DegradationLevel.MINIMAL, actor="tray", now=LATER)
    assert (pinned.level, pinned.pinned, pinned.since) == (DegradationLevel.MINIMAL, True, LATER)
    assert "tray" in pinned.cause
    released = choose(pinned, None, actor="tray", now=LATER)
    assert (released.level, released.pinned) == (DegradationLevel.FULL, False)


def test_choosing_the_same_level_again_keeps_since() -> None:
    pinned = choose(at_first(T0), DegradationLevel.MINIMAL, actor="tray", now=T0)
    assert choose(pinned, DegradationLevel.MINIMAL, actor="page", now=LATER).since == T0


def test_a_standing_survives_the_journal() -> None:
    pinned = choose(at_first(T0), DegradationLevel.SAFE_MODE, actor="tray", now=T0)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(pinned))), Standing) == pinned
