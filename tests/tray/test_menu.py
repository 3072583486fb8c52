from __future__ import annotations

import pytest
from msgspec.structs import replace

from resilience.degradation.levels import DegradationLevel
from tests.tray.states import a_state
from tray.menu import Choose, Item, OpenDashboard, Quit, menu_items, status_line, tooltip

SAFE = DegradationLevel.SAFE_MODE


def named(text: str, items: tuple[Item, ...]) -> Item:
    return next(item for item in items if item.text == text)


def test_a_click_on_the_icon_opens_the_dashboard() -> None:
    defaults = [item for item in menu_items(a_state()) if item.default]
    assert [item.action for item in defaults] == [OpenDashboard()]


def test_the_order_is_the_one_people_learn() -> None:
    assert [item.text for item in menu_items(a_state()) if item.text != "-"] == [
        "Open dashboard", "Level 1 of 5: Full", "Mode", "Safe Mode", "Quit",
    ]  # fmt: skip


def test_safe_mode_is_one_click_and_checked_while_it_is_on() -> None:
    off, on = (named("Safe Mode", menu_items(a_state(level))) for level in (DegradationLevel.FULL, SAFE))
    assert (off.action, off.checked) == (Choose(SAFE), False)
    assert (on.action, on.checked) == (Choose(None), True)


@pytest.mark.parametrize(("pinned", "checked"), [(False, "Auto"), (True, "Minimal")])
def test_the_mode_that_holds_is_checked_and_no_other(pinned: bool, checked: str) -> None:
    modes = named("Mode", menu_items(a_state(DegradationLevel.MINIMAL, pinned=pinned))).items
    assert [item.text for item in modes] == ["Auto", "Full", "Degraded LLM", "Limited External", "Minimal"]
    assert [item.text for item in modes if item.checked] == [checked]
    pinnable = [level for level in DegradationLevel if level is not SAFE]
    assert [item.action for item in modes] == [Choose(None), *map(Choose, pinnable)]
    assert all(item.radio for item in modes)


def test_the_status_line_only_informs_and_counts_what_waits() -> None:
    assert status_line(a_state(needs=2)) == "Level 1 of 5: Full · needs you: 2"
    assert not named("Level 1 of 5: Full", menu_items(a_state())).enabled


@pytest.mark.parametrize(
    ("channels", "queued"), [({}, ""), ({"email": 0}, ""), ({"email": 1}, " · 1 message waits"), ({"email": 1, "sms": 1}, " · 2 messages wait")]
)
def test_the_status_line_counts_messages_of_all_channels_before_what_needs_the_user(channels: dict[str, int], queued: str) -> None:
    assert status_line(replace(a_state(needs=1), waiting=channels)) == f"Level 1 of 5: Full{queued} · needs you: 1"


@pytest.mark.parametrize(
    ("level", "pinned", "rules"),
    [(DegradationLevel.MINIMAL, True, " (rules: Full)"), (DegradationLevel.MINIMAL, False, ""), (DegradationLevel.FULL, True, "")],
)
def test_the_status_line_says_what_the_rules_want_where_somebody_pinned_something_else(
    level: DegradationLevel, pinned: bool, rules: str
) -> None:
    assert status_line(a_state(level, pinned=pinned)) == f"Level {level.value} of 5: {level.title}{rules}"


def test_the_last_entry_quits() -> None:
    assert menu_items(a_state())[-1].action == Quit()


@pytest.mark.parametrize("cause", ["x" * 1000, "\U0001f980" * 1000, "a\r\nb\x00\x1b[2J", "\u202eexe.txt", ""])
def test_the_tooltip_fits_whatever_the_cause_is(cause: str) -> None:
    tip = tooltip(a_state(cause=cause))
    assert len(tip.encode("utf-16-le")) // 2 <= 127
    assert tip.isprintable()
