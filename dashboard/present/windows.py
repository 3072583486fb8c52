"""How much time the timeline shows, and which moment of it is chosen. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from urllib.parse import urlencode

from resilience.clock import as_text

WindowName = Literal["1h", "24h", "7d"]


class Window(NamedTuple):
    """How much time is shown, in how many buckets, and how much around a moment (half of it) when one is chosen.

    ``digits`` of a time are told apart where there is very much.
    """

    name: WindowName
    title: str
    length: timedelta
    buckets: int
    around: timedelta
    digits: int

    @property
    def bucket(self) -> timedelta:
        """How long a bucket is: whole minutes."""
        return self.length / self.buckets

    def until(self, now: datetime) -> datetime:
        """The end of what is shown: the end of the present minute."""
        return now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)


WINDOWS: Final = {
    one.name: one
    for one in (
        Window("1h", "last hour", timedelta(hours=1), 60, timedelta(minutes=5), 16),
        Window("24h", "last 24 hours", timedelta(hours=24), 48, timedelta(minutes=15), 15),
        Window("7d", "last 7 days", timedelta(days=7), 56, timedelta(minutes=90), 13),
    )
}


class Moment(NamedTuple):
    """What is chosen: a moment, and the lane on which somebody chose it, if they did."""

    at: datetime
    of: str = ""


def around(moment: Moment, window: Window) -> tuple[datetime, datetime]:
    """From when to when, in whole minutes, all is shown that belongs to a chosen moment."""
    minute = moment.at.astimezone(UTC).replace(second=0, microsecond=0)
    return minute - window.around, minute + window.around


def holding(window: Window, moment: Moment | None, now: datetime) -> Window:
    """The window, or the first longer one in which the moment still is; the longest, if it is in none."""
    wider = [one for one in WINDOWS.values() if one.length >= window.length]
    if moment is None:
        return window
    return next((one for one in wider if moment.at >= one.until(now) - one.length), wider[-1])


def link(window: Window, moment: Moment | None = None) -> str:
    """Where the overview shows this."""
    chosen = {"at": as_text(moment.at), **({"of": moment.of} if moment.of else {})} if moment is not None else {}
    return f"/?{urlencode({'window': window.name, **chosen})}"


def how_long(span: timedelta) -> str:
    """``41 s``, ``4 min 20 s``, ``2 h 5 min``, ``3 d 4 h``"""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    for large, small, size, less in (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if seconds >= size:
            rest = int(seconds % size // less)
            return f"{seconds // size:.0f} {large} {rest} {small}" if rest else f"{seconds // size:.0f} {large}"
    raise AssertionError(seconds)
