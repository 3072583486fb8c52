"""What may be tried, how often, and what sets it off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import MOST_HEALS, Heal, HealState, Seen, Tries, Triggers, may_try, with_heal
from resilience.healing.policy import HealingActionType, HealingRule, SelfHealing

RESTART = HealingActionType.RESTART_SERVICE
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rule(**chosen: object) -> HealingRule:
    return HealingRule(**{"name": "r", "kinds": ("transient.network",), "actions": ("reset_connections",), **chosen})  # type: ignore[arg-type]


def error(kind: str = "transient.network.timeout", component: str = "x", operation: str = "ask") -> Seen:
    return Seen(kind, component, operation, "it failed")


@pytest.mark.parametrize(
    ("chosen", "seen", "fits"),
    [
        ({}, error(), True),
        ({}, error("transient.networking"), False),
        ({"except_kinds": ("transient.network.timeout",)}, error(), False),
        ({"components": ("x",)}, error(), True),
        ({"components": ("y",)}, error(), False),
        ({"kinds": (), "operations": ("probe",)}, error(operation="probe"), True),
        ({"kinds": (), "operations": ("probe",)}, error(), False),
    ],
)
def test_a_rule_matches_the_taxonomy_and_never_parts_of_names(chosen: dict[str, object], seen: Seen, fits: bool) -> None:
    assert rule(**chosen).fits(seen.kind, seen.component, seen.operation) is fits


@pytest.mark.parametrize(
    ("chosen", "key"),
    [
        ({"kinds": ("transient.nonsense",)}, "kinds"),
        ({"measurement": "cpu_percent"}, "above"),
        ({"kinds": ()}, ""),
        ({"measurement": "cpu_percent", "above": 9.0}, "kinds"),
        ({"actions": ()}, "actions"),
    ],
)
def test_a_rule_that_could_never_hold_is_refused(chosen: dict[str, object], key: str) -> None:
    assert key in [where for where, _ in rule(**chosen).contradictions()]


def test_the_default_rules_are_sound() -> None:
    policy = SelfHealing().sound()
    assert len({one.sound().name for one in policy.rules}) == len(policy.rules)


def test_an_error_sets_off_the_first_rule_that_fits_when_it_has_come_often_enough() -> None:
    triggers, rules = Triggers(), (rule(at_least=3, within_s=60.0), rule(name="second"))
    told = [[one.name for one in triggers.error(rules, error(), at)] for at in (0.0, 70.0, 80.0, 90.0)]
    assert told == [[], [], [], ["r"]]
    assert list(triggers.error(rules, error(component="y"), 91.0)) == []
    assert triggers.last_s(rules[0], "x") == 90.0


def test_made_up_components_do_not_fill_the_memory() -> None:
    triggers = Triggers()
    for number in range(5000):
        list(triggers.error((rule(at_least=2),), error(component=f"c{number}"), float(number)))
    assert len(triggers._times) <= triggers._MOST


def test_a_measurement_must_be_too_high_several_times_in_a_row() -> None:
    triggers = Triggers()
    rules = (rule(kinds=(), measurement="memory_percent", above=90.0, at_least=2, components=("machine",)),)
    values = [95.0, 80.0, 95.0, 96.0]
    told = [list(triggers.measured(rules, {("machine", "memory_percent"): value, ("x", "memory_percent"): 99.0})) for value in values]
    assert [len(one) for one in told] == [0, 0, 0, 1]
    assert told[3][0][1:] == ("machine", 96.0)


def test_tries_wait_for_their_pause_end_at_their_number_and_are_forgotten_after_a_quiet_time() -> None:
    policy, tries, one = SelfHealing(quiet_s=900.0), Tries(), rule(attempts=2, cooldown_s=60.0)
    assert may_try(tries, one, RESTART, "x", policy, 0.0) == "yes"
    assert tries.make(RESTART, "x", policy.quiet_s, 0.0) == 1
    assert may_try(tries, one, RESTART, "x", policy, 59.0) == "later"
    assert may_try(tries, one, RESTART, "y", policy, 59.0) == "yes"
    assert may_try(tries, one, RESTART, "x", policy, 60.0) == "yes"
    assert tries.make(RESTART, "x", policy.quiet_s, 60.0) == 2
    assert may_try(tries, one, RESTART, "x", policy, 900.0) == "never"
    assert may_try(tries, one, RESTART, "x", policy, 961.0) == "yes"


def test_the_oldest_that_have_ended_make_room_and_what_is_open_stays() -> None:
    heal = Heal(
        id=1, rule="r", action=RESTART, target="x", state=HealState.WAITING, trigger="", at=NOW,
        diagnosis=Diagnosis(pattern="r", component="x", root_cause="x"),
    )  # fmt: skip
    heals = with_heal({}, heal)
    for number in range(2, MOST_HEALS + 50):
        heals = with_heal(heals, replace(heal, id=number, state=HealState.HEALED, ended=NOW))
    assert len(heals) == MOST_HEALS
    assert heals[1].is_open
    assert heals[MOST_HEALS + 49].seconds == 0.0


def test_folders_of_caches_are_whole_paths() -> None:
    policy = SelfHealing(cache_folders={"x": ("/var/cache/x", "C:/cache", "cache")})
    assert list(policy.contradictions()) == [("cache_folders.x", "'cache' is not a whole path")]
