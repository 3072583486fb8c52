"""What is put down to a version of the configuration, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from resilience.config.version import (
    ConfigTrouble,
    ConfigVersion,
    InForce,
    begun_again,
    came_into_force,
    has_crashed,
    is_watched,
    outcomes,
    trouble_after,
    with_trouble,
)
from resilience.degradation.levels import DegradationLevel
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

T0 = datetime(2026, 1, 1, tzinfo=UTC)
FULL, DEGRADED, MINIMAL = DegradationLevel.FULL, DegradationLevel.DEGRADED_LLM, DegradationLevel.MINIMAL


def version(number: int, changed: tuple[str, ...] = ("a: 1 → 2",), **more: object) -> ConfigVersion:
    told = {"number": number, "sha256": str(number), "author": "x", "changed": changed, "replaces": number - 1 or None, **more}
    return ConfigVersion(**told)  # type: ignore[arg-type]


def processes(**states: str) -> Mapping[str, ProcessStatus]:
    """``ready``, ``running``, ``failed``, or why it cannot start."""
    found = {}
    for name, word in states.items():
        state = {"ready": ProcessState.RUNNING, "running": ProcessState.RUNNING, "failed": ProcessState.FAILED}.get(word, ProcessState.WAITING)
        blocked = word if state is ProcessState.WAITING else ""
        found[name] = ProcessStatus(name=name, state=state, since=T0, ready=word == "ready", why="exit 1", needs_you=blocked)
    return found


def follows(
    before: InForce | None, one: ConfigVersion, level: DegradationLevel = FULL, at_s: float = 0.0, **states: str
) -> InForce:
    now = T0 + timedelta(seconds=at_s)
    return came_into_force(before, one, level, processes(**states), now=now, now_s=at_s, within_s=600.0)


FIRST = follows(None, version(1, changed=()))


def test_what_is_worse_than_before_is_trouble_and_what_was_bad_already_is_not() -> None:
    one = follows(FIRST, version(2), DEGRADED, web="ready", old="failed", slow="running", held="ready")
    assert (one.before, one.level, one.well) == (1, DEGRADED, ("held", "web"))
    assert trouble_after(one, DEGRADED, processes(web="ready", old="failed", slow="failed", held="ready")) == ""
    assert trouble_after(one, FULL, processes(web="running")) == "", "it may yet become ready, and what is not configured cannot fail"
    assert trouble_after(one, MINIMAL, {}) == "the level became Minimal, and was Degraded LLM"
    said = trouble_after(one, MINIMAL, processes(web="failed", held="port 80 is taken"))
    assert said == (
        "the level became Minimal, and was Degraded LLM; the process held, which ran well, cannot start: port 80 is taken; "
        "the process web, which ran well, has failed: exit 1"
    )


def test_it_is_watched_for_a_while() -> None:
    one = follows(FIRST, version(2), at_s=100.0)
    assert is_watched(one, 600.0, 700.0)
    assert not is_watched(one, 600.0, 700.1)


@pytest.mark.parametrize("what", ["the first", "only a comment", "a roll-back"])
def test_what_is_no_change_of_its_own_is_not_watched(what: str) -> None:
    """Nothing could be rolled back to, nothing changed, or somebody has just gone back: then going back again helps nobody."""
    one = {
        "the first": follows(None, version(1)), "only a comment": follows(FIRST, version(2, changed=())),
        "a roll-back": follows(FIRST, version(2, restores=1)),
    }[what]  # fmt: skip
    assert one.before is None
    assert not is_watched(one, 600.0, 0.0)
    assert has_crashed(one, T0, 600.0) == ""


def test_of_two_in_quick_succession_the_second_does_not_start_from_the_damage_of_the_first() -> None:
    second = follows(FIRST, version(2), web="ready")
    third = follows(second, version(3), MINIMAL, at_s=30.0, web="failed")
    assert (third.before, third.level, third.well) == (1, FULL, ("web",))
    assert trouble_after(third, FULL, processes(web="failed")) != ""
    slower = follows(second, version(3), at_s=30.0, web="running")
    assert (slower.before, slower.well) == (1, ("web",))


def test_what_stood_well_until_the_next_came_is_what_that_would_be_rolled_back_to() -> None:
    second = follows(FIRST, version(2), DEGRADED, at_s=0.0, web="ready")
    third = follows(second, version(3), DEGRADED, at_s=30.0, web="ready", more="ready")
    assert (third.before, third.level, third.well) == (2, DEGRADED, ("more", "web"))
    late = follows(second, version(3), MINIMAL, at_s=601.0)
    assert (late.before, late.level, late.well) == (2, MINIMAL, ())


def test_the_highest_number_is_known_though_an_older_version_is_in_force() -> None:
    third = follows(follows(FIRST, version(3)), version(2))
    assert (FIRST.highest, third.version.number, third.highest) == (1, 2, 3)


def test_trouble_is_known_once_and_only_of_the_version_in_force() -> None:
    one = follows(FIRST, version(2))
    assert with_trouble(one, ConfigTrouble(1, "x")) is None
    known = with_trouble(one, ConfigTrouble(2, "it burns"))
    assert known is not None
    assert (known.trouble, one.trouble) == ("it burns", "")
    assert with_trouble(known, ConfigTrouble(2, "it burns more")) is None
    later = follows(known, version(3), at_s=1000.0)
    assert (later.trouble, later.of_versions) == ("", {2: "it burns"})
    many = replace(one, troubles=tuple(ConfigTrouble(-number, "x") for number in range(100)))
    assert len((with_trouble(many, ConfigTrouble(2, "x")) or many).troubles) == 100


def test_a_restart_knows_how_old_it_is_unless_the_clock_was_set_back() -> None:
    one = follows(FIRST, version(2), at_s=50.0)
    kept = msgspec.convert(msgspec.json.decode(msgspec.json.encode(one)), InForce)
    assert kept == one
    assert begun_again(kept, one.since + timedelta(seconds=90), 7.0).since_s == -83.0
    assert begun_again(kept, one.since, 7.0).since_s == 7.0
    unknown = begun_again(kept, one.since - timedelta(seconds=1), 7.0)
    assert unknown.since_s is None
    assert not is_watched(unknown, 600.0, 7.0)


@pytest.mark.parametrize(("after_s", "said"), [(-1, ""), (0, "0"), (59.6, "60"), (600, "600"), (601, "")])
def test_a_crash_is_put_down_to_it_within_the_time(after_s: float, said: str) -> None:
    one = follows(FIRST, version(2))
    found = has_crashed(one, one.since + timedelta(seconds=after_s), 600.0)
    assert found == (f"WinClaw itself crashed {said} s later" if said else "")


def test_what_became_of_each() -> None:
    versions = [
        version(6, replaces=5), version(5, replaces=4, restores=3, because="it burns"), version(4), version(3), version(2),
    ]  # fmt: skip
    assert outcomes(versions, 6, {4: "it burns", 3: "it smoked"}) == {
        6: "in force", 5: "replaced by 6", 4: "rolled back to 3: it burns", 3: "followed by trouble: it smoked; replaced by 4",
        2: "replaced by 3",
    }  # fmt: skip
    assert outcomes(versions[1:], 5, {5: "it burns"})[5] == "in force; followed by trouble: it burns"
    assert outcomes(versions[:1], None, {})[6] == "no longer in force"
    by_hand = [version(2, restores=1), version(1)]
    assert outcomes(by_hand, 2, {1: "x"}) == {2: "in force", 1: "followed by trouble: x; rolled back to 1"}
    assert outcomes([version(3, replaces=1), version(2, replaces=1), version(1)], 3, {})[1] == "replaced by 2"
