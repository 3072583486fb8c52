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


class AnomalyPolicy(Struct, frozen=True, kw_only=True):
    """When something is unusual.

    Attributes:
        window: how many values are remembered. least: how many are needed before anything is said.
        distance: how many spreads from the median are usual. floor: what is usual at least, as a part of the median.
        step: and in the measurement's own unit, for what is usually constant.
        in_a_row: so many values must agree, to begin an anomaly and to end it.
        adopt_after: after so many unusual values in a row they are what is usual.
    """

    window: int = 240
    least: int = 24
    distance: float = 6.0
    floor: float = 0.05
    step: float = 1.0
    in_a_row: int = 3
    adopt_after: int = 120


class Baseline(Struct, frozen=True):
    """What was seen: the usual values, and the unusual ones since the last usual one. ``alarmed``: an anomaly goes on."""

    usual: tuple[float, ...] = ()
    odd: tuple[float, ...] = ()
    calm: int = 0
    alarmed: bool = False


class Verdict(Struct, frozen=True):
    """What one more value means: a ``change`` (began, ended, adopted) or none, and what would have been usual."""

    change: Literal["", "began", "ended", "adopted"]
    value: float
    low: float
    high: float


def judged(baseline: Baseline, value: float, policy: AnomalyPolicy) -> tuple[Baseline, Verdict | None]:
    """The baseline after one more value, and what that means; None while too little is known.

    Values that are no numbers change nothing.
    """
    if not math.isfinite(value):
        return baseline, None
    if len(baseline.usual) < policy.least:
        return replace(baseline, usual=(*baseline.usual, value)), None
    low, high = usual_range(baseline, policy)
    if low <= value <= high:
        usual = (*baseline.usual[-(policy.window - 1) :], value)
        calm = baseline.calm + 1
        if baseline.alarmed and calm >= policy.in_a_row:
            return Baseline(usual), Verdict("ended", value, low, high)
        odd = baseline.odd if baseline.alarmed else ()
        return Baseline(usual, odd, calm, baseline.alarmed), Verdict("", value, low, high)
    odd = (*baseline.odd, value)
    if len(odd) >= policy.adopt_after:
        return Baseline(odd[-policy.window :]), Verdict("adopted" if baseline.alarmed else "", value, low, high)
    began = not baseline.alarmed and len(odd) >= policy.in_a_row
    after = Baseline(baseline.usual, odd, 0, baseline.alarmed or began)
    return after, Verdict("began" if began else "", value, low, high)


def usual_range(baseline: Baseline, policy: AnomalyPolicy) -> tuple[float, float]:
    """From where to where values are usual."""
    middle = median(baseline.usual)
    spread = _TO_SIGMA * median(abs(one - middle) for one in baseline.usual)
    reach = max(policy.distance * spread, policy.floor * abs(middle), policy.step)
    return middle - reach, middle + reach
