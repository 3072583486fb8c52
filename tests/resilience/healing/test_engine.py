"""Healing from the error to its verification, over a real core; what the actions do stands in ``test_actions``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.inputs import ProbeTold, TooLateError
from resilience.core.services import Probed
from resilience.degradation.levels import DegradationLevel
from resilience.detection.policy import Probe
from resilience.healing.heals import HealingAction, HealingResult, HealState
from resilience.healing.policy import HealingActionType, HealingRule, SelfHealing
from tests.resilience.healing.engines import DEADLINE_S, Healed


class Hospital(Healed):
    """Its actions do what the test says; ``done`` lists those that were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.done: list[tuple[str, str]] = []
        self.asked = threading.Semaphore(0)
        self.impossible: set[str] = set()
        self.results: dict[str, Callable[[], HealingResult]] = {}

    def open(self, *rules: HealingRule, services: dict[str, Service] | None = None, **chosen: Any) -> None:
        services = {name: replace(one, probe=Probe(tcp="127.0.0.1:1")) for name, one in (services or {}).items()}
        policy = SelfHealing(rules=rules, healing_cooldown=0.0, **chosen)
        self.begin(Settings(self_healing=policy, services={**Settings().services, **services}), lambda: self)

    def is_possible(self, kind: HealingActionType, target: str) -> bool:
        return kind.value not in self.impossible

    def do(self, action: HealingAction) -> HealingResult:
        self.done.append((action.action_type.value, action.target))
        self.asked.release()
        make = self.results.get(action.action_type.value)
        return make() if make is not None else HealingResult(success=True, message="done")

    def unwell(self, name: str, well: bool = False) -> None:
        self.core.tell(ProbeTold(name, Probed(well=well, since=self.clock.now(), what="refused"))).result(10)

    def events(self) -> list[tuple[str, str]]:
        found = self.core.history.events(0, 1000)
        return [(one.type, one.body.get("outcome", "")) for one in found if one.type.startswith(("heal.", "command"))]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    hospital = Hospital(tmp_path)
    yield hospital
    hospital.close()


def rule(*actions: Any, **chosen: Any) -> HealingRule:
    kinds = tuple(map(HealingActionType, actions))
    return HealingRule(**{"name": "r", "kinds": ("transient",), "actions": kinds, "settle_s": 0.0, "verify_s": 0.2, **chosen})


def test_an_error_is_diagnosed_mended_and_looked_at_again(hospital: Hospital) -> None:
    hospital.open(rule("reset_connections"))
    hospital.fails()
    heal = hospital.heal(HealState.HEALED)
    assert hospital.done == [("reset_connections", "x")]
    assert heal.trigger == "transient.network.timeout in ask: it failed."
    assert heal.diagnosis.root_cause == "x"
    assert heal.result == "done"
    assert heal.verification.startswith("well after")
    assert heal.seconds is not None
    assert hospital.events() == [("heal.started", "running"), ("heal.ended", "healed")]


def test_an_action_that_does_not_help_is_followed_by_the_next_and_at_last_by_a_person(hospital: Hospital) -> None:
    hospital.open(rule("restart_service", "reset_connections", operations=("probe",)), services={"x": Service()})
    hospital.unwell("x")
    hospital.fails(operation="probe")
    assert "the probe of x: refused" in hospital.heal(HealState.FAILED, 1).verification
    hospital.heal(HealState.FAILED, 2)
    escalated = hospital.heal(HealState.ESCALATED, 3)
    assert hospital.done == [("restart_service", "x"), ("reset_connections", "x")]
    assert escalated.action is HealingActionType.ESCALATE_TO_HUMAN
    assert [one.name for one in hospital.core.state.needs_you] == ["heal:3"]


def test_a_person_is_asked_once_and_no_more_when_a_later_try_has_helped(hospital: Hospital) -> None:
    hospital.open(rule("restart_service", operations=("probe",)), services={"x": Service()})
    hospital.unwell("x")
    hospital.fails(operation="probe")
    hospital.heal(HealState.ESCALATED, 2)
    hospital.heal(HealState.FAILED, 3)  # the probe still fails, which the engine sees by itself
    hospital.unwell("x", well=True)
    hospital.heal(HealState.DISMISSED, 2)
    assert [one.state for one in hospital.core.state.heals.values()].count(HealState.ESCALATED) == 0
    assert hospital.core.state.needs_you == ()


def test_the_next_winclaw_asks_again_what_a_person_has_dismissed(hospital: Hospital) -> None:
    """It has tried again, and that has not helped either."""
    asks = rule("restart_service", operations=("probe",), attempts=1)  # so that nothing is under way when it is quit
    hospital.open(asks, services={"x": Service()}, quiet_s=86_400.0)
    hospital.unwell("x")
    hospital.fails(operation="probe")
    hospital.heal(HealState.ESCALATED, 2)
    hospital.core.decide_heal(2, "dismiss", actor="me", origin="here").result(10)
    hospital.close()
    hospital.open(asks, services={"x": Service()}, quiet_s=86_400.0)
    hospital.unwell("x")
    hospital.fails(operation="probe")
    hospital.heal(HealState.ESCALATED, 4)


def test_it_is_never_tried_more_often_than_allowed(hospital: Hospital) -> None:
    hospital.open(rule("restart_service", operations=("probe",), attempts=2), services={"x": Service()})
    hospital.unwell("x")
    hospital.fails(operation="probe")
    hospital.heal(HealState.FAILED, 3)
    hospital.has_looked()
    assert hospital.done == [("restart_service", "x")] * 2
    assert [one.attempt for one in hospital.core.state.heals.values() if one.state is HealState.FAILED] == [1, 2]


def test_the_root_cause_is_mended_not_what_was_seen_first(hospital: Hospital) -> None:
    hospital.open(rule("restart_service"), services={"memory": Service(depends_on=("store",)), "store": Service()})
    hospital.unwell("store")
    hospital.fails("memory")
    heal = hospital.heal(HealState.FAILED)
    assert (heal.target, heal.diagnosis.component) == ("store", "memory")
    assert heal.diagnosis.impact.services == ("memory", "store")


def test_the_same_error_again_means_that_it_has_not_helped(hospital: Hospital) -> None:
    hospital.open(rule("reset_connections", settle_s=5.0, verify_s=0.05))
    hospital.fails()
    hospital.heal(HealState.VERIFYING)
    hospital.fails()
    assert "the same error came again" in hospital.heal(HealState.FAILED).verification


def test_what_is_not_possible_here_is_not_tried_and_nobody_is_bothered(hospital: Hospital) -> None:
    hospital.open(rule("restart_service", "clear_cache"), rule("reset_connections", name="other", kinds=("persistent",)))
    hospital.impossible = {"restart_service", "clear_cache"}
    hospital.fails()
    hospital.fails("y", "NotFoundError")
    hospital.heal(HealState.HEALED)
    assert hospital.done == [("reset_connections", "y")]
    assert hospital.core.state.needs_you == ()


def test_an_action_that_raises_has_failed_and_says_why(hospital: Hospital) -> None:
    def broken() -> HealingResult:
        raise OSError("no such folder")

    hospital.open(rule("clear_cache", "reset_connections"))
    hospital.results["clear_cache"] = broken
    hospital.fails()
    assert hospital.heal(HealState.FAILED, 1).result == "OSError: no such folder"
    hospital.heal(HealState.HEALED, 2)


def test_a_heal_that_a_defect_ends_is_left_to_a_person(hospital: Hospital) -> None:
    """The error would come again and again, and nobody would learn that nothing is done about it."""

    def broken(kind: HealingActionType, target: str) -> bool:
        raise ZeroDivisionError

    hospital.open(rule("clear_cache"))
    hospital.is_possible = broken  # type: ignore[method-assign]
    hospital.fails()
    assert "ZeroDivisionError" in hospital.heal(HealState.ESCALATED, 1).verification


def test_an_action_that_needs_approval_waits_for_it(hospital: Hospital) -> None:
    hospital.open(rule("reload_config", confirm=True))
    hospital.fails()
    waiting = hospital.heal(HealState.WAITING)
    assert waiting.until is not None
    assert hospital.done == []
    assert [one.name for one in hospital.core.state.needs_you] == ["heal:1"]
    hospital.core.decide_heal(1, "approve", actor="me", origin="here").result(10)
    assert hospital.heal(HealState.HEALED).actor == "me"
    assert hospital.done == [("reload_config", "x")]
    with pytest.raises(TooLateError, match="heal 1 is healed"):
        hospital.core.decide_heal(1, "approve", actor="me", origin="here").result(10)


def test_an_action_may_be_rejected_or_nobody_may_answer(hospital: Hospital) -> None:
    hospital.open(rule("reload_config", confirm=True), approve_within_s=1.0)
    hospital.fails()
    hospital.heal(HealState.WAITING)
    hospital.core.decide_heal(1, "reject", actor="me", origin="here").result(10)
    assert hospital.heal(HealState.REJECTED).ended is not None
    hospital.fails("y")
    assert hospital.heal(HealState.EXPIRED, 2).verification == "nobody approved it in time"
    assert hospital.done == []
    with pytest.raises(KeyError):
        hospital.core.decide_heal(9, "approve", actor="me", origin="here").result(10)


def test_one_target_is_healed_by_one_heal_at_a_time(hospital: Hospital) -> None:
    may_go_on = threading.Event()

    def slow() -> HealingResult:
        may_go_on.wait(DEADLINE_S)
        return HealingResult(success=True, message="done")

    hospital.open(rule("reset_connections"))
    hospital.results["reset_connections"] = slow
    hospital.fails()
    hospital.heal(HealState.RUNNING)
    hospital.fails()
    hospital.fails("y")
    assert hospital.asked.acquire(timeout=DEADLINE_S)
    assert hospital.asked.acquire(timeout=DEADLINE_S)  # another target does not wait
    assert hospital.done == [("reset_connections", "x"), ("reset_connections", "y")]
    may_go_on.set()
    hospital.heal(HealState.HEALED, 1)


def test_a_measurement_that_stays_too_high_is_healed_when_it_has_come_down(hospital: Hospital) -> None:
    def collect() -> HealingResult:
        hospital.values = {("machine", "memory_percent"): 50.0}
        return HealingResult(success=True, message="done")

    hospital.open(rule("garbage_collect", kinds=(), measurement="memory_percent", above=90.0, at_least=2))
    hospital.results["garbage_collect"] = collect
    hospital.values = {("machine", "memory_percent"): 95.0}
    assert hospital.heal(HealState.HEALED).trigger == "memory_percent is 95.0, above 90."


def test_heals_are_remembered_and_one_cut_off_is_said_to_be(hospital: Hospital, tmp_path: Path) -> None:
    hospital.open(rule("reload_config", confirm=True))
    hospital.fails()
    hospital.heal(HealState.WAITING)
    hospital.engine._unsubscribe()
    hospital.core.stop()  # as after kill -9, the engine cannot say anything any more
    hospital.engine._stopping.set()
    hospital.core.history.close()
    hospital.open(rule("reload_config", confirm=True))
    assert hospital.core.state.heals[1].state is HealState.INTERRUPTED
    hospital.fails()
    assert hospital.heal(HealState.WAITING, 2).id == 2


def test_it_can_be_turned_off(hospital: Hospital) -> None:
    hospital.open(rule("reset_connections"), enabled=False)
    hospital.fails()
    hospital.fails("y")
    hospital.has_looked()
    assert hospital.done == []
    assert not hospital.core.state.heals


def test_in_safe_mode_nothing_is_healed(hospital: Hospital) -> None:
    hospital.open(rule("reset_connections"))
    hospital.core.set_level(DegradationLevel.SAFE_MODE, actor="me", origin="here").result(10)
    hospital.fails()
    hospital.has_looked()
    assert hospital.done == []
