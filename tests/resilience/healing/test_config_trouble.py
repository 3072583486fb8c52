"""Trouble that followed a configuration: offered for a roll-back, or rolled back, or neither; over a real core and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from resilience.config.settings import Settings
from resilience.config.version import ConfigTrouble, ConfigVersion
from resilience.core.inputs import ConfigTroubled, Configuration, HealTold, ProcessTold
from resilience.degradation.levels import DegradationLevel
from resilience.healing.actions import Actions
from resilience.healing.heals import MOST_HEALS, HealState
from resilience.healing.policy import HealingActionType, HealingRule, SelfHealing
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery.policy import Recovering
from tests.resilience.healing.engines import DEADLINE_S, Healed


class Ward(Healed):
    """Its roll-back does what the test says; ``asked`` has what it was asked with."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[Mapping[str, float | str]] = []
        self.helps: Callable[[], object] = lambda: None
        self.number = 0

    def open(self, roll_back: str = "offer", within_s: float = 600.0, **healing: object) -> None:
        recovery = Recovering(config_roll_back=roll_back, config_trouble_within_s=within_s)  # type: ignore[arg-type]
        policy = SelfHealing(rules=(), **healing)  # type: ignore[arg-type]
        self.begin(Settings(recovery=recovery, self_healing=policy), self.actions)

    def actions(self) -> Actions:
        return Actions(self.folder, self.core, None, self.clock, reload=str, roll_back=self.rolled_back)  # type: ignore[arg-type]

    def rolled_back(self, asked: Mapping[str, float | str]) -> str:
        self.asked.append(asked)
        self.saves(restores=1, author="healing")
        self.helps()
        return "version 1 is in force again"

    def saves(self, *, changed: bool = True, **more: object) -> None:
        self.number += 1
        version = ConfigVersion(
            number=self.number, sha256=str(self.number), changed=("tray.toasts: true → false",) if changed else (),
            replaces=self.number - 1 or None, **{"author": "saved in the file", **more},  # type: ignore[arg-type]
        )  # fmt: skip
        self.core.tell(Configuration(self.core.state.settings, None, version)).result(10)

    def becomes(self, state: str, name: str = "web") -> None:
        told = ProcessStatus(
            name=name, state=ProcessState(state), since=self.clock.now(), ready=state == "running", why="exit 1", run=1,
            needs_you="exit 1" if state == "failed" else "",
        )  # fmt: skip
        self.core.tell(ProcessTold(name, told)).result(10)

    def breaks(self) -> None:
        """A configuration, and the process that ran well before it has failed."""
        self.saves()
        self.becomes("running")
        self.saves()
        self.becomes("failed")

    def nothing_more(self) -> None:
        """Waits until the engine has looked some more times, and sees that it has done nothing."""
        before = self.core.state.heals.keys()
        self.has_looked()
        assert self.core.state.heals.keys() == before


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path)
    yield ward
    ward.close()


def test_it_is_offered_and_once_approved_done_and_seen_to_have_helped(ward: Ward) -> None:
    ward.open()
    ward.helps = lambda: ward.becomes("running")
    ward.breaks()
    heal = ward.heal(HealState.WAITING)
    assert (heal.target, heal.action.value, heal.rule) == ("config", "rollback_version", "configuration version 2")
    assert heal.trigger == (
        "Trouble followed version 2 of the configuration: the process web, which ran well, has failed: exit 1. "
        "Before it, version 1 was in force."
    )
    assert "it changed tray.toasts: true → false" in heal.diagnosis.because
    assert heal.until is not None
    assert ward.asked == []
    assert [notice.name for notice in ward.core.state.unsettled] == ["process:web", "heal:1"]
    ward.core.decide_heal(1, "approve", actor="dashboard", origin="here").result(10)
    assert ward.heal(HealState.HEALED).verification.startswith("well after")
    [asked] = ward.asked
    assert (asked["of"], asked["heal"], asked["approved_by"]) == (2, 1, "dashboard")
    ward.nothing_more()
    events = [one.type for one in ward.core.history.events(0, 100)]
    assert events.count("config.trouble") == 1


def test_it_is_done_at_once_where_that_is_configured(ward: Ward) -> None:
    ward.open("automatic")
    ward.helps = lambda: ward.becomes("running")
    ward.breaks()
    ward.heal(HealState.HEALED)
    assert ward.asked[0]["approved_by"] == ""
    ward.becomes("failed")
    ward.nothing_more()  # what was rolled back to is not rolled back again


def test_that_it_has_not_helped_is_seen_and_left_to_a_person(ward: Ward) -> None:
    ward.open("automatic")
    settings = ward.core.state.settings
    ward.core.tell(Configuration(replace(settings, degradation=replace(settings.degradation, recover_after_s=0.0)))).result(10)
    ward.engine._troubles = _Impatient(ward.engine._troubles)  # type: ignore[assignment]
    ward.breaks()
    ward.heal(HealState.FAILED)
    escalated = ward.heal(HealState.ESCALATED, 2)
    assert "which ran well, has failed" in escalated.verification
    ward.nothing_more()


class _Impatient:
    """Troubles whose heals are given up after a moment."""

    def __init__(self, troubles: object) -> None:
        self._troubles = troubles

    def __getattr__(self, name: str) -> object:
        return getattr(self._troubles, name)

    def of_configuration(self) -> object:
        case = self._troubles.of_configuration()  # type: ignore[attr-defined]
        return case if case is None else replace(case, rule=replace(case.rule, verify_s=0.05))


@pytest.mark.parametrize("what", ["never", "a comment", "too late", "healing is off", "it was bad before"])
def test_what_is_not_offered(ward: Ward, what: str) -> None:
    ward.open("never" if what == "never" else "offer", within_s=-1.0 if what == "too late" else 600.0, enabled=what != "healing is off")
    ward.saves()
    ward.becomes("failed" if what == "it was bad before" else "running")
    ward.saves(changed=what != "a comment")
    ward.becomes("failed")
    ward.nothing_more()
    assert ward.core.state.heals == {}


def test_trouble_is_told_though_nothing_is_offered(ward: Ward) -> None:
    ward.open("never")
    ward.breaks()
    end_s = ward.clock.monotonic() + DEADLINE_S
    while ward.clock.monotonic() < end_s and not (ward.core.state.config and ward.core.state.config.trouble):
        ward.core.wait_for_change(ward.core.state.version, 0.1)
    assert ward.core.state.config is not None
    assert "web" in ward.core.state.config.trouble
    assert ward.core.state.heals == {}


def test_another_configuration_ends_the_offer(ward: Ward) -> None:
    ward.open()
    ward.breaks()
    ward.heal(HealState.WAITING)
    ward.saves()
    assert ward.heal(HealState.EXPIRED).verification == "another configuration is in force"
    assert ward.asked == []


def test_a_comment_that_is_saved_meanwhile_does_not_keep_it_from_being_offered(ward: Ward) -> None:
    """Nor does one that is saved while the offer waits end it: what would be gone back from is still in force."""
    ward.open()
    ward.saves()
    ward.becomes("running")
    ward.saves()
    ward.saves(changed=False)
    ward.becomes("failed")
    heal = ward.heal(HealState.WAITING)
    assert heal.rule == "configuration version 2"
    assert heal.trigger.startswith("Trouble followed version 2 of the configuration: the process web")
    assert heal.trigger.endswith("Before it, version 1 was in force.")
    assert "it changed tray.toasts: true → false" in heal.diagnosis.because
    ward.saves(changed=False)
    ward.nothing_more()
    ward.helps = lambda: ward.becomes("running")
    ward.core.decide_heal(1, "approve", actor="dashboard", origin="here").result(10)
    ward.heal(HealState.HEALED)
    assert ward.asked[0]["of"] == 2


def test_each_version_is_offered_once_though_its_heal_is_forgotten(ward: Ward) -> None:
    """Other heals make room for themselves, and a month later nobody expects to be asked again."""
    ward.open()
    ward.breaks()
    waiting = ward.heal(HealState.WAITING)
    ward.core.decide_heal(1, "reject", actor="dashboard", origin="here").result(10)
    ward.heal(HealState.REJECTED)
    ward.nothing_more()
    for number in range(100, 100 + MOST_HEALS):
        other = replace(waiting, id=number, state=HealState.HEALED, ended=ward.clock.now(), rule="another", target="other")
        ward.core.tell(HealTold(other)).result(10)
    assert 1 not in ward.core.state.heals
    ward.nothing_more()
    ward.close()
    ward.open()
    ward.becomes("failed")
    ward.nothing_more()


@pytest.mark.parametrize("is_still_so", [True, False])
def test_trouble_that_was_long_ago_is_offered_only_if_it_still_is_so(ward: Ward, is_still_so: bool) -> None:
    ward.open(enabled=False)
    ward.saves()
    ward.becomes("running")
    ward.saves()
    long_ago = ward.clock.now() - timedelta(days=1)
    ward.core.tell(ConfigTroubled(ConfigTrouble(2, "the process web, which ran well, has failed", long_ago))).result(10)
    ward.becomes("failed" if is_still_so else "running")
    settings = ward.core.state.settings
    ward.core.tell(Configuration(replace(settings, self_healing=replace(settings.self_healing, enabled=True)))).result(10)
    if is_still_so:
        ward.heal(HealState.WAITING)
    else:
        ward.nothing_more()


def test_what_a_person_rejects_is_not_offered_again_not_even_by_the_next_winclaw(ward: Ward) -> None:
    ward.open()
    ward.breaks()
    ward.heal(HealState.WAITING)
    ward.core.decide_heal(1, "reject", actor="dashboard", origin="here").result(10)
    ward.nothing_more()
    ward.close()
    ward.open()
    ward.becomes("failed")
    ward.nothing_more()


def test_an_offer_that_winclaws_own_end_cut_off_is_made_again(ward: Ward) -> None:
    ward.open()
    ward.breaks()
    ward.heal(HealState.WAITING)
    ward.close()
    ward.open()
    assert ward.heal(HealState.INTERRUPTED).id == 1
    ward.heal(HealState.WAITING, 2)


def test_in_safe_mode_a_person_may_but_nothing_happens_by_itself(ward: Ward) -> None:
    """A configuration may be what has led there."""
    ward.open("automatic")
    ward.saves()
    ward.core.set_level(DegradationLevel.SAFE_MODE, actor="tray", origin="here").result(10)
    ward.saves()
    ward.core.tell(ConfigTroubled(ConfigTrouble(2, "WinClaw itself crashed 3 s later"))).result(10)
    ward.heal(HealState.WAITING)
    assert ward.asked == []
    ward.core.decide_heal(1, "approve", actor="command line", origin="here").result(10)
    ward.heal(HealState.HEALED)


def test_a_rule_of_the_users_still_rolls_back_by_itself(ward: Ward) -> None:
    ward.open()
    actions = (HealingActionType.ROLLBACK_VERSION,)
    rule = HealingRule(name="mine", kinds=("transient",), actions=actions, target="config", settle_s=0.0)
    settings = replace(ward.core.state.settings, self_healing=SelfHealing(rules=(rule,)))
    ward.core.tell(Configuration(settings)).result(10)
    ward.saves()
    ward.fails()
    ward.heal(HealState.HEALED)
    [asked] = ward.asked
    assert "of" not in asked
    assert asked["approved_by"] == ""
