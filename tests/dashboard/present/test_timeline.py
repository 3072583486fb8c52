"""The timeline's layout: every span in its place, none over another, none outside, and all in words, too."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.present import presence, timeline
from dashboard.present.spans import Lane, Span
from dashboard.present.timeline import LEAST, MOST, WHOLE, boxes, marks
from dashboard.present.windows import WINDOWS, Moment, around, holding, how_long, link
from dashboard.present.words import mark
from resilience.clock import as_text
from tests.dashboard.present.conftest import NOW

HOUR = WINDOWS["1h"]
UNTIL = HOUR.until(NOW)
SINCE = UNTIL - HOUR.length
TONES = ("ok", "warn", "bad", "safe", "info", "off")


def span(begins: float, ends: float | None, word: str = "open", tone: str = "bad", **more: str) -> Span:
    """From one minute of the window to another."""
    since = SINCE + timedelta(minutes=begins)
    return Span(since, SINCE + timedelta(minutes=ends) if ends is not None else None, word, *mark(tone), **more)


def places(*spans: Span) -> list[tuple[float, float, int]]:
    return [(round(one.left, 1), round(one.right, 1), len(one.spans)) for one in boxes(spans, SINCE, UNTIL, NOW)]


@st.composite
def apart(draw: st.DrawFn) -> list[Span]:
    """Spans of a lane: in order, none over another, some far outside of the window, the last one perhaps still going on."""
    lengths = draw(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 90)), max_size=120))
    at, found = draw(st.floats(-200, 40)), []
    for gap, length in lengths:
        begins = at + gap * draw(st.sampled_from([0, 0.001, 1]))
        at = begins + length * draw(st.sampled_from([0.0001, 0.01, 1]))
        found.append(span(begins, at, draw(st.text(max_size=5)), draw(st.sampled_from(TONES))))
    if found and draw(st.booleans()):
        found[-1] = found[-1]._replace(until=None)
    return found


@given(apart())
def test_boxes_lie_within_the_window_in_order_and_never_over_each_other(spans: list[Span]) -> None:
    found = boxes(spans, SINCE, UNTIL, NOW)
    assert len(found) <= MOST
    assert all(one.left >= 0 and one.right <= WHOLE and one.right - one.left >= LEAST - 1e-6 for one in found)
    assert all(one.right <= other.left + 1e-9 for one, other in pairwise(found))
    told = [one for box in found for one in box.spans]
    assert told == [one for one in spans if one in told]  # each once, and in order
    inside = [one for one in spans if (one.until is None or one.until > SINCE) and SINCE <= one.since < UNTIL]
    assert all(one in told for one in inside)


@given(apart())
def test_marks_lie_within_the_window_and_never_over_each_other(spans: list[Span]) -> None:
    found = marks(spans, SINCE, UNTIL)
    assert len(found) <= MOST
    assert all(one.left >= 0 and one.right <= WHOLE for one in found)
    assert all(one.right <= other.left + 1e-9 for one, other in pairwise(found))
    assert [one for box in found for one in box.spans] == [one for one in spans if SINCE <= one.since < UNTIL]


def test_a_span_stands_where_it_was() -> None:
    assert places(span(15, 30)) == [(250, 500, 1)]
    assert places(span(-99, 6), span(54, 999)) == [(0, 100, 1), (900, 1000, 1)]
    assert places(span(30, None)) == [(500, round((NOW - SINCE) / HOUR.length * 1000, 1), 1)]


@pytest.mark.parametrize("gone", [(-20, -10), (-20, 0), (60, 70)])
def test_what_was_over_before_the_window_or_comes_after_it_is_not_shown(gone: tuple[float, float]) -> None:
    assert places(span(*gone)) == []


def test_what_is_too_short_to_be_seen_is_widened_and_what_follows_makes_room() -> None:
    assert places(span(30, 30.001)) == [(500, 504, 1)]
    assert places(span(30, 30.001), span(30.001, 36)) == [(500, 504, 1), (504, 600, 1)]
    assert places(span(0, 59.99), span(59.99, 60)) == [(0, 996, 1), (996, 1000, 1)]


def test_neighbours_that_are_too_short_to_be_told_apart_are_one() -> None:
    assert [number for _, _, number in places(*(span(30 + step * 0.01, 30 + step * 0.01 + 0.005) for step in range(9)))] == [9]


def test_marks_that_would_cover_each_other_are_one() -> None:
    assert [len(one.spans) for one in marks([span(10, 10), span(10.5, 10.5), span(30, 30)], SINCE, UNTIL)] == [2, 1]


def shown(*lanes: Lane, moment: Moment | None = None, minutes: tuple[tuple[str, str, int], ...] = ()) -> dict[str, object]:
    return timeline.timeline(lanes, minutes, HOUR, NOW, moment)


def one_box(*spans: Span, key: str = "circuit:gpt-5.2", moment: Moment | None = None) -> dict[str, object]:
    found = shown(Lane(key, "gpt-5.2", spans), moment=moment)["lanes"]
    (box,) = found[0]["boxes"]  # type: ignore[index]
    return box  # type: ignore[no-any-return]


def test_a_box_says_what_when_and_for_how_long_and_leads_to_its_moment() -> None:
    box = one_box(span(15, 30, detail="3 of 3 calls failed", href="/circuits"))
    assert (box["x"], box["width"], box["label"], box["what"], box["detail"]) == ("25.00%", "25.00%", "open", "open", "3 of 3 calls failed")
    assert (box["times"], box["took"], box["more"]) == ("11:16:00 UTC to 11:31:00 UTC", "15 min", "/circuits")
    assert box["href"] == "/?window=1h&at=2026-01-01T11%3A16%3A00.000000Z&of=circuit%3Agpt-5.2"
    assert one_box(span(15, None))["times"] == "11:16:00 UTC to now"
    assert one_box(span(15, 15))["times"] == "11:16:00 UTC"


def test_a_box_of_several_says_how_many_and_looks_like_the_worst() -> None:
    box = one_box(span(30, 30.001), span(30.002, 30.003, "half-open", "warn"), span(30.004, 30.005), key="circuit:x")
    assert (box["tone"], box["count"], box["what"], box["label"], box["more"]) == ("bad", 3, "open, half-open; 3 in all", "", "")


def test_a_tone_shows_by_its_form_and_a_label_only_where_it_can_be_read() -> None:
    forms = {(one_box(span(1, 30, tone=tone))["y"], one_box(span(1, 30, tone=tone))["height"]) for tone in ("bad", "warn", "ok", "off")}
    assert len(forms) == 4
    assert one_box(span(1, 2))["label"] == ""
    level = span(1, 3, "Degraded LLM", "warn", short="2")
    assert one_box(level, key="level")["label"] == "2"
    assert one_box(level._replace(until=UNTIL), key="level")["label"] == "2 Degraded LLM"


def test_what_is_chosen_is_marked_on_its_lane_alone() -> None:
    moment = Moment(SINCE + timedelta(minutes=20), "circuit:gpt-5.2")
    assert one_box(span(15, 30), moment=moment)["current"]
    assert not one_box(span(15, 30), key="level", moment=moment)["current"]
    assert not one_box(span(21, 30), moment=moment)["current"]
    assert shown(moment=moment)["chosen"] == {"x": "25.00%", "width": "16.67%"}
    assert shown(moment=moment._replace(at=SINCE - timedelta(hours=1)))["chosen"] is None


def test_empty_lanes_are_left_out_but_for_those_that_everybody_has() -> None:
    lanes = [Lane(key, key, ()) for key in ("level", "healing", "healing:1", "alerts", "circuit:x", "winclaw")]
    found = shown(*lanes)["lanes"]
    assert [one["key"] for one in found] == ["level", "healing", "alerts"]  # type: ignore[index, attr-defined]


def test_errors_are_bars_a_bucket_as_high_as_they_are_many() -> None:
    found = shown(minutes=(("2026-01-01T11:01", "", 2), ("2026-01-01T12:00", "", 4), ("2025-01-01T12:00", "", 9)))["errors"]
    first, last = found["boxes"]  # type: ignore[index]
    assert (found["total"], found["most"]) == (6, 4)  # type: ignore[index]
    assert (first["x"], first["height"], first["what"], first["since"]) == ("0.20%", 12, "2 errors", as_text(SINCE))
    assert (last["height"], last["y"], last["until"]) == (24, 0, as_text(UNTIL))
    week = timeline.timeline((), (("2026-01-01T10:00", "", 1),), WINDOWS["7d"], NOW)["errors"]["boxes"]
    assert [one["took"] for one in week] == ["3 h"]


def test_the_table_has_every_box() -> None:
    found = shown(Lane("level", "Level", (span(1, 9), span(20, 30))), Lane("agent:a", "a", (span(2, 4),), "beats"), minutes=(("2026-01-01T12:00", "", 4),))
    assert [(row["lane"], row["what"]) for row in found["table"]] == [("Level", "open"), ("Level", "open"), ("a", "open"), ("Errors", "4 errors")]  # type: ignore[index, attr-defined]


@pytest.mark.parametrize("name", ["<script>", "\u202eevil", "x" * 10_000, 'a" onload="b', "{{ 7 * 7 }}", "\x1b[31m", ""])
def test_hostile_names_stay_text_and_short(name: str) -> None:
    found = shown(Lane(f"circuit:{name}", name, (span(1, 20, name, detail=name),)))["lanes"][0]["boxes"][0]  # type: ignore[index]
    assert len(found["what"]) <= 120
    assert len(found["detail"]) <= 300
    assert not set('<>" \u202e\x1b') & set(found["href"])


def test_bars_say_where_something_was_there_silent_or_absent() -> None:
    lane = Lane("agent:a", "a", (span(1, 20, "there", "ok"), span(20.5, 30, "silent", "bad"), span(30, 50, "left", "off"), span(50, None, "there", "ok")), "beats")
    found = presence.bars(lane, HOUR, NOW)
    count = {tone: path.count("M") for tone, path in found["bars"].items()}
    assert count == {"ok": 29, "bad": 10, "off": 21}
    assert found["said"] == "up 28 of 60 minutes"
    assert presence.bars(lane, WINDOWS["24h"], NOW)["said"] == "up 0 of 24 hours"


@pytest.mark.parametrize("window", WINDOWS.values())
def test_a_window_ends_with_this_minute_in_buckets_of_whole_minutes(window: timeline.Window) -> None:
    assert as_text(window.until(NOW)) == "2026-01-01T12:01:00.000000Z"
    assert window.bucket % timedelta(minutes=1) == timedelta(0)
    assert window.bucket <= 2 * window.around


def test_a_moment_that_is_out_of_the_window_has_the_next_longer_one_shown() -> None:
    ago = [Moment(NOW - one) for one in (timedelta(minutes=5), timedelta(hours=2), timedelta(days=2), timedelta(days=99))]
    assert [holding(HOUR, one, NOW).name for one in ago] == ["1h", "24h", "7d", "7d"]
    assert holding(WINDOWS["24h"], ago[0], NOW).name == "24h"
    assert holding(HOUR, None, NOW) is HOUR


def test_around_a_moment_are_whole_minutes() -> None:
    assert [as_text(one) for one in around(Moment(NOW), HOUR)] == ["2026-01-01T11:55:00.000000Z", "2026-01-01T12:05:00.000000Z"]
    assert link(HOUR) == "/?window=1h"


@pytest.mark.parametrize(("seconds", "said"), [(-1, "0.0 s"), (0.25, "0.2 s"), (9.96, "10 s"), (41.4, "41 s"), (59.9, "60 s"), (260, "4 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"), (273600, "3 d 4 h")])
def test_how_long_it_was_is_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert how_long(timedelta(seconds=seconds)) == said
