from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.degradation.levels import (
    FEATURES,
    DegradationLevel,
    Demand,
    Latch,
    Standing,
    Wanted,
    at_first,
    choose,
    followed,
    held,
)
from resilience.degradation.policy import LevelPolicy

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LATER = T0 + timedelta(hours=1)


def test_every_level_has_the_complete_row_of_features() -> None:
    flags = set(FEATURES[DegradationLevel.FULL])
    assert len(flags) == 16
    assert all(set(row) == flags for row in FEATURES.values())


def test_a_fuller_level_allows_all_that_a_lesser_one_does() -> None:
    for fuller, lesser in pairwise(DegradationLevel):
        allowed = {flag for flag, on in FEATURES[lesser].items() if on and flag != "read_only_mode"}
        assert allowed <= {flag for flag, on in FEATURES[fuller].items() if on}


def test_safe_mode_allows_nothing_but_reading() -> None:
    assert [flag for flag, on in FEATURES[DegradationLevel.SAFE_MODE].items() if on] == ["read_only_mode"]


def test_core_and_basic_loops_run_wherever_a_fuller_set_does() -> None:
    row = FEATURES[DegradationLevel.FULL]
    assert row["enable_all_loops"]
    assert row["enable_core_loops"]
    assert row["enable_basic_loop"]


@pytest.mark.parametrize("word", ["safe-mode", "SAFE_MODE", "Safe-Mode", "5"])
def test_a_level_is_found_under_each_of_its_names(word: str) -> None:
    assert DegradationLevel.named(word) is DegradationLevel.SAFE_MODE


def test_an_unknown_level_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="full, degraded-llm, limited-external, minimal, safe-mode"):
        DegradationLevel.named("panic")


def test_features_are_on_from_the_start() -> None:
    assert at_first(T0).level is DegradationLevel.FULL


def test_a_manual_choice_is_pinned_and_auto_releases_it() -> None:
    pinned = choose(at_first(T0), DegradationLevel.MINIMAL, actor="tray", now=LATER)
    assert (pinned.level, pinned.pinned, pinned.since) == (DegradationLevel.MINIMAL, True, LATER)
    assert "tray" in pinned.cause
    released = choose(pinned, None, actor="tray", now=LATER)
    assert (released.level, released.pinned) == (DegradationLevel.FULL, False)


def test_choosing_the_same_level_again_keeps_since() -> None:
    pinned = choose(at_first(T0), DegradationLevel.MINIMAL, actor="tray", now=T0)
    assert choose(pinned, DegradationLevel.MINIMAL, actor="page", now=LATER).since == T0


def test_a_standing_survives_the_journal() -> None:
    pinned = choose(at_first(T0), DegradationLevel.SAFE_MODE, actor="tray", now=T0)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(pinned))), Standing) == pinned


# The rules. A trace is a list of steps: seconds that pass, the levels that rules ask for then, and the level after it.

FULL, LLM, LIMITED, MINIMAL, SAFE = DegradationLevel
POLICY = LevelPolicy(recover_after_s=30)


def asks(*levels: DegradationLevel, auto_recover: bool = True, priority: int = 100) -> list[Demand]:
    return [Demand(f"rule {one.value}", one, f"cause {one.value}", priority, auto_recover) for one in levels]


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def play(steps: list[tuple[float, list[Demand], DegradationLevel]], policy: LevelPolicy = POLICY) -> Standing:
    standing, now_s = at_first(T0), 0.0
    for number, (passed_s, demands, level) in enumerate(steps):
        now_s += passed_s
        standing = followed(standing, demands, policy, at(now_s), now_s)
        assert standing.level is level, f"step {number}, at {now_s:g} s"
    return standing


def test_the_worst_of_what_rules_ask_for_holds_at_once() -> None:
    """In the document's sample the comparison was inverted: it never degraded."""
    standing = play([(0, asks(LLM), LLM), (0, asks(LLM, MINIMAL, LIMITED), MINIMAL)])
    assert (standing.cause, standing.pinned, standing.latched) == ("cause 4", False, False)


def test_of_rules_for_one_level_the_lowest_priority_names_the_cause() -> None:
    demands = [Demand("late", LLM, "the second", 2), Demand("first", LLM, "the first", 1)]
    assert play([(0, demands, LLM)]).cause == "the first"


def test_it_rises_one_step_after_each_quiet_time() -> None:
    play(
        [
            (0, asks(MINIMAL), MINIMAL), (1, [], MINIMAL), (29.9, [], MINIMAL), (0.1, [], LIMITED), (29.9, [], LIMITED),
            (0.1, [], LLM), (30, [], FULL),
        ]
    )  # fmt: skip


def test_it_does_not_rise_above_what_is_still_asked_for() -> None:
    standing = play([(0, asks(MINIMAL, LLM), MINIMAL), (1, asks(LLM), MINIMAL), (30, asks(LLM), LIMITED), (30, asks(LLM), LLM)])
    assert standing.cause == "cause 2"
    assert followed(standing, asks(LLM), POLICY, at(999), 999).level is LLM


def test_a_cause_that_comes_back_begins_the_quiet_time_anew() -> None:
    play([(0, asks(LLM), LLM), (1, [], LLM), (29, asks(LLM), LLM), (1, [], LLM), (29, [], LLM), (1, [], FULL)])


def test_a_time_to_rise_is_told_as_long_as_all_stays_well() -> None:
    standing = play([(0, asks(LLM), LLM), (10, [], LLM)])
    assert standing.wanted.rises_at == at(40)
    assert followed(standing, [], POLICY, at(20), 20).wanted.rises_at == at(40)
    assert followed(standing, asks(LLM), POLICY, at(20), 20).wanted.rises_at is None


def test_a_rule_that_does_not_recover_by_itself_latches_until_auto() -> None:
    """In the document's sample nobody read ``auto_recover``, and Safe Mode left by itself."""
    standing = play([(0, asks(SAFE, auto_recover=False), SAFE), (1, [], SAFE), (100_000, [], SAFE)])
    assert standing.latched
    assert [latch.rule for latch in standing.wanted.latches] == ["rule 5"]
    released = choose(standing, None, actor="tray", now=at(100_100))
    assert (released.level, released.latched, released.wanted.counts_since) == (FULL, False, at(100_100))


def test_without_auto_recover_every_rule_latches() -> None:
    policy = LevelPolicy(auto_recover=False, recover_after_s=0)
    play([(0, asks(LLM), LLM), (1, [], LLM), (9999, [], LLM)], policy)


def test_without_auto_degrade_no_rule_lowers_the_level() -> None:
    play([(0, asks(SAFE, auto_recover=False), FULL)], LevelPolicy(auto_degrade=False))


def test_a_pinned_level_stays_and_shows_what_the_rules_want() -> None:
    """In the document's sample the next health report undid a manual choice."""
    pinned = choose(at_first(T0), LLM, actor="tray", now=T0)
    after = followed(pinned, asks(MINIMAL), POLICY, at(5), 5)
    assert (after.level, after.pinned, after.cause) == (LLM, True, pinned.cause)
    assert (after.wanted.level, after.wanted.cause) == (MINIMAL, "cause 4")
    assert choose(after, None, actor="tray", now=at(6)).level is MINIMAL


def test_auto_from_a_pin_does_not_release_what_is_latched_beneath() -> None:
    standing = play([(0, asks(MINIMAL, auto_recover=False), MINIMAL)])
    pinned = choose(standing, FULL, actor="page", now=at(1))
    back = choose(pinned, None, actor="page", now=at(2))
    assert (back.level, back.latched) == (MINIMAL, True)
    assert choose(back, None, actor="page", now=at(3)).level is FULL


def test_leaving_safe_mode_releases_what_is_latched_even_if_it_was_pinned_too() -> None:
    standing = play([(0, asks(SAFE, auto_recover=False), SAFE)])
    pinned = choose(standing, SAFE, actor="page", now=at(1))
    assert choose(pinned, None, actor="page", now=at(2)).level is FULL


def test_what_is_held_is_latched_like_a_rule() -> None:
    standing = held(at_first(T0), Latch("crash_loop", SAFE, "It crashed.", T0), T0)
    assert (standing.level, standing.latched, standing.cause) == (SAFE, True, "It crashed.")
    assert followed(standing, [], POLICY, at(1e6), 1e6).level is SAFE
    lesser = held(standing, Latch("other", LLM, "?", T0), T0)
    assert (lesser.level, len(lesser.wanted.latches)) == (SAFE, 2)


def test_the_services_that_the_level_is_due_to_are_known() -> None:
    demands = [
        Demand("one", LLM, "?", unwell=frozenset({"gpt-5.2"})), Demand("two", LIMITED, "?", unwell=frozenset({"gmail_api", "twilio_api"})),
    ]  # fmt: skip
    assert play([(0, demands, LIMITED)]).wanted.unwell == {"gmail_api", "twilio_api"}
    assert play([(0, demands, LIMITED), (1, [], LIMITED)]).wanted.unwell == frozenset()


# What is said of it, and what is kept beneath.


@pytest.mark.parametrize(("level", "word", "title"), [(FULL, "full", "Full"), (LLM, "degraded-llm", "Degraded LLM"), (SAFE, "safe-mode", "Safe Mode")])
def test_a_level_has_a_word_for_programs_and_a_title_for_people(level: DegradationLevel, word: str, title: str) -> None:
    assert (level.word, level.title) == (word, title)
    assert DegradationLevel.named(f" {word} ") is level


def test_a_new_installation_allows_everything_and_nobody_chose_it() -> None:
    assert at_first(T0) == Standing(level=FULL, since=T0, cause="Everything is allowed.", wanted=Wanted(cause="Everything is allowed."))


def test_a_persons_choice_says_by_whom_and_hides_a_latch_without_ending_it() -> None:
    latched = play([(0, asks(MINIMAL, auto_recover=False), MINIMAL)])
    pinned = choose(latched, LLM, actor="page", now=LATER)
    assert pinned == Standing(
        level=LLM, since=LATER, cause="Chosen by hand (page); it holds until Auto.", pinned=True, latched=False, wanted=latched.wanted
    )


def test_auto_says_by_whom_if_all_is_allowed_again_and_else_what_the_rules_say() -> None:
    pinned = choose(at_first(T0), MINIMAL, actor="tray", now=at(1))
    free = choose(pinned, None, actor="page", now=at(2))
    assert (free.cause, free.since) == ("Back to automatic, by page; no rule asks for less.", at(2))
    assert free.wanted.cause == free.cause
    lowered = choose(play([(0, asks(LIMITED), LIMITED)]), MINIMAL, actor="tray", now=at(1))
    back = choose(lowered, None, actor="page", now=at(2))
    assert (back.level, back.cause) == (LIMITED, "cause 3")


def test_auto_releases_a_latch_wherever_no_pin_hides_it_and_in_safe_mode_always() -> None:
    latched = play([(0, asks(MINIMAL, auto_recover=False), MINIMAL)])
    assert choose(latched, None, actor="x", now=at(9)).wanted == Wanted(
        counts_since=at(9), cause="Back to automatic, by x; no rule asks for less."
    )
    pinned = choose(latched, SAFE, actor="x", now=at(5))
    assert choose(pinned, None, actor="x", now=at(9)).wanted.latches == ()
    pinned = choose(latched, LIMITED, actor="x", now=at(5))
    assert choose(pinned, None, actor="x", now=at(9)).wanted == latched.wanted


def test_what_happened_before_a_release_stays_uncounted() -> None:
    """Else the errors that led to Safe Mode would lead back to it at once."""
    released = choose(play([(0, asks(SAFE, auto_recover=False), SAFE)]), None, actor="x", now=at(9))
    for demands in ([], asks(LLM), asks(SAFE)):
        assert followed(released, demands, POLICY, at(10), 10).wanted.counts_since == at(9)
    assert held(released, Latch("crash_loop", SAFE, "?", at(11)), at(11)).wanted.counts_since == at(9)


def test_of_what_is_held_the_latest_of_the_worst_names_the_cause() -> None:
    standing = play([(0, asks(MINIMAL), MINIMAL)])
    first = held(standing, Latch("one", MINIMAL, "the first", at(1)), at(1))
    assert (first.since, first.wanted) == (
        T0, Wanted(level=MINIMAL, cause="the first", rule="one", latches=(Latch("one", MINIMAL, "the first", at(1)),))
    )  # fmt: skip
    worse = held(first, Latch("two", SAFE, "the second", at(2)), at(2))
    assert (worse.level, worse.since, worse.cause, worse.wanted.rule) == (SAFE, at(2), "the second", "two")
    lesser = held(worse, Latch("three", LLM, "the third", at(3)), at(3))
    assert (lesser.level, lesser.since, lesser.cause) == (SAFE, at(2), "the second")
    assert [latch.rule for latch in lesser.wanted.latches] == ["one", "two", "three"]


def test_one_that_is_held_again_is_held_once() -> None:
    once = held(at_first(T0), Latch("one", LLM, "before", T0), T0)
    again = held(once, Latch("one", LLM, "again", at(5)), at(5))
    assert again.wanted.latches == (Latch("one", LLM, "again", at(5)),)
    assert (again.cause, again.since) == ("again", T0)


def test_what_is_held_beneath_a_pin_waits_for_its_end() -> None:
    pinned = choose(at_first(T0), LLM, actor="tray", now=T0)
    after = held(pinned, Latch("one", MINIMAL, "it crashed", at(5)), at(5))
    assert (after.level, after.pinned, after.latched, after.since, after.cause) == (LLM, True, False, T0, pinned.cause)
    assert (after.wanted.level, after.wanted.rule) == (MINIMAL, "one")
    back = choose(after, None, actor="tray", now=at(6))
    assert (back.level, back.latched, back.cause, back.since) == (MINIMAL, True, "it crashed", at(6))


def test_a_rule_that_latches_is_kept_with_its_cause_and_the_first_time_it_held() -> None:
    standing = play([(5, asks(MINIMAL, auto_recover=False), MINIMAL), (5, asks(MINIMAL, auto_recover=False), MINIMAL), (5, [], MINIMAL)])
    latch = Latch("rule 4", MINIMAL, "cause 4", at(5))
    assert standing.wanted == Wanted(level=MINIMAL, cause="cause 4", rule="rule 4", latches=(latch,))
    assert (standing.since, standing.latched) == (at(5), True)


def test_a_latch_is_the_floor_for_a_worse_demand_that_passes() -> None:
    standing = play(
        [
            (0, asks(LLM, auto_recover=False), LLM), (1, asks(MINIMAL), MINIMAL), (1, [], MINIMAL), (30, [], LIMITED), (30, [], LLM),
            (99, [], LLM),
        ]
    )  # fmt: skip
    assert (standing.cause, standing.wanted.rule, standing.latched) == ("cause 2", "rule 2", True)


def test_a_level_that_a_latch_and_another_rule_ask_for_names_the_rule_that_holds_now() -> None:
    standing = play([(0, asks(LLM, auto_recover=False), LLM)])
    now = Demand("now", LLM, "it is down", unwell=frozenset({"gpt-5.2"}))
    after = followed(standing, [now], POLICY, at(1), 1)
    assert (after.cause, after.wanted.rule, after.wanted.unwell, after.latched) == ("it is down", "now", {"gpt-5.2"}, True)
    assert followed(after, [], POLICY, at(2), 2).cause == "cause 2"


def test_every_step_up_says_what_is_over_and_when_the_next_is_due() -> None:
    down = Demand("down", MINIMAL, "it is down", unwell=frozenset({"gpt-5.2"}))
    standing = play([(0, [down], MINIMAL)])
    assert standing.wanted == Wanted(level=MINIMAL, cause="it is down", rule="down", unwell=frozenset({"gpt-5.2"}))
    quiet = followed(standing, [], POLICY, at(10), 10)
    assert quiet.wanted == Wanted(level=MINIMAL, cause="it is down", rule="down", rises_at=at(40), quiet_since_s=10)
    assert followed(quiet, [], POLICY, at(39), 39) is quiet, "nothing is new, so nothing is stored"
    step = followed(quiet, [], POLICY, at(40), 40)
    assert step.wanted == Wanted(
        level=LIMITED, cause="Rising step by step; Minimal is over.", rule="down", rises_at=at(70), quiet_since_s=40
    )
    assert (step.level, step.since, step.cause) == (LIMITED, at(40), step.wanted.cause)
    over = followed(followed(step, [], POLICY, at(70), 70), [], POLICY, at(100), 100)
    assert over.wanted == Wanted(level=FULL, cause="Everything is allowed.")


def test_a_clock_that_was_set_does_not_move_the_time_to_rise() -> None:
    """The quiet time runs on the monotonic clock; the time of day is told once."""
    standing = play([(0, asks(LLM), LLM), (10, [], LLM)])
    after = followed(standing, [], POLICY, at(5000), 20)
    assert (after.level, after.wanted.rises_at) == (LLM, at(40))


def test_a_pinned_level_hides_that_the_rules_rise_beneath_it() -> None:
    pinned = choose(play([(0, asks(MINIMAL), MINIMAL)]), SAFE, actor="tray", now=at(1))
    for now_s in (2, 32, 62, 92):
        pinned = followed(pinned, [], POLICY, at(now_s), now_s)
        assert (pinned.level, pinned.since, pinned.pinned) == (SAFE, at(1), True)
    assert pinned.wanted.level is FULL


def test_of_rules_only_those_for_the_worst_level_tell_who_is_unwell() -> None:
    demands = [
        Demand("a", LIMITED, "later", 2, unwell=frozenset({"mail"})), Demand("b", LIMITED, "first", 1, unwell=frozenset({"voice"})),
        Demand("c", LLM, "lesser", 0, unwell=frozenset({"llm"})),
    ]  # fmt: skip
    standing = play([(0, demands, LIMITED)])
    assert (standing.cause, standing.wanted.rule, standing.wanted.unwell) == ("first", "b", {"mail", "voice"})


@pytest.mark.parametrize("policy", [LevelPolicy(recover_after_s=0), LevelPolicy(recover_after_s=0, auto_recover=True)])
def test_without_a_quiet_time_each_look_is_a_step(policy: LevelPolicy) -> None:
    play([(0, asks(MINIMAL), MINIMAL), (1, [], LIMITED), (1, [], LLM), (1, [], FULL)], policy)


@pytest.mark.parametrize(
    ("pinned", "latched", "level", "probes"),
    [(False, False, LLM, True), (True, False, LLM, False), (False, True, LLM, False), (False, False, SAFE, False)],
)
def test_only_a_level_that_rises_by_itself_lets_its_services_be_probed(
    pinned: bool, latched: bool, level: DegradationLevel, probes: bool
) -> None:
    wanted = Wanted(level=level, unwell=frozenset({"gpt-5.2"}))
    standing = Standing(level=level, since=T0, cause="?", pinned=pinned, latched=latched, wanted=wanted)
    assert standing.probing == (wanted.unwell if probes else frozenset())


levels_asked = st.lists(st.sampled_from([LLM, LIMITED, MINIMAL, SAFE]), max_size=3, unique=True)
steps = st.lists(st.tuples(st.floats(0.1, 40), levels_asked, st.booleans(), st.sampled_from(["", "", "", "pin", "auto"])), max_size=60)


@given(steps)
def test_whatever_happens_the_level_is_the_worst_of_its_causes_and_rises_no_faster_than_allowed(
    steps: list[tuple[float, list[DegradationLevel], bool, str]],
) -> None:
    """Asked for, latched, pinned and released at random: the level is always explained by what there is."""
    standing, now_s = at_first(T0), 0.0
    asked_s = dict.fromkeys(DegradationLevel, -1e9)  # when each level, or a worse one, was asked for last
    rose_s = -1e9
    latched: dict[str, DegradationLevel] = {}
    for passed_s, levels, auto_recover, command in steps:
        now_s += passed_s
        if command == "pin":
            standing = choose(standing, LIMITED, actor="test", now=at(now_s))
        if command == "auto":
            releases = bool(latched) and (not standing.pinned or standing.level is SAFE)
            standing = choose(standing, None, actor="test", now=at(now_s))
            if releases:
                latched.clear()
                asked_s = dict.fromkeys(DegradationLevel, -1e9)
                rose_s = -1e9
        before = standing.wanted.level
        demands = asks(*levels, auto_recover=auto_recover)
        standing = followed(standing, demands, POLICY, at(now_s), now_s)
        wanted = standing.wanted.level
        for one in demands if not auto_recover else []:
            latched.setdefault(one.rule, one.level)
        for level in DegradationLevel:
            if any(one.value >= level.value for one in (*levels, *latched.values())):
                asked_s[level] = now_s
        worst = max((*levels, *latched.values(), FULL), key=lambda one: one.value)
        assert wanted.value >= worst.value, "a cause is not obeyed"
        assert {one.rule: one.level for one in standing.wanted.latches} == latched, "a latch opened by itself"
        if wanted.value < before.value:
            assert before.value - wanted.value == 1, "more than one step"
            assert now_s - rose_s >= 30 - 1e-6, "two steps within the quiet time"
            assert now_s - asked_s[before] >= 30 - 1e-6 or asked_s[before] < 0, "the quiet time was not over"
            rose_s = now_s
        if wanted.value > worst.value:
            assert standing.wanted.quiet_since_s is not None, "it would never rise"
        assert standing.level is (LIMITED if standing.pinned else wanted)
        assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(standing))), Standing) == standing
