"""What the state says of itself."""

from __future__ import annotations

from dataclasses import replace as with_fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.notices import Notice
from resilience.core.presence import Presence
from resilience.core.services import Probed, ServiceCircuit, Services
from resilience.core.state import State, with_settings
from resilience.degradation.conditions import ConditionError
from resilience.degradation.health import Count, Tally
from resilience.degradation.levels import FEATURES, DegradationLevel, Latch, Wanted, at_first
from resilience.degradation.policy import Degradation, LevelRule
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.isolation.isolated import BY_ITSELF, Isolated
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery.plans import Recovery, RecoveryLevel, RecoveryState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT = NOW.isoformat()


def heal(number: int, state: HealState) -> Heal:
    return Heal(
        id=number, rule="r", action=HealingActionType.CLEAR_CACHE, target="store", state=state, trigger="It fell.", at=NOW,
        diagnosis=Diagnosis(pattern="r", component="store", root_cause="disk"),
    )  # fmt: skip


def test_the_view_is_whole() -> None:
    wanted = Wanted(
        level=DegradationLevel.MINIMAL, cause="the disk is full", rule="disk", rises_at=NOW + timedelta(seconds=30),
        unwell=frozenset({"b", "a"}), latches=(Latch("security", DegradationLevel.SAFE_MODE, "eleven errors", NOW),),
    )  # fmt: skip
    standing = with_fields(
        at_first(NOW), level=DegradationLevel.LIMITED_EXTERNAL, cause="a rule", wanted=wanted
    )
    circuit = ServiceCircuit(name="gpt-5.2", state="ISOLATED", since=NOW, because="isolated by you")
    closed = ServiceCircuit(name="gmail_api", state="CLOSED", since=NOW, because="it has not opened yet")
    isolated = Isolated(component="gpt-5.2", reason="odd", actor=BY_ITSELF, since=NOW, until=None, services=("gpt-5.2",), processes=())
    by_hand = Isolated(component="x", reason="odd", actor="you", since=NOW, until=None, services=("x",), processes=())
    process = ProcessStatus(name="gateway", state=ProcessState.FAILED, since=NOW, why="it ended", needs_you="it ended")
    calm = ProcessStatus(name="other", state=ProcessState.RUNNING, since=NOW, why="")
    agent = Presence(name="a", alive=True, pid=1, version=None, since=NOW, beat_at=NOW, beat_s=0)
    notice = Notice(name="n", what="w", cause="c", action="a")
    probes = {"gpt-5.2": Probed(well=False, since=NOW, what="refused"), "disk": Probed(well=False, since=NOW, what="full"),
              "fine": Probed(well=True, since=NOW, what="ok")}  # fmt: skip
    under_way, over = (
        Recovery(id=number, level=RecoveryLevel.SYSTEM, target="", actor="you", at=NOW, steps=(), state=stands)
        for number, stands in ((1, RecoveryState.RUNNING), (2, RecoveryState.FAILED))
    )
    heals = {one.id: one for one in (heal(1, HealState.WAITING), heal(2, HealState.HEALED), heal(3, HealState.ESCALATED))}
    state = State(
        standing=standing, agents={("a", 1): agent}, services=Services({"gpt-5.2": circuit, "gmail_api": closed}, {}, probes),
        processes={"gateway": process, "other": calm}, waiting={"mail": 2, "sms": 1}, heals=heals,
        isolations={"gpt-5.2": isolated, "x": by_hand}, notices=(notice,), recoveries={1: under_way, 2: over},
        settings=Settings(services={"gpt-5.2": Service()}, loops={}), version=7,
    )  # fmt: skip
    view = state.view(NOW)
    services, notices = view.pop("services"), view.pop("notices")
    assert [one["name"] for one in services] == ["gpt-5.2", "gmail_api"]
    assert [one["name"] for one in notices] == ["n", "process:gateway", "probe:disk", "isolated:gpt-5.2", "heal:1", "heal:3"]
    assert notices[0] == {"name": "n", "what": "w", "cause": "c", "action": "a", "page": "", "component": ""}
    assert view == {
        "level": "LIMITED_EXTERNAL", "number": 3, "since": AT, "cause": "a rule", "pinned": False, "latched": False,
        "features": dict(FEATURES[DegradationLevel.LIMITED_EXTERNAL]),
        "rules_want": {
            "level": "MINIMAL", "cause": "the disk is full", "rule": "disk", "rises_at": "2026-01-01T00:00:30+00:00",
            "latches": [{"rule": "security", "level": "SAFE_MODE", "cause": "eleven errors", "since": AT}],
        },
        "context_limit_tokens": Settings().degradation.reduced_context_tokens,
        "isolated": ["gpt-5.2"], "isolations": [isolated.view(), by_hand.view()], "probing": ["a", "b"],
        "probes": [
            {"name": "gpt-5.2", "well": False, "since": AT, "what": "refused"},
            {"name": "disk", "well": False, "since": AT, "what": "full"}, {"name": "fine", "well": True, "since": AT, "what": "ok"},
        ],
        "healing": [heals[1].view()], "healed": [heals[2].outcome(), heals[3].outcome()], "loops": [],
        "recovering": [under_way.view()],
        "waiting": {"messages": 3, "channels": {"mail": 2, "sms": 1}}, "agents": [agent.view()],
        "processes": [process.view(), calm.view()], "snoozed_until": None, "needs_you": 6, "version": 7,
    }  # fmt: skip


def test_agents_are_told_of_the_latest_heals_only() -> None:
    state = State(standing=at_first(NOW), heals={number: heal(number, HealState.HEALED) for number in range(1, 26)})
    assert [one["id"] for one in state.view(NOW)["healed"]] == list(range(6, 26))


def test_at_the_first_level_nothing_is_limited() -> None:
    state = State(standing=at_first(NOW))
    assert state.context_limit_tokens() is None
    assert state.view(NOW)["rules_want"]["rises_at"] is None
    assert state.needs_you == ()


def rule(name: str, condition: str, **more: Any) -> LevelRule:
    return LevelRule(name=name, condition=condition, target_level="MINIMAL", **more)


@pytest.mark.parametrize("window_s", [60.0, 90.0])
def test_other_settings_bring_their_rules_and_keep_the_counts_that_a_rule_asks_for(window_s: float) -> None:
    """Of another window nothing counted fits."""
    tally = Tally(60.0).with_counts([("gpt-5.2", Count(errors=3)), ("twilio_api", Count(errors=2))], 0.0)
    state = State(standing=at_first(NOW), tally=tally, version=3)
    rules = (rule("r", "gpt-5.2.error_count > 2", priority=4, auto_recover=False), rule("s", "gmail_api.unhealthy"))
    settings = replace(Settings(), degradation=Degradation(rules=rules, window_s=window_s))
    after = with_settings(state, settings)
    assert (after.settings, after.version, after.standing) == (settings, 3, state.standing)
    assert [(one.name, one.target_level, one.priority, one.auto_recover) for one in after.rules] == [
        ("r", DegradationLevel.MINIMAL, 4, False), ("s", DegradationLevel.MINIMAL, rules[1].priority, True),
    ]  # fmt: skip
    assert "gpt-5.2" in after.counted
    assert after.tally.window_s == window_s
    assert set(after.tally.buckets) == ({"gpt-5.2"} if window_s == 60.0 else set())
    none = replace(settings, degradation=Degradation(rules=(), window_s=window_s))
    assert not with_settings(after, none).tally.buckets


def test_rules_of_other_settings_ask_for_the_services_of_these() -> None:
    """A service that is called like a branch of errors is one all the same; one that there is not any more is refused."""
    state = State(standing=at_first(NOW), tally=Tally(60.0))
    settings = replace(Settings(), degradation=Degradation(rules=(rule("r", "security.unhealthy"),)))
    after = with_settings(state, replace(settings, services={"security": Service()}))
    assert after.counted == {"security"}
    with pytest.raises(ConditionError, match="its error_count can be asked, nothing else"):
        with_settings(after, settings)
