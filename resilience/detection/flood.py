"""One error a thousand times a second: the first is told at once, of the others how many there were. Pure."""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import replace

from resilience.detection.lines import Finding

_WINDOW_S: Final = 10.0
_MOST: Final = 500
_NUMBERS: Final = re.compile(r"\d+")


class Collapser:
    """Lets the first finding of a kind through, and counts those like it for ten seconds. Time comes in as an argument."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[float, int, Finding]] = {}

    def take(self, finding: Finding, now_s: float) -> list[Finding]:
        """What is to be told of this finding now: itself, or nothing; past 500 kinds the oldest one is told off first."""
        key = (finding.type, _NUMBERS.sub("#", finding.message[:200]))
        known = self._open.get(key)
        if known is not None:
            self._open[key] = (known[0], known[1] + 1, finding)
            return []
        made_room: list[Finding] = []
        if len(self._open) >= _MOST:
            _, count, last = self._open.pop(next(iter(self._open)))
            made_room = [_counted(last, count)] if count else []
        self._open[key] = (now_s + _WINDOW_S, 0, finding)
        return [*made_room, finding]

    def due(self, now_s: float) -> list[Finding]:
        """The last finding of each kind whose time is up and that came again, with how often it did."""
        over = [key for key, (until_s, _, _) in self._open.items() if now_s >= until_s]
        ended = [self._open.pop(key) for key in over]
        return [_counted(last, count) for _, count, last in ended if count]


def _counted(last: Finding, count: int) -> Finding:
    return replace(last, facts={**last.facts, "repeated": count})
