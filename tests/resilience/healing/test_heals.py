"""What may be tried, how often, and what sets it off."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import MOST_HEALS, Heal, Heals, HealState, Tries, Triggers, may_try, with_heal
from resilience.healing.policy import HealingActionType, HealingRule, SelfHealing

RESTART = HealingActionType.RESTART_SERVICE
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rule(**chosen: object) -> HealingRule:
    return HealingRule(**{"name": "r", "kinds": ("transient.network",), "actions": ("reset_connections",), **chosen})  # type: ignore[arg-type]


Seen = tuple[str, str, str]


def error(kind: str = "transient.network.timeout", component: str = "x", operation: str = "ask") -> Seen:
    return kind, component, operation


def test_calls_that_wait_learn_what_was_mended_and_how_it_ended() -> None:
    heal = Heal(
        id=7, rule="r", action=RESTART, target="server", state=HealState.HEALED, trigger="", at=NOW,
        diagnosis=Diagnosis(pattern="r", component="store", root_cause="disk"),
    )  # fmt: skip
    assert heal.outcome() == {"id": 7, "component": "store", "root_cause": "disk", "target": "server", "outcome": "healed"}


@pytest.mark.parametrize(
    ("chosen", "seen", "fits"),
    [
        ({}, error(), True),
        ({"kinds": ("agentic", "transient")}, error(), True),
        ({"measurement": "cpu_percent", "above": 9.0}, error(), False),
        ({"components": ("y", "x"), "operations": ("ask",)}, error(), True),
        ({"components": ("x",), "operations": ("probe",)}, error(), False),
        ({"except_kinds": ("transient.network.dns",)}, error(), True),
        ({}, error("transient.networking"), False),
        ({"except_kinds": ("transient.network.timeout",)}, error(), False),
        ({"components": ("x",)}, error(), True),
        ({"components": ("y",)}, error(), False),
        ({"kinds": (), "operations": ("probe",)}, error(operation="probe"), True),
        ({"kinds": (), "operations": ("probe",)}, error(), False),
    ],
)
def test_a_rule_matches_the_taxonomy_and_never_parts_of_names(chosen: dict[str, object], seen: Seen, fits: bool) -> None:
    assert rule(**chosen).fits(*seen) is fits


@pytest.mark.parametrize(
    ("chosen", "keys"),
    [
        ({"kinds": ("transient.nonsense",)}, ["kinds"]),
        ({"measurement": "cpu_percent"}, ["above", "kinds"]),
        ({"kinds": (), "measurement": "cpu_percent"}, ["above"]),
        ({"above": 9.0}, ["above"]),
        ({"kinds": ()}, [""]),
        ({"measurement": "cpu_percent", "above": 9.0}, ["kinds"]),
        ({"kinds": (), "operations": ("probe",), "measurement": "cpu_percent", "above": 9.0}, ["kinds"]),
        ({"except_kinds": ("transient", "transient.nonsense")}, ["except_kinds"]),
        ({"actions": ()}, ["actions"]),
    ],
)
def test_a_rule_that_could_never_hold_is_refused(chosen: dict[str, object], keys: list[str]) -> None:
    assert [where for where, _ in rule(**chosen).contradictions()] == keys


@pytest.mark.parametrize(
    "chosen",
    [
        {"kinds": (), "components": ("x",)}, {"kinds": (), "operations": ("probe",)},
        {"kinds": (), "measurement": "cpu_percent", "above": 9.0}, {"except_kinds": ("transient.network.dns",)},
        {"kinds": (), "measurement": "cpu_percent", "above": 9.0, "components": ("x",)},
    ],
)  # fmt: skip
def test_a_rule_may_be_for_anything_that_can_be_told_apart(chosen: dict[str, object]) -> None:
    assert list(rule(**chosen).contradictions()) == []


def test_the_default_rules_are_sound() -> None:
    policy = SelfHealing().sound()
    assert len({one.sound().name for one in policy.rules}) == len(policy.rules)


def test_an_error_sets_off_the_first_rule_that_fits_when_it_has_come_often_enough() -> None:
    triggers, rules = Triggers(), (rule(at_least=3, within_s=60.0), rule(name="second"))
    told = [triggers.error(rules, *error(), at) for at in (0.0, 70.0, 80.0, 90.0)]
    assert told == [None, None, None, rules[0]]
    assert triggers.error(rules, *error(component="y"), 91.0) is None
    assert triggers.last_s(rules[0], "x") == 90.0


def test_a_troubles_errors_count_within_the_time_and_each_component_for_itself() -> None:
    """What came exactly as long ago does not count any more; what was counted goes on counting after the rule was told."""
    triggers, rules = Triggers(), (rule(at_least=2, within_s=60.0),)
    trace = [
        (0.0, "x", False), (60.0, "x", False), (60.0, "y", False), (119.9, "x", True), (120.0, "y", False), (121.0, "x", True),
    ]  # fmt: skip
    for now_s, component, told in trace:
        assert triggers.error(rules, *error(component=component), now_s) == (rules[0] if told else None)
    assert (triggers.last_s(rules[0], "x"), triggers.last_s(rules[0], "y"), triggers.last_s(rules[0], "z")) == (121.0, 120.0, None)
    assert triggers.last_s(rule(name="another"), "x") is None


@pytest.mark.parametrize(("component", "operation", "told"), [("x", "ask", True), ("y", "ask", False), ("x", "probe", False)])
def test_an_error_counts_for_the_rule_of_its_component_and_operation(component: str, operation: str, told: bool) -> None:
    rules = (rule(components=("x",), operations=("ask",)),)
    assert Triggers().error(rules, *error(component=component, operation=operation), 1.0) == (rules[0] if told else None)


def test_an_error_that_no_rule_is_for_is_not_remembered() -> None:
    triggers, rules = Triggers(), (rule(kinds=("persistent",)), rule(name="second"))
    assert triggers.error(rules, *error(), 1.0) is rules[1]
    assert triggers.last_s(rules[0], "x") is None
    assert triggers.error(rules[:1], *error(), 2.0) is None


def test_of_too_many_components_those_are_forgotten_that_had_no_error_for_longest() -> None:
    triggers, rules, most = Triggers(), (rule(at_least=2, within_s=1e6),), Triggers._MOST
    for number in [*range(most), 0, most]:
        triggers.error(rules, *error(component=f"c{number}"), float(number))
    assert triggers.last_s(rules[0], "c1") is None
    assert triggers.last_s(rules[0], "c2") == 2.0
    assert [triggers.error(rules, *error(component=one), 1.0) for one in ("c0", "c1", f"c{most}")] == [rules[0], None, rules[0]]


def test_made_up_components_do_not_fill_the_memory() -> None:
    triggers = Triggers()
    for number in range(5000):
        triggers.error((rule(at_least=2),), *error(component=f"c{number}"), float(number))
    assert len(triggers._times) <= triggers._MOST


def test_a_measurement_must_be_too_high_several_times_in_a_row() -> None:
    triggers = Triggers()
    rules = (rule(kinds=(), measurement="memory_percent", above=90.0, at_least=2, components=("machine",)),)
    values = [95.0, 80.0, 95.0, 96.0]
    told = [list(triggers.measured(rules, {("machine", "memory_percent"): value, ("x", "memory_percent"): 99.0})) for value in values]
    assert [len(one) for one in told] == [0, 0, 0, 1]
    assert told[3][0][1:] == ("machine", 96.0)


CPU, MEMORY = "cpu_percent", "memory_percent"


@pytest.mark.parametrize(
    ("chosen", "looks", "told"),
    [
        ({}, [{("x", MEMORY): 90.0}], []),
        ({}, [{("x", MEMORY): 90.1}], [("r", "x", 90.1)]),
        ({}, [{("x", CPU): 99.0}], []),
        ({}, [{("x", CPU): 1.0, ("x", MEMORY): 99.0}], [("r", "x", 99.0)]),
        ({}, [{("x", MEMORY): 91.0, ("y", MEMORY): 92.0}], [("r", "x", 91.0), ("r", "y", 92.0)]),
        ({"components": ("y",)}, [{("x", MEMORY): 91.0, ("y", MEMORY): 92.0}], [("r", "y", 92.0)]),
        ({"at_least": 2}, [{("x", MEMORY): 91.0}, {("y", MEMORY): 92.0}], []),
        ({"at_least": 2}, [{("x", MEMORY): 91.0}, {}, {("x", MEMORY): 91.0}], []),
        ({"at_least": 2}, [{("x", MEMORY): 91.0, ("y", MEMORY): 1.0}] * 3, [("r", "x", 91.0)] * 2),
        ({"kinds": ("transient",), "measurement": None, "above": None}, [{("x", MEMORY): 99.0}], []),
    ],
)  # fmt: skip
def test_each_component_must_be_past_the_value_by_itself(
    chosen: dict[str, object], looks: list[dict[tuple[str, str], float]], told: list[tuple[str, str, float]]
) -> None:
    triggers, rules = Triggers(), (rule(**{"kinds": (), "measurement": MEMORY, "above": 90.0, **chosen}),)
    assert [(one.name, component, value) for values in looks for one, component, value in triggers.measured(rules, values)] == told


def test_looks_in_a_row_count_for_each_rule_by_itself() -> None:
    triggers = Triggers()
    rules = tuple(rule(name=f"from {above:g}", kinds=(), measurement=MEMORY, above=above, at_least=2) for above in (50.0, 90.0))
    told = [[one.name for one, _, _ in triggers.measured(rules, {("x", MEMORY): value})] for value in (60.0, 95.0, 95.0)]
    assert told == [[], ["from 50"], ["from 50", "from 90"]]


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


@pytest.mark.parametrize(
    ("chosen", "answer"),
    [({}, "never"), ({"attempts": 3}, "later"), ({"attempts": 3, "cooldown_s": 5.0}, "yes"), ({"attempts": 1, "cooldown_s": 0.0}, "never")],
)
def test_what_a_rule_does_not_say_of_tries_and_pauses_holds_for_all(chosen: dict[str, object], answer: str) -> None:
    policy, tries = SelfHealing(max_healing_attempts=1, healing_cooldown=60.0), Tries()
    tries.make(RESTART, "x", policy.quiet_s, 100.0)
    assert may_try(tries, rule(**chosen), RESTART, "x", policy, 110.0) == answer


def test_each_action_on_each_target_has_tries_of_its_own() -> None:
    tries = Tries()
    for now_s, action, target, number in [
        (500.0, RESTART, "x", 1), (510.0, RESTART, "y", 1), (520.0, RESTART, "x", 2),
        (530.0, HealingActionType.CLEAR_CACHE, "x", 1), (540.0, RESTART, "x", 3),
    ]:  # fmt: skip
        assert tries.make(action, target, 900.0, now_s) == number
    assert tries.before(RESTART, "x", 900.0, 550.0) == (3, 10.0)
    assert tries.before(RESTART, "y", 900.0, 550.0) == (1, 40.0)
    assert tries.before(RESTART, "z", 900.0, 550.0) == (0, None)


def test_tries_count_for_less_than_the_quiet_time_and_take_no_memory_then() -> None:
    tries = Tries()
    tries.make(RESTART, "x", 900.0, 100.0)
    assert tries.before(RESTART, "x", 900.0, 999.9) == (1, pytest.approx(899.9))
    assert tries.before(RESTART, "x", 900.0, 1000.0) == (0, None)
    assert tries.make(RESTART, "y", 900.0, 1000.0) == 1
    assert list(tries.made) == [(RESTART, "y")]


HEAL = Heal(
    id=1, rule="r", action=RESTART, target="x", state=HealState.WAITING, trigger="", at=NOW,
    diagnosis=Diagnosis(pattern="r", component="x", root_cause="x"),
)  # fmt: skip


def many(state: HealState, count: int, heals: Heals = MappingProxyType({})) -> Heals:
    """``count`` more heals in ``state``."""
    for _ in range(count):
        heals = with_heal(heals, replace(HEAL, id=len(heals) + 1 if not heals else max(heals) + 1, state=state))
    return heals


def test_the_oldest_that_have_ended_make_room_and_what_is_open_stays() -> None:
    heals = with_heal({}, HEAL)
    for number in range(2, MOST_HEALS + 50):
        heals = with_heal(heals, replace(HEAL, id=number, state=HealState.HEALED, ended=NOW))
    assert len(heals) == MOST_HEALS
    assert heals[1].is_open
    assert heals[MOST_HEALS + 49].seconds == 0.0


@pytest.mark.parametrize("state", [HealState.WAITING, HealState.APPROVED, HealState.RUNNING, HealState.VERIFYING, HealState.ESCALATED])
def test_what_goes_on_or_waits_for_a_person_makes_no_room_until_there_are_twice_as_many(state: HealState) -> None:
    """So a person finds what waits, and the memory is bounded all the same."""
    heals = with_heal(many(state, MOST_HEALS), replace(HEAL, id=9000, state=HealState.FAILED))
    assert list(heals) == list(range(1, MOST_HEALS + 1))
    heals = many(state, 2 * MOST_HEALS)
    assert list(heals) == list(range(1, 2 * MOST_HEALS + 1))
    assert list(many(state, 2, heals)) == list(range(3, 2 * MOST_HEALS + 3))


def test_a_heal_that_has_changed_keeps_its_place_and_those_before_stay_as_they_were() -> None:
    before = many(HealState.HEALED, MOST_HEALS)
    after = with_heal(before, replace(HEAL, id=1, state=HealState.FAILED))
    assert (list(after), after[1].state, before[1].state) == (list(before), HealState.FAILED, HealState.HEALED)


def test_a_heals_time_is_known_when_it_has_ended() -> None:
    """Approval included."""
    ended = replace(HEAL, state=HealState.HEALED, ended=NOW + timedelta(seconds=90))
    assert (HEAL.seconds, ended.seconds) == (None, 90.0)
    assert (HEAL.view()["seconds"], ended.view()["seconds"]) == (None, 90.0)
    view = json.loads(json.dumps(ended.view()))
    assert (view["id"], view["action"], view["state"], view["diagnosis"]["root_cause"]) == (1, "restart_service", "healed", "x")


def test_folders_of_caches_are_whole_paths() -> None:
    policy = SelfHealing(cache_folders={"x": ("/var/cache/x", "C:/cache", "cache")})
    assert list(policy.contradictions()) == [("cache_folders.x", "'cache' is not a whole path")]


def test_rules_have_names_of_their_own() -> None:
    policy = SelfHealing(rules=(rule(), rule(name="s"), rule()))
    assert list(policy.contradictions()) == [("rules[2].name", "there is another rule 'r'; give each a name of its own")]
