"""What was measured as charts: steps that end now, gaps where nothing was, and lines that can be told apart."""

from __future__ import annotations

import itertools

import pytest

from dashboard.present.charts import (
    MAX_LINES,
    SPANS,
    Line,
    Unit,
    by_component,
    chart,
    lines_of,
    path,
    said,
    shown_services,
    steps,
)
from resilience.journal.samples import Sample, minute_of
from tests.dashboard.present.conftest import NOW

MINUTE = minute_of(NOW)


@pytest.mark.parametrize(
    ("name", "first", "last"), [("1h", "11:01", "12:00"), ("24h", "Wed 12:10", "Thu 12:00"), ("7d", "Thu 13:00", "Thu 12:00")]
)
def test_steps_end_with_that_in_which_we_are(name: str, first: str, last: str) -> None:
    found = steps(SPANS[name], MINUTE)
    assert len(found) == SPANS[name].steps
    assert (found[0][1], found[-1][1]) == (first, last)
    assert {later - earlier for (earlier, _), (later, _) in itertools.pairwise(found)} == {60 * SPANS[name].step}
    assert found[-1][0] <= NOW.timestamp() < found[-1][0] + 60 * SPANS[name].step
    assert found[0][0] == 60 * SPANS[name].first(MINUTE)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ((0, 10, 5), "M0.0 18.0h0 L50.0 2.0 L100.0 10.0"),
        ((None, 10, None, 0), "M33.3 2.0h0 M100.0 18.0h0"),  # a dot each
        ((99,), "M0.0 2.0h0"),
        ((None, None), ""),
        ((), ""),
    ],
)
def test_a_line_has_gaps_and_stays_in_its_box(values: tuple[float | None, ...], drawn: str) -> None:
    assert path(values, top=10, width=100, height=20) == drawn


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (None, "ms", "—"), (0.4, "ms", "< 1 ms"), (1, "ms", "1 ms"), (830.4, "ms", "830 ms"), (999.4, "ms", "999 ms"), (999.6, "ms", "1.0 s"),
        (9949, "ms", "9.9 s"), (9960, "ms", "10 s"), (60_000, "ms", "60 s"), (0, "%", "0 %"), (3.25, "%", "3.2 %"), (14.6, "%", "15 %"), (100.0, "%", "100 %"), (7, "", "7"), (2.5, "", "2.5"),
    ],
)  # fmt: skip
def test_a_value_is_said_as_people_read_it(value: float | None, unit: Unit, words: str) -> None:
    assert said(value, unit) == words


def test_a_chart_has_its_lines_and_its_table() -> None:
    shown = chart("p95", [(60, "00:01"), (120, "00:02")], [Line("gpt", [10, None]), Line("<b>", [None, None])], unit="ms", least=5)
    assert [(one["name"], one["number"], one["latest"]) for one in shown["lines"]] == [("gpt", 0, "10 ms"), ("<b>", 1, "—")]
    assert shown["rows"] == [
        {"at": 60, "text": "00:01", "cells": [(10, "10 ms"), (None, "—")]}, {"at": 120, "text": "00:02", "cells": [(None, "—"), (None, "—")]},
    ]  # fmt: skip
    assert shown["lines"][0]["path"] == "M0.0 2.0h0"
    assert not shown["is_empty"]
    assert [chart("x", steps(SPANS[name], MINUTE), [Line("a", [None] * SPANS[name].steps)])["step"] for name in SPANS] == [1, 10, 60]
    assert chart("x", [(60, "00:01")], [Line("a", [None])])["is_empty"]


def test_the_scale_of_a_quiet_chart_does_not_make_mountains_of_molehills() -> None:
    quiet = chart("x", [(0, "")], [Line("a", [1])], least=100)["lines"][0]["path"]
    assert quiet == path([1], 100)
    assert chart("x", [(0, "")], [Line("a", [500])], least=100)["lines"][0]["path"] == path([500], 500)


def test_samples_find_their_steps() -> None:
    first = SPANS["1h"].first(MINUTE)
    one, other, late = Sample("a", calls=1), Sample("b", calls=2), Sample("a", calls=3)
    found = by_component([(first, one), (MINUTE, late), (first + 1, other), (first - 1, one), (MINUTE + 1, one)], SPANS["1h"], MINUTE)
    assert found == {"a": [one, *[None] * 58, late], "b": [None, other, *[None] * 58]}


def test_who_calls_nothing_has_no_calls_and_no_other_numbers() -> None:
    """Nothing is known of a time in which WinClaw was not there."""
    there, called = Sample("machine", 1.0, 2.0), Sample("gpt", calls=4, failures=1, p95_ms=9.0)
    found = {"machine": [there, there, None], "gpt": [called, None, None]}
    assert lines_of("calls", found, ["gpt"]) == [Line("gpt", [4, 0, None])]
    assert lines_of("failed_percent", found, ["gpt"]) == [Line("gpt", [25.0, None, None])]
    assert lines_of("p95_ms", found, ["gpt"]) == [Line("gpt", [9.0, None, None])]
    assert lines_of("calls", {"gpt": [called, None]}, ["gpt"]) == [Line("gpt", [4, None])]


def test_there_are_lines_of_those_in_trouble_and_of_those_that_are_called_most() -> None:
    found = {f"s{number}": [None, Sample(f"s{number}", calls=number)] for number in range(20)} | {"machine": [Sample("machine", 1.0)]}
    shown = shown_services(found, troubled={"s3", "s0", "gone"})
    assert shown == sorted(["s3", *(f"s{number}" for number in range(13, 20))])
    assert len(shown) == MAX_LINES
