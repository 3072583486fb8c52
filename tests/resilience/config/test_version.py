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
    has_lapsed,
    is_watched,
    outcomes,
    trouble_after,
    with_trouble,
    without_version,
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


def test_a_process_that_is_gone_hides_no_other_that_has_failed() -> None:
    assert "the process web" in trouble_after(follows(FIRST, version(2), agent="ready", web="ready"), FULL, processes(web="failed"))


def test_trouble_is_not_put_down_to_what_was_in_force_before_the_defaults() -> None:
    comment = follows(follows(FIRST, version(2)), version(3, changed=()))
    gone = without_version(comment, T0, 0.0)
    assert (comment.blamed.number, gone.blamed.number, gone.changed_by) == (2, 3, None)


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


def test_a_comment_that_is_saved_after_a_change_does_not_end_the_watch_over_that() -> None:
    """Who sees trouble edits the file, and may begin with a comment."""
    second = follows(FIRST, version(2), DEGRADED, at_s=10.0, web="ready")
    third = follows(second, version(3, changed=()), MINIMAL, at_s=40.0, web="failed")
    assert (third.version.number, third.blamed.number, third.highest, second.blamed.number) == (3, 2, 3, 2)
    assert (third.before, third.level, third.well, third.since, third.since_s) == (1, DEGRADED, ("web",), second.since, 10.0)
    assert is_watched(third, 600.0, 610.0)
    assert not is_watched(third, 600.0, 610.1)
    assert with_trouble(third, ConfigTrouble(3, "it burns")) is None
    known = with_trouble(third, ConfigTrouble(2, "it burns"))
    assert known is not None
    assert (known.trouble, known.of_versions) == ("it burns", {2: "it burns"})
    fourth = follows(known, version(4, changed=()), at_s=5000.0)
    assert (fourth.version.number, fourth.blamed.number, fourth.trouble) == (4, 2, "it burns"), "what is known stays to be decided on"
    fifth = follows(fourth, version(5), at_s=6000.0)
    assert (fifth.before, fifth.blamed.number, fifth.trouble) == (4, 5, "")
    later = follows(third, version(4, changed=()), at_s=700.0)
    assert (later.before, later.blamed.number) == (None, 4), "nothing was found in time"


def test_a_version_that_is_not_the_next_is_no_comment_on_the_one_before() -> None:
    """For want of a better one an earlier version may come into force, and nothing is said of what changed with it."""
    second = follows(FIRST, version(2), web="ready")
    earlier = follows(second, version(1, changed=()), at_s=5.0)
    assert (earlier.before, earlier.blamed.number) == (None, 1)
    again = follows(second, version(3, changed=(), restores=1), at_s=5.0)
    assert (again.before, again.blamed.number) == (None, 3)


def test_without_a_version_nothing_is_watched_and_no_number_is_given_twice() -> None:
    second = with_trouble(follows(FIRST, version(2)), ConfigTrouble(2, "it burns"))
    assert second is not None
    gone = without_version(second, T0 + timedelta(seconds=50), 50.0)
    assert (gone.holds, gone.before, gone.highest, gone.of_versions) == (False, None, 2, {2: "it burns"})
    assert (gone.since, gone.since_s) == (T0 + timedelta(seconds=50), 50.0)
    third = follows(gone, version(3), at_s=60.0)
    assert (third.holds, third.before, third.highest) == (True, None, 3), "the defaults are no version that could be gone back to"
    assert follows(gone, version(3, changed=(), replaces=2), at_s=60.0).holds


def test_that_going_back_was_decided_on_is_known_for_good() -> None:
    one = follows(FIRST, version(2))
    known = with_trouble(replace(one, troubles=(ConfigTrouble(1, "x"),)), ConfigTrouble(2, "it burns", T0))
    assert known is not None
    decided = with_trouble(known, ConfigTrouble(2, "whatever", None, offered=True))
    assert decided is not None
    assert decided.troubles == (ConfigTrouble(1, "x"), ConfigTrouble(2, "it burns", T0, offered=True))
    assert with_trouble(decided, ConfigTrouble(2, "it burns", offered=True)) is None
    assert with_trouble(decided, ConfigTrouble(2, "it burns")) is None
    unheard = with_trouble(one, ConfigTrouble(2, "it burns", offered=True))
    assert unheard is not None
    assert (unheard.trouble, unheard.known_trouble) == ("it burns", ConfigTrouble(2, "it burns", offered=True))


@pytest.mark.parametrize(("at", "after_s", "lapsed"), [(T0, 600.0, False), (T0, 600.1, True), (T0, -5.0, False), (None, 1e9, False)])
def test_trouble_lapses(at: datetime | None, after_s: float, lapsed: bool) -> None:
    assert has_lapsed(ConfigTrouble(2, "x", at), 600.0, T0 + timedelta(seconds=after_s)) is lapsed


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
