"""What healing did, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.present import healing, words
from resilience.healing.diagnosis import Diagnosis, Impact
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType

AT = datetime(2026, 1, 1, tzinfo=UTC)
IMPACT = Impact(services=("gmail_api", "vector_store"), agents=("a", "b"), waiting=3)
CAN = {HealState.WAITING: ["reject"], HealState.ESCALATED: ["dismiss"]}


def shown(state: HealState, **chosen: Any) -> dict[str, Any]:
    """A heal as the page has it."""
    diagnosis = Diagnosis(pattern="r", component="x", root_cause="x", impact=IMPACT)
    heal = Heal(
        id=1, rule="r", action=HealingActionType.CLEAR_CACHE, target="gpt_cache", state=state, trigger="", at=AT, diagnosis=diagnosis, **chosen
    )
    return healing.heal(heal.view())


@pytest.mark.parametrize("state", HealState)
def test_every_heal_says_where_it_stands_and_what_can_be_decided(state: HealState) -> None:
    seen = shown(state)
    assert words.SHAPES[seen["tone"]] == seen["shape"] or seen["shape"] == "diamond"
    assert (seen["state"], seen["target"]) == (state.value, "gpt_cache")
    assert seen["word"]
    assert [name for name, _, _ in seen["decisions"]] == CAN.get(state, [])
    assert seen["what"] == healing.words("clear_cache", "gpt_cache")
    assert seen["impact"] == [("Services", "gmail_api, vector_store"), ("Agents", "a, b"), ("Messages", "3 wait")]


@pytest.mark.parametrize(
    ("state", "took"), [(HealState.HEALED, "1.5 s"), (HealState.FAILED, "1.5 s"), (HealState.REJECTED, ""), (HealState.EXPIRED, "")]
)
def test_only_of_what_was_done_is_it_told_how_long_it_took(state: HealState, took: str) -> None:
    """What nobody approved only waited."""
    assert shown(state, ended=AT + timedelta(seconds=1.5))["took"] == took
    assert shown(HealState.RUNNING)["took"] == shown(HealState.HEALED)["took"] == ""


@pytest.mark.parametrize("action", HealingActionType)
def test_every_action_has_words_that_begin_a_sentence(action: HealingActionType) -> None:
    words = healing.words(action.value, "gpt_cache")
    assert words[:1].isupper()
    assert not words[1:2].isupper()
    assert action.value not in words
    assert ("gpt_cache" in words) is ("{}" in healing.ACTIONS[action.value])


def test_an_action_of_a_later_version_is_shown_as_it_is() -> None:
    assert healing.words("new_action", "X") == "New_action X"


def test_whom_a_trouble_touches_is_told_by_sort_and_nobody_is_left_out() -> None:
    everybody = {"services": ["s"], "features": ["f"], "agents": ["a", "b"], "loops": ["l"], "waiting": 1}
    assert healing.impact(everybody) == [
        ("Services", "s"), ("Features", "f"), ("Agents", "a, b"), ("Loops", "l"), ("Messages", "1 wait"),
    ]  # fmt: skip
    assert healing.impact({"services": [], "features": [], "agents": [], "loops": ["l"], "waiting": 0}) == [("Loops", "l")]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], ""), (["waiting", "rejected", "escalated"], ""), (["failed"], "0 of 1 actions have helped"),
        (["healed", "failed", "healed", "running", "expired"], "2 of 3 actions have helped"),
    ],
)  # fmt: skip
def test_the_rate_of_success_is_that_of_what_was_done(states: list[str], said: str) -> None:
    assert healing.success_rate([{"state": state} for state in states]) == said


def told(kind: str, outcome: str, **more: str) -> tuple[str, str, str]:
    event = {
        "type": f"heal.{kind}", "outcome": outcome, "action": "clear_cache", "trigger": "An error.", "result": "", "verification": "", **more,
    }  # fmt: skip
    return healing.said(event, "x")


@pytest.mark.parametrize(
    ("kind", "outcome", "more", "tone", "parts", "detail"),
    [
        ("waiting", "waiting", {}, "warn", ("Clear", " x", "approval"), "An error."),
        ("started", "running", {}, "info", ("x: clear", " x"), "An error."),
        ("escalated", "escalated", {"verification": "It goes on."}, "bad", ("x ", "needs you"), "An error. It goes on."),
        ("ended", "healed", {"result": "done", "verification": "well"}, "ok", ("x is healed",), "done · well"),
        ("ended", "failed", {"verification": "not well"}, "bad", ("Clear", " x: ", "not help"), "not well"),
        ("ended", "rejected", {}, "off", ("Clear", " x: rejected"), "healing"),
        ("ended", "interrupted", {"result": "done"}, "warn", ("Clear", " x: interrupted"), "done"),
    ],
)  # fmt: skip
def test_each_step_of_a_heal_says_what_is_done_to_whom_and_why(
    kind: str, outcome: str, more: dict[str, str], tone: str, parts: tuple[str, ...], detail: str
) -> None:
    found, text, why = told(kind, outcome, **more)
    assert (found, why) == (tone, detail)
    assert [part for part in parts if part not in text] == []


def test_what_waits_for_approval_stands_in_the_order_in_which_it_expires() -> None:
    views = [
        shown(HealState.WAITING, until=AT + timedelta(seconds=9)), shown(HealState.HEALED), shown(HealState.WAITING),
        shown(HealState.WAITING, until=AT + timedelta(seconds=2)),
    ]  # fmt: skip
    waits = [(AT + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z") for seconds in (2, 9)]
    assert [one["until"] for one in healing.waiting(views)] == [*waits, None]


def test_healing_at_a_glance() -> None:
    took = [shown(HealState.HEALED, ended=AT + timedelta(seconds=seconds)) for seconds in (1, 2, 30)]
    views = [*took, shown(HealState.FAILED, ended=AT), shown(HealState.WAITING), shown(HealState.RUNNING), shown(HealState.ESCALATED)]
    assert [number for _, number, _ in healing.numbers(views)] == ["1", "1", "3 of 4", "75 %", "2.0 s", "1"]
    assert [number for _, number, _ in healing.numbers([])] == ["0", "0", "none yet", "none yet", "none yet", "0"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (HealState.HEALED, "verified"), (HealState.FAILED, "not verified"), (HealState.VERIFYING, "being verified"),
        (HealState.REJECTED, ""),
    ],
)  # fmt: skip
def test_whether_it_was_verified_is_said(state: HealState, said: str) -> None:
    assert shown(state)["verified"] == said
