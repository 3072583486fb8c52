"""What a series of looks says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.detection.policy import Probe
from resilience.detection.status import Outcome, ProbeStatus, after, pause_s

PROBE = Probe(tcp="127.0.0.1:1", failures=3)
WELL, UNWELL = Outcome(True, 0.1, "fine"), Outcome(False, 0.5, "refused")


def told(looks: str) -> ProbeStatus:
    """The status after looks a second apart: ``+`` well, ``-`` unwell."""
    status = ProbeStatus()
    for at_s, one in enumerate(looks):
        status = after(status, WELL if one == "+" else UNWELL, PROBE, float(at_s))
    return status


@pytest.mark.parametrize(
    ("looks", "well"),
    [
        ("", None), ("+", True), ("-", None), ("--", None), ("---", False), ("+--", True), ("+---", False),
        ("+--+--", True), ("---+", True), ("----", False),
    ],
)  # fmt: skip
def test_it_is_well_at_the_first_success_and_unwell_after_so_many_failures(looks: str, well: bool | None) -> None:
    assert told(looks).well is well


def test_it_knows_since_when_it_fails() -> None:
    """From the beginning of the first failed look, not from when that count was reached."""
    assert told("+---").failing_s == 1 - 0.5
    assert told("+---+").failing_s is None


def test_each_look_tells_what_it_found() -> None:
    assert told("+") == ProbeStatus(True, what="fine")
    assert told("--") == ProbeStatus(None, 2, 0 - 0.5, "refused")
    assert told("+---+") == told("+")


def test_who_is_unwell_is_looked_at_more_often() -> None:
    assert pause_s(told("+"), PROBE, 30, 0) == 30
    assert pause_s(told("+-"), PROBE, 30, 0) == 0.5
    assert pause_s(told(""), PROBE, 30, 0) == 0.5
    assert pause_s(told("-"), Probe(tcp="127.0.0.1:1", interval_s=0.2), 30, 0) == 0.2


@given(st.floats(0, 1))
def test_looks_are_spread_a_little_and_never_late(dice: float) -> None:
    assert 27 <= pause_s(told("+"), PROBE, 30, dice) <= 30
