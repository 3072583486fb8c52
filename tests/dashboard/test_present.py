from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dashboard.present import errors, events, now, words
from resilience.context import ErrorSeverity
from resilience.degradation.levels import DegradationLevel
from resilience.errors import TAXONOMY, WinClawError
from resilience.events import EventType
from tests.tray.states import a_state

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
BODIES: dict[str, dict[str, Any]] = {
    "error": {"message": "late\nmore", "operation": "ask", "kind": "agentic.llm.timeout", "severity": "WARNING"},
    "level.changed": {"from": "FULL", "to": "SAFE_MODE", "cause": "Chosen by hand."},
    "command": {"asked": "SAFE_MODE", "actor": "tray", "origin": "this machine"},
    "audit": {"agent": "a", "operation": "send", "allowed": 1, "refused": 2},
    "heal.waiting": {"heal": 3, "outcome": "waiting", "action": "reload_config", "trigger": "An error."},
    "heal.started": {"heal": 3, "outcome": "running", "action": "clear_cache", "trigger": "An error."},
    "heal.ended": {"heal": 3, "outcome": "failed", "action": "clear_cache", "result": "done", "verification": "not well"},
    "heal.escalated": {
        "heal": 3, "outcome": "escalated", "action": "escalate_to_human", "trigger": "An error.", "verification": "It goes on.",
    },
    "anomaly.began": {"metric": "memory_mb", "value": 900.0, "low": 100.0, "high": 200.0},
    "anomaly.ended": {"metric": "cpu_percent", "value": 9.0, "low": 0.0, "high": 20.0, "adopted": True},
    "app.started": {"version": "1", "away_s": 7.0, "crashed": True},
    "process.ready": {"pid": 5, "seconds": 0.5},
    "process.exited": {"pid": 5, "because": "it ended with exit status 1", "again_in_s": 0.5},
    "config.refused": {"problems": ["line 3: no"]},
    "journal.set_aside": {"message": "damaged", "file": "x"},
}


def event(kind: str, **body: Any) -> dict[str, Any]:
    return {"id": 7, "at": "2026-01-01T12:00:00.000000Z", "type": kind, "component": "gpt-5.2", **BODIES.get(kind, {}), **body}


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_has_words_a_tone_and_a_shape(kind: str) -> None:
    line = events.line(event(kind))
    assert line["text"]
    assert line["detail"]
    assert line["shape"] == words.SHAPES[line["tone"]]


def test_an_error_leads_to_its_page_and_shows_its_first_line() -> None:
    line = events.line(event("error"))
    assert (line["text"], line["href"]) == ("late", "/errors/7")


def test_a_long_message_is_cut() -> None:
    assert len(events.line(event("error", message="x" * 5000))["text"]) == 160


def test_every_tone_has_a_shape_of_its_own() -> None:
    assert len(set(words.SHAPES.values())) == len(words.SHAPES)


@pytest.mark.parametrize("level", DegradationLevel)
def test_the_band_says_level_cause_and_tone(level: DegradationLevel) -> None:
    band = now.band(a_state(level, needs=2).view(NOW))
    assert (band["number"], band["title"], band["cause"], band["needs_you"]) == (level.value, level.title, "Because.", 2)


def test_the_kinds_make_a_tree_whose_branches_add_up() -> None:
    tree = errors.kind_tree({"transient.network": 1, "transient.network.dns": 2, "transient.service": 4, "security": 8})
    assert [(node.kind, node.count) for node in tree] == [("security", 8), ("transient", 7)]
    network = tree[1].below[0]
    assert (network.name, network.count, [node.kind for node in network.below]) == ("network", 3, ["transient.network.dns"])


def test_a_spark_line_stays_inside_its_box() -> None:
    path = errors.spark([0, 5, 1000, 2], width=90, height=22)
    points = [tuple(map(float, point.split())) for point in path[1:].split(" L")]
    assert [x for x, _ in points] == [0, 30, 60, 90]
    assert all(0 <= y <= 22 for _, y in points)
    assert points[2][1] < points[0][1]
    assert errors.spark([]) == "M"
    assert errors.spark([0, 0]) == "M0.0 20.0 L120.0 20.0"


def test_counts_fall_into_their_buckets_and_old_ones_into_none() -> None:
    minutes = [("2026-01-01T12:00", "f", 3), ("2026-01-01T11:59", "f", 2), ("2026-01-01T10:00", "f", 9)]
    assert errors.per_bucket(minutes, NOW, 3, 1) == {"f": [0, 2, 3]}


def test_the_series_ends_with_this_minute() -> None:
    series = errors.minute_series([("2026-01-01T12:00", "", 3)], NOW, length=2)
    assert series == [(int(NOW.timestamp()) // 60 * 60 - 60, 0), (int(NOW.timestamp()) // 60 * 60, 3)]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_is_never_a_formula(cell: str) -> None:
    assert errors.safe_cell(cell) == f"'{cell}"
    assert errors.safe_cell("plain = text") == "plain = text"


def test_a_chain_of_causes_is_listed_and_bounded() -> None:
    chain: dict[str, Any] = {"type": "X"}
    for _ in range(50):
        chain = {"type": "X", "cause": chain}
    assert len(errors.causes({"cause": chain})) == 20


def error(number: int, fingerprint: str = "f") -> dict[str, Any]:
    return {**event("error"), "id": number, "fingerprint": fingerprint}


def test_an_error_that_comes_again_is_one_line_until_something_else_happens() -> None:
    """Otherwise a storm of one error would push everything else out of sight."""
    newest_first = [error(9), error(8, "g"), error(7), {**event("level.changed"), "id": 6}, error(5), error(4)]
    lines = events.feed(newest_first, first_ids=[4])
    assert [(line["id"], line["times"], line["first"]) for line in lines] == [
        (9, 2, False), (8, 1, False), (6, 1, False), (5, 2, True),
    ]  # fmt: skip


def test_the_feed_is_short() -> None:
    assert len(events.feed([error(number, str(number)) for number in range(50)], limit=12)) == 12


def test_agents_that_fell_silent_come_first() -> None:
    def view(name: str, alive: bool, since: str) -> dict[str, Any]:
        return {"name": name, "alive": alive, "since": since, "last_beat": "12:00"}

    seen = now.agents([view("b", False, "12:00"), view("c", True, "11:00"), view("a", False, "12:01")])
    assert [(agent["name"], agent["word"]) for agent in seen] == [("a", "lost"), ("c", "connected"), ("b", "left")]
    assert len({agent["shape"] for agent in seen}) == 3


def test_a_time_has_its_date_unless_it_is_today() -> None:
    assert words.when("2026-01-01T09:08:07.000000Z", NOW) == "09:08:07 UTC"
    assert words.when("2025-12-31T23:08:07.000000Z", NOW) == "2025-12-31 23:08 UTC"


@pytest.mark.parametrize("one", TAXONOMY.values(), ids=list(TAXONOMY))
def test_every_kind_has_a_meaning_and_its_strategy_and_impact_have_words(one: type[WinClawError]) -> None:
    assert errors.meaning(one.kind).endswith(".")
    assert errors.strategy_words(str(one.recovery_strategy)) != str(one.recovery_strategy)
    assert errors.impact_words(one.impact.name) != one.impact.name


def test_every_severity_has_a_shape_of_its_own() -> None:
    shapes = {events.line(event("error", severity=severity.name))["shape"] for severity in ErrorSeverity}
    assert len(shapes) == len(ErrorSeverity)


def test_every_level_has_a_shape_and_words_of_its_own() -> None:
    assert len({now.band(a_state(level).view(NOW))["shape"] for level in DegradationLevel}) == 5
    assert len({words.LEVEL_WORDS[level] for level in DegradationLevel}) == 5


def test_an_error_without_a_message_is_called_by_its_type() -> None:
    assert events.line(event("error", message=" ", error_type="KeyError"))["text"] == "KeyError"


def test_what_a_later_version_says_is_shown_as_it_is() -> None:
    assert events.line(event("something.new"))["text"] == "something.new"
    assert events.line(event("error", severity="WORSE"))["text"]
    assert events.line(event("level.changed", to="LEVEL_SIX"))["text"].endswith("Level_Six")
    assert errors.strategy_words("NEW") == "NEW"
    assert errors.meaning("new") == ""


def test_the_branch_with_the_chosen_kind_is_open() -> None:
    tree = errors.kind_tree({"transient.network.dns": 1, "transient.net": 1, "security": 1}, chosen="transient.network.dns")
    by_kind = {node.kind: node for root in tree for node in [root, *root.below]}
    assert {kind for kind, node in by_kind.items() if node.open} == {"transient", "transient.network"}


def test_a_group_has_its_title_meaning_and_spark_line() -> None:
    row = {"severity": "ERROR", "message": "late\nmore", "kind": "agentic.llm.timeout", "type": "LLMTimeoutError"}
    shown = errors.group(row, [0, 1])
    assert (shown["title"], shown["meaning"]) == ("late", "The language model did not answer in time.")
    assert shown["spark"].startswith("M0.0 20.0 L")


def test_minutes_are_told_by_the_clock() -> None:
    assert errors.minute_text(int(NOW.timestamp())) == "12:00"
