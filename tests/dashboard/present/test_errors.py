"""Errors in words and pictures: kinds, groups, causes, counts."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.present import errors
from resilience.errors import TAXONOMY, WinClawError
from tests.dashboard.present.conftest import NOW


def test_the_kinds_make_a_tree_whose_branches_add_up() -> None:
    tree = errors.kind_tree({"transient.network": 1, "transient.network.dns": 2, "transient.service": 4, "security": 8})
    assert [(node.kind, node.count) for node in tree] == [("security", 8), ("transient", 7)]
    network = tree[1].below[0]
    assert (network.name, network.count, [node.kind for node in network.below]) == ("network", 3, ["transient.network.dns"])


def test_the_branch_with_the_chosen_kind_is_open() -> None:
    tree = errors.kind_tree({"transient.network.dns": 1, "transient.net": 1, "security": 1}, chosen="transient.network.dns")
    by_kind = {node.kind: node for root in tree for node in [root, *root.below]}
    assert {kind for kind, node in by_kind.items() if node.open} == {"transient", "transient.network"}


def test_a_branch_has_its_name_without_underscores_and_its_meaning() -> None:
    [root] = errors.kind_tree({"agentic.llm.rate_limit": 1})
    leaf = root.below[0].below[0]
    assert (leaf.name, leaf.meaning) == ("rate limit", errors.meaning("agentic.llm.rate_limit"))


def test_a_group_has_its_title_meaning_and_spark_line() -> None:
    row = {"severity": "ERROR", "message": "late\nmore", "kind": "agentic.llm.timeout", "type": "LLMTimeoutError"}
    shown = errors.group(row, [0, 1])
    assert (shown["title"], shown["meaning"]) == ("late", "The language model did not answer in time.")
    assert shown["spark"].startswith("M0.0 20.0 L")
    assert {**row, "title": "late", "tone": "bad", "shape": "sq", "meaning": shown["meaning"], "spark": shown["spark"]} == shown
    other = errors.group({**row, "severity": "WORSE", "message": " "}, [])
    assert (other["title"], other["tone"], other["shape"]) == ("LLMTimeoutError", "off", "dash")


def test_a_spark_line_stays_inside_its_box() -> None:
    path = errors.spark([0, 5, 1000, 2], width=90, height=22)
    points = [tuple(map(float, point.split())) for point in path[1:].split(" L")]
    assert [x for x, _ in points] == [0, 30, 60, 90]
    assert all(0 <= y <= 22 for _, y in points)
    assert points[2][1] < points[0][1]
    assert errors.spark([1, 0], width=90, height=22) == "M0.0 2.0 L90.0 20.0"
    assert errors.spark([5, 20], width=90, height=22) == "M0.0 15.5 L90.0 2.0"
    assert errors.spark([3]) == "M0.0 2.0"
    assert errors.spark([]) == "M"
    assert errors.spark([0, 0]) == "M0.0 20.0 L120.0 20.0"


def test_counts_fall_into_their_buckets_and_old_ones_into_none() -> None:
    minutes = [("2026-01-01T12:00", "f", 3), ("2026-01-01T11:59", "f", 2), ("2026-01-01T10:00", "f", 9)]
    assert errors.per_bucket(minutes, NOW, 3, 1) == {"f": [0, 2, 3]}
    minutes = [("2026-01-01T11:31", "f", 1), ("2026-01-01T11:45", "g", 2), ("2026-01-01T11:46", "g", 4), ("2026-01-01T12:00", "g", 8)]
    assert errors.per_bucket(minutes, NOW, 2, 15) == {"f": [1, 0], "g": [2, 12]}
    assert errors.per_bucket([("2026-01-01T11:30", "f", 1), ("2026-01-01T12:01", "f", 1)], NOW, 2, 15) == {}


def test_the_series_ends_with_this_minute() -> None:
    series = errors.minute_series([("2026-01-01T12:00", "", 3)], NOW, length=2)
    assert series == [(int(NOW.timestamp()) // 60 * 60 - 60, "11:59", 0), (int(NOW.timestamp()) // 60 * 60, "12:00", 3)]
    assert errors.minute_series([("2026-01-01T11:58", "", 3), ("2026-01-01T12:00", "other", 1)], NOW, length=3)[0][2] == 3
    assert [count for _, _, count in errors.minute_series([], NOW)] == [0] * 60


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_is_never_a_formula(cell: str) -> None:
    assert errors.safe_cell(cell) == f"'{cell}"
    assert errors.safe_cell("plain = text") == "plain = text"


def test_a_chain_of_causes_is_listed_and_bounded() -> None:
    chain: dict[str, Any] = {"type": "X"}
    for _ in range(50):
        chain = {"type": "X", "cause": chain}
    assert len(errors.causes({"cause": chain})) == 20
    inner = {"type": "Inner"}
    outer = {"type": "Outer", "cause": inner}
    assert errors.causes({"cause": outer}) == [outer, inner]


@pytest.mark.parametrize("one", TAXONOMY.values(), ids=list(TAXONOMY))
def test_every_kind_has_a_meaning_and_its_strategy_and_impact_have_words(one: type[WinClawError]) -> None:
    assert errors.meaning(one.kind).endswith(".")
    assert errors.strategy_words(str(one.recovery_strategy)) != str(one.recovery_strategy)
    assert errors.impact_words(one.impact.name) != one.impact.name


def test_a_log_among_the_metadata_is_shown_by_itself() -> None:
    assert errors.details({"metadata": {"pid": 1, "log": "one\ntwo"}}) == {"log": "one\ntwo", "metadata": '{\n  "pid": 1\n}'}
    assert errors.details({"metadata": {"log": ["one"]}}) == {"log": "", "metadata": '{\n  "log": [\n    "one"\n  ]\n}'}
    assert errors.details({"metadata": {"log": "one"}}) == {"log": "one", "metadata": ""}
    assert errors.details({}) == {"log": "", "metadata": ""}
