"""What is unusual in a series of measurements, against what was usual lately (§6.1). Pure.

The baseline is the median of a window, and the spread the median distance from it, so one spike neither alarms nor
teaches. What stays different is first an anomaly and, if it stays long, the new normal.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

_TO_SIGMA: Final = 1.4826
"""How much larger a normal distribution's standard deviation is than its median distance from the median."""
_WINDOW: Final = 240
"""How many values are remembered."""
_LEAST: Final = 24
"""How many are needed before anything is said."""
_DISTANCE: Final = 6.0
"""How many spreads from the median are usual."""
_IN_A_ROW: Final = 3
"""So many values must agree, to begin an anomaly and to end it."""
_ADOPT_AFTER: Final = 120
"""After so many unusual values in a row they are what is usual."""


class Tolerance(Struct, frozen=True):
    """How far from the median is usual at least: a ``step`` in the measurement's own unit, and a ``part`` of the median."""

    step: float
    part: float = 0.05


class Baseline(Struct, frozen=True):
    """What was seen: the usual values, and the unusual ones since the last usual one. ``alarmed``: an anomaly goes on."""

    usual: tuple[float, ...] = ()
    odd: tuple[float, ...] = ()
    calm: int = 0
    alarmed: bool = False


class Change(Struct, frozen=True):
    """What a value has brought about: an anomaly began, ended, or was adopted as what is usual; and what would have been."""

    what: Literal["began", "ended", "adopted"]
    low: float
    high: float


def judged(baseline: Baseline, value: float, tolerance: Tolerance) -> tuple[Baseline, Change | None]:
    """The baseline after one more value, and what that changes. Values that are no numbers change nothing."""
    if not math.isfinite(value):
        return baseline, None
    if len(baseline.usual) < _LEAST:
        return replace(baseline, usual=(*baseline.usual, value)), None
    low, high = usual_range(baseline, tolerance)
    if low <= value <= high:
        usual = (*baseline.usual[-(_WINDOW - 1) :], value)
        calm = baseline.calm + 1
        if baseline.alarmed and calm >= _IN_A_ROW:
            return Baseline(usual), Change("ended", low, high)
        return Baseline(usual, baseline.odd if baseline.alarmed else (), calm, baseline.alarmed), None
    odd = (*baseline.odd, value)
    if len(odd) >= _ADOPT_AFTER:
        return Baseline(odd), Change("adopted", low, high)
    began = not baseline.alarmed and len(odd) >= _IN_A_ROW
    return Baseline(baseline.usual, odd, 0, baseline.alarmed or began), Change("began", low, high) if began else None


def usual_range(baseline: Baseline, tolerance: Tolerance) -> tuple[float, float]:
    """From where to where values are usual."""
    middle = median(baseline.usual)
    spread = _TO_SIGMA * median(abs(one - middle) for one in baseline.usual)
    reach = max(_DISTANCE * spread, tolerance.part * abs(middle), tolerance.step)
    return middle - reach, middle + reach
