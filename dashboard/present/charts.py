"""What was measured, over time, for people: each chart with the table behind it, and a picture for pages without scripts. Pure.

The table is the chart's data: ``static/charts.js`` draws what stands there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from resilience.healing.policy import MACHINE
from resilience.journal.samples import Sample

WIDTH: Final = 600
HEIGHT: Final = 120
MAX_LINES: Final = 8
"""So many lines a chart has at most: more cannot be told apart."""
Unit = Literal["", "%", "ms"]
Value = float | None
NOTHING: Final = "—"
"""Instead of a value that there is none of."""


class Span(NamedTuple):
    """How far back a chart goes: ``steps`` steps of ``step`` minutes that end now."""

    step: int
    steps: int

    def first(self, minute: int) -> int:
        """The first minute of the first step, where the last one holds ``minute``."""
        return (minute // self.step - self.steps + 1) * self.step


SPANS: Final = {"1h": Span(1, 60), "24h": Span(10, 144), "7d": Span(60, 168)}
"""By the name of the window: see ``windows.WINDOWS``."""


class Line(NamedTuple):
    """One line of a chart, or its bars: what it is of, and its value at each step (None: nothing was measured)."""

    name: str
    values: Sequence[Value]


def steps(span: Span, minute: int) -> list[tuple[int, str]]:
    """Each step's beginning, in seconds since 1970 and in words in UTC, the oldest first."""
    first = span.first(minute)
    form = "%H:%M" if span.step == 1 else "%a %H:%M"
    moments = (60 * (first + number * span.step) for number in range(span.steps))
    return [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in moments]


def chart(
    name: str, moments: Sequence[tuple[int, str]], lines: Sequence[Line], *, unit: Unit = "", least: float = 1.0, tone: str = ""
) -> dict[str, Any]:
    """A chart as its template draws it.

    Args:
        name: its id on the page. moments: as from ``steps``. least: its scale goes up to this at least.
        tone: of a single line, if it means one.
    """
    top = max((least, *(value for line in lines for value in line.values if value is not None)))
    drawn = [
        {"name": line.name, "number": number, "path": path(line.values, top), "latest": said(_latest(line.values), unit)}
        for number, line in enumerate(lines)
    ]
    rows = [
        {"at": at, "text": text, "cells": [(line.values[place], said(line.values[place], unit)) for line in lines]}
        for place, (at, text) in enumerate(moments)
    ]
    is_empty = all(value is None for line in lines for value in line.values)
    step = (moments[1][0] - moments[0][0]) // 60 if len(moments) > 1 else 1
    return {
        "name": name, "unit": unit, "least": least, "step": step, "tone": tone,
        "lines": drawn, "rows": rows, "is_empty": is_empty,
    }  # fmt: skip


def path(values: Sequence[Value], top: float, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The path of a line (SVG) through ``values``, the oldest first, up to ``top``; it has a gap where nothing was measured."""
    step = width / max(1, len(values) - 1)
    parts, is_drawing = list[str](), False
    for number, value in enumerate(values):
        if value is not None:
            point = f"{number * step:.1f} {height - 2 - (height - 4) * min(value / top, 1):.1f}"
            # A point alone is a line of no length, which a round end makes a dot.
            parts.append(f"L{point}" if is_drawing else f"M{point}h0")
        is_drawing = value is not None
    return " ".join(parts)


def said(value: Value, unit: Unit) -> str:
    """A value as people read it."""
    if value is None:
        return NOTHING
    if unit == "ms":
        seconds = value / 1000
        return "< 1 ms" if value < 1 else f"{value:.0f} ms" if value < 999.5 else f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    number = f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return f"{number} {unit}".strip()


def _latest(values: Sequence[Value]) -> Value:
    return next((value for value in reversed(values) if value is not None), None)


def by_component(samples: Iterable[tuple[int, Sample]], span: Span, minute: int) -> dict[str, list[Sample | None]]:
    """What was measured of each component at each step of ``span``."""
    first = span.first(minute)
    found: dict[str, list[Sample | None]] = {}
    for at, one in samples:
        place = (at - first) // span.step
        if 0 <= place < span.steps:
            found.setdefault(one.component, [None] * span.steps)[place] = one
    return found


def lines_of(metric: str, found: Mapping[str, Sequence[Sample | None]], names: Iterable[str]) -> list[Line]:
    """A line each for the services ``names``, of what ``metric`` says: ``p95_ms``, ``calls`` or ``failed_percent``."""
    # Where WinClaw did not even look at the machine it was not there: nobody knows how many calls there were.
    looked = [one is not None for one in found[MACHINE]] if MACHINE in found else None
    return [
        Line(name, [_value(metric, one, looked is not None and looked[place]) for place, one in enumerate(found[name])])
        for name in names
    ]


def _value(metric: str, sample: Sample | None, is_zero: bool) -> Value:
    match metric:
        case "failed_percent":
            return None if sample is None or not sample.calls else 100 * (sample.failures or 0) / sample.calls
        case "calls":
            return (sample.calls or 0) if sample is not None else 0 if is_zero else None
        case _:
            return None if sample is None else sample.p95_ms


def shown_services(found: Mapping[str, Sequence[Sample | None]], troubled: Collection[str]) -> list[str]:
    """Of which services there are lines: of those that are in trouble first, then of those that were called most."""
    calls = {name: sum(one.calls or 0 for one in samples if one is not None) for name, samples in found.items()}
    called = [name for name in calls if calls[name]]
    first = sorted(called, key=lambda name: (name not in troubled, -calls[name], name))[:MAX_LINES]
    return sorted(first)
