"""The timeline: lanes on one line of time, as places in thousandths of its width, words, and a table of the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from dashboard.present.errors import per_bucket
from dashboard.present.presence import bars
from dashboard.present.spans import Lane, Span
from dashboard.present.spans import as_view as lane_view
from dashboard.present.windows import WINDOWS, Moment, Window, around, how_long, link
from dashboard.present.words import SHAPES, first_line, when
from resilience.clock import as_text

WHOLE: Final = 1000.0
"""The width of a lane."""
LEAST: Final = 4.0
"""The width that a span is drawn with at the least, however short it was."""
MARK: Final = 22.0
"""How far apart marks have to be to be drawn apart."""
MOST: Final = 20
"""Boxes in a lane; of more, those that are closest together are one."""
_HEIGHT: Final = 24.0
_ALWAYS: Final = ("level", "healing", "alerts")
"""Lanes that are shown whether anything is on them or not."""
_WORST: Final = ("off", "ok", "info", "warn", "safe", "bad")
# (from above, height): so that a tone shows by its shape, too.
_FORMS: Final = {
    "off": (9.0, 6.0), "ok": (4.0, 16.0), "info": (4.0, 16.0), "warn": (2.0, 20.0), "safe": (0.0, 24.0), "bad": (0.0, 24.0),
}  # fmt: skip


class Box(NamedTuple):
    """Where spans are drawn: from ``left`` to ``right``, in thousandths."""

    left: float
    right: float
    spans: tuple[Span, ...]


def boxes(spans: Iterable[Span], since: datetime, until: datetime, now: datetime) -> list[Box]:
    """The spans in their places, none over another: what is too short to be seen is widened, or one with its neighbour."""
    placed: list[Box] = []
    for span in spans:
        end = span.until if span.until is not None else max(now, span.since)
        if end < since or span.since >= until or (end == since > span.since):
            continue
        left, right = (_place(at, since, until) for at in (span.since, end))
        right = min(max(right, left + LEAST), WHOLE)
        left = min(left, WHOLE - LEAST)
        last = placed[-1] if placed else None
        if last is None or left >= last.right:
            placed.append(Box(left, right, (span,)))
        elif right - last.right >= LEAST:
            placed.append(Box(last.right, right, (span,)))
        elif left - last.left >= LEAST:
            placed[-1] = last._replace(right=left)
            placed.append(Box(left, right, (span,)))
        else:
            placed[-1] = Box(last.left, max(last.right, right), (*last.spans, span))
    return _fewer(placed)


def marks(spans: Iterable[Span], since: datetime, until: datetime) -> list[Box]:
    """The same of what only happened: the places of marks, with those that would cover each other as one."""
    placed: list[Box] = []
    for span in spans:
        if not since <= span.since < until:
            continue
        at = min(max(_place(span.since, since, until), MARK / 2), WHOLE - MARK / 2)
        if placed and at - MARK / 2 < placed[-1].right:
            placed[-1] = placed[-1]._replace(spans=(*placed[-1].spans, span))
        else:
            placed.append(Box(at - MARK / 2, at + MARK / 2, (span,)))
    return _fewer(placed)


def _place(at: datetime, since: datetime, until: datetime) -> float:
    return min(max((at - since) / (until - since), 0.0), 1.0) * WHOLE


def _fewer(placed: list[Box]) -> list[Box]:
    """Not more than ``MOST`` boxes: those with the least between them are one."""
    while len(placed) > MOST:
        gap = min(range(1, len(placed)), key=lambda number: placed[number].left - placed[number - 1].right)
        one, other = placed[gap - 1], placed[gap]
        placed[gap - 1 : gap + 1] = [Box(one.left, other.right, (*one.spans, *other.spans))]
    return placed


def timeline(
    lanes: Iterable[Lane], minutes: Iterable[tuple[str, str, int]], window: Window, now: datetime, moment: Moment | None = None
) -> dict[str, Any]:
    """All that the section shows: its lanes, its errors by bucket, its table, and where time is written.

    Args:
        minutes: errors by minute, as the journal counts them. moment: what is chosen, which is marked.
    """
    until = window.until(now)
    since = until - window.length
    shown = [_lane(one, window, since, until, now, moment) for one in lanes]
    rows = [one for one in shown if one["boxes"] or one["key"] in _ALWAYS]
    errors = _errors(minutes, window, since, until, now, moment)
    ticks = [as_text(since + window.length * number / 4) for number in range(4)]
    chosen = None
    if moment is not None and since <= moment.at <= until:
        left, right = (_place(at, since, until) for at in around(moment, window))
        chosen = {"x": _percent(left), "width": _percent(max(right - left, LEAST))}
    return {
        "window": window, "windows": [(one, one.name == window.name) for one in WINDOWS.values()], "ticks": ticks,
        "until": as_text(until),
        "lanes": [one for one in rows if one["sort"] != "beats"], "agents": [one for one in rows if one["sort"] == "beats"],
        "errors": errors, "chosen": chosen,
        "table": [row for lane in [*rows, errors] for row in lane["boxes"]],
    }  # fmt: skip


def _lane(lane: Lane, window: Window, since: datetime, until: datetime, now: datetime, moment: Moment | None) -> dict[str, Any]:
    placed = marks(lane.spans, since, until) if lane.sort == "marks" else boxes(lane.spans, since, until, now)
    view = {"key": lane.key, "title": lane.title, "sort": lane.sort}
    found = [_box(one, lane, window, now, moment) for one in placed]
    if lane.sort == "beats":
        return {**view, "boxes": found, **bars(lane, window, now)}
    return {**view, "boxes": found}


def _box(box: Box, lane: Lane, window: Window, now: datetime, moment: Moment | None) -> dict[str, Any]:
    worst = max(box.spans, key=lambda one: _WORST.index(one.tone))
    first = box.spans[0]
    is_now = any(one.until is None for one in box.spans)
    end = max(one.until or now for one in box.spans)
    several = len(box.spans)
    what = worst.word if several == 1 else _several([one.word for one in box.spans])
    detail = first_line(worst.detail if several == 1 else "; ".join(one.detail for one in box.spans[:3] if one.detail), 300)
    labels = [f"\N{MULTIPLICATION SIGN}{several}"] if several > 1 else [f"{worst.short} {worst.word}".strip(), worst.short]
    top, height = _FORMS[worst.tone]
    since, until = as_text(first.since), as_text(end)
    is_point = end == first.since and not is_now
    times = when(since, now) if is_point else f"{when(since, now)} to {'now' if is_now else when(until, now)}"
    here = moment is not None and moment.of == lane.key and box.spans[0].since <= moment.at <= end
    return {
        "x": _percent(box.left), "width": _percent(box.right - box.left), "middle": _percent((box.left + box.right) / 2),
        "y": top, "height": height, "tone": worst.tone, "shape": worst.shape, "count": several,
        "label": next((text for text in labels if text and _fits(text, box.right - box.left)), ""),
        "lane": lane.title, "what": first_line(what, 120), "detail": detail, "since": since, "until": "" if is_now else until,
        "times": times, "took": "" if is_point else how_long(end - first.since), "is_now": is_now, "is_point": is_point,
        "href": link(window, Moment(first.since, lane.key)), "current": here, "more": worst.href if several == 1 else "",
    }  # fmt: skip


def _several(words: Sequence[str]) -> str:
    """``open, half-open; 7 in all``"""
    unlike = list(dict.fromkeys(words))
    more = ", …" if len(unlike) > 3 else ""
    return f"{', '.join(first_line(word, 60) for word in unlike[:3])}{more}; {len(words)} in all"


def _fits(text: str, width: float) -> bool:
    """Whether a text can be read in a box; a lane is 600 pixels wide at the least, where there is room for text at all."""
    return width * 0.6 >= (9 if len(text) > 2 else 3) + 6.6 * len(text)


def _errors(
    minutes: Iterable[tuple[str, str, int]], window: Window, since: datetime, until: datetime, now: datetime,
    moment: Moment | None,
) -> dict[str, Any]:  # fmt: skip
    """The errors of each bucket as bars; those of none have no box."""
    each = round(window.bucket / timedelta(minutes=1))
    counts = per_bucket(minutes, until - timedelta(minutes=1), window.buckets, each).get("", [0] * window.buckets)
    most, width = max((1, *counts)), WHOLE / window.buckets
    found = []
    for number, count in enumerate(counts):
        if not count:
            continue
        begins = since + window.bucket * number
        ends, height = begins + window.bucket, max(2.0, _HEIGHT * count / most)
        middle = begins + window.bucket / 2
        said = "1 error" if count == 1 else f"{count} errors"
        found.append({
            "x": _percent(number * width + width * 0.12), "width": _percent(width * 0.76), "y": round(_HEIGHT - height, 1),
            "height": round(height, 1), "tone": "bad", "shape": SHAPES["bad"], "count": count, "label": "", "lane": "Errors",
            "what": said, "detail": "", "since": as_text(begins), "until": as_text(ends), "is_now": False, "is_point": False,
            "times": f"{when(as_text(begins), now)} to {when(as_text(ends), now)}", "took": how_long(window.bucket),
            "href": link(window, Moment(middle, "errors")), "more": "",
            "current": moment is not None and moment.of == "errors" and begins <= moment.at < ends,
        })  # fmt: skip
    return {"key": "errors", "title": "Errors", "sort": "bars", "boxes": found, "total": sum(counts), "most": most}


def _percent(thousandths: float) -> str:
    return f"{thousandths / 10:.2f}%"


def as_view(
    lanes: Iterable[Lane], minutes: Iterable[tuple[str, str, int]], left_out: Mapping[str, int], window: Window, now: datetime
) -> dict[str, Any]:
    """The timeline as the API gives it: spans with their own times, whether they began before the window or not."""
    until = window.until(now)
    since = until - window.length
    errors = _errors(minutes, window, since, until, now, None)["boxes"]
    shown = [one for one in lanes if boxes(one.spans, since, until, now) or one.key in _ALWAYS]
    return {
        "window": window.name, "since": as_text(since), "until": as_text(until), "lanes": [lane_view(one) for one in shown],
        "errors": [{"since": one["since"], "until": one["until"], "errors": one["count"]} for one in errors],
        "left_out": dict(left_out),
    }  # fmt: skip
