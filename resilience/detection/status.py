"""What a series of looks says: well, unwell, or not known yet; and when to look again. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from resilience.detection.policy import Probe

_AGAIN_S: Final = 0.5
"""Pause after a failure: who is unwell is looked at more often, whatever its interval."""
_JITTER: Final = 0.1


class Outcome(Struct, frozen=True):
    """What one look found: whether all was well, how long it took, and what was seen, for people."""

    ok: bool
    seconds: float
    what: str


class ProbeStatus(Struct, frozen=True):
    """How something is. ``well`` is None until it is known; times in seconds, monotonic.

    ``failing_s``: when the present failures in a row began.
    """

    well: bool | None = None
    failures: int = 0
    failing_s: float | None = None
    what: str = ""


def after(status: ProbeStatus, outcome: Outcome, probe: Probe, now_s: float) -> ProbeStatus:
    """The status after another look: well at the first success, unwell after so many failures in a row."""
    if outcome.ok:
        return ProbeStatus(True, what=outcome.what)
    failures = status.failures + 1
    began_s = status.failing_s if status.failing_s is not None else now_s - outcome.seconds
    well = False if failures >= probe.failures else status.well
    return replace(status, well=well, failures=failures, failing_s=began_s, what=outcome.what)


def pause_s(status: ProbeStatus, probe: Probe, interval_s: float, dice: float) -> float:
    """How long until the next look, in seconds.

    Args:
        interval_s: where the probe has none of its own. dice: from 0 to 1; spreads looks that would fall together.
    """
    usual_s = probe.interval_s if probe.interval_s is not None else interval_s
    if status.well is not True or status.failures:
        return min(usual_s, _AGAIN_S)
    return usual_s * (1 - _JITTER * dice)
