"""Recoveries from the plan to their end."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.clock import SystemClock
from resilience.core.core import CoreBusyError
from resilience.core.inputs import OrderGiven, RecoveryTold
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import CircuitReport, Event, Heartbeat
from resilience.journal.journal import Journal
from resilience.processes.supervision import ProcessState
from resilience.recovery import engine as engine_module
from resilience.recovery import steps as steps_module
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.engine import BusyError, PlanChangedError, RecoveryEngine
from resilience.recovery.plans import NothingToRecoverError, Recovery, RecoveryLevel, RecoveryState, StepState, digest_of
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on, end
from tests.resilience.recovery.workshops import COMPONENT, DEADLINE_S, DISASTER, MISSING, OPERATION, SESSION, SYSTEM, Workshop


def test_an_operation_is_recovered_by_the_agent_that_can(workshop: Workshop) -> None:
    saved = workshop.saved.create_checkpoint("operation", "memory", {"facts": 1})
    orders: list[Any] = []

    def obey(order: Any) -> str:
        orders.append((order.action, order.component, dict(order.parameters)))
        return "memory is as it was"

    workshop.agent("bot", "restore:memory", obey=obey)
    one = workshop.recover(OPERATION, "memory")
    assert (one.state, one.result) == (RecoveryState.RECOVERED, "memory is recovered.")
    assert [(step.state, step.result) for step in one.steps] == [(StepState.DONE, "bot: memory is as it was")]
    assert orders == [("restore", "memory", {"checkpoint": saved.id})]
    kinds = [(event.type, event.body.get("outcome"), event.body.get("asked")) for event in workshop.core.history.events(0)]
    told = [one for one in kinds if one[0].startswith("recovery.") or one[0] == "command"]
    assert told == [("command", None, "recover"), ("recovery.started", "running", None), ("recovery.ended", "recovered", None)]


def test_one_checkpoint_of_many_can_be_chosen(workshop: Workshop) -> None:
    first = workshop.saved.create_checkpoint("session", "memory", 1)
    workshop.saved.create_checkpoint("session", "memory", 2)
    asked: list[str] = []
    workshop.agent("bot", "restore:*", obey=lambda order: asked.append(order.parameters["checkpoint"]) or "done")
    assert workshop.recover(SESSION, "memory", checkpoint_id=first.id).state is RecoveryState.RECOVERED
    assert asked == [first.id]


def test_what_an_agent_could_not_restore_is_not_called_recovered(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("operation", "memory", 1)

    def refuse(_: Any) -> str:
        raise RuntimeError("its check did not pass")

    workshop.agent("bot", "restore:memory", obey=refuse)
    one = workshop.recover(OPERATION, "memory")
    assert one.state is RecoveryState.FAILED
    assert one.steps[0].state is StepState.FAILED
    assert "bot: its check did not pass" in one.result


def test_a_component_is_started_again_and_counts_as_recovered_when_its_new_run_is_well(workshop: Workshop) -> None:
    workshop.runs("gateway", 1, state=ProcessState.FAILED, ready=False)
    workshop.restarted = lambda name: workshop.runs(name, 2)
    one = workshop.recover(COMPONENT, "gateway")
    assert one.state is RecoveryState.RECOVERED, one
    assert workshop.commands == [("gateway", "restart")]
    assert "well after" in one.steps[-1].result


def test_a_component_that_does_not_get_well_is_not_recovered(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.restarted = lambda name: workshop.runs(name, 2, ready=False)
    one = workshop.recover(COMPONENT, "gateway")
    assert one.state is RecoveryState.FAILED
    assert [step.state for step in one.steps] == [StepState.DONE, StepState.FAILED]
    assert "gateway is running, but not ready" in one.result


def test_a_run_from_before_the_restart_proves_nothing(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    one = workshop.recover(COMPONENT, "gateway")
    assert "gateway has not been started again yet" in one.result


def test_after_a_step_that_failed_the_others_are_left_out(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.restarted = lambda name: workshop.runs(name, 2)
    workshop.saved.create_checkpoint("component", "gateway", 1)
    one = workshop.recover(COMPONENT, "gateway")  # and no agent comes that could restore it
    assert [step.state for step in one.steps] == [StepState.DONE, StepState.FAILED, StepState.SKIPPED]
    assert "no agent came within 0.2 s that can restore gateway" in one.result


def test_an_agent_that_comes_with_the_restart_restores_its_state(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("memory", "gateway", {"facts": 1})

    def restarted(name: str) -> None:
        workshop.runs(name, 2)
        workshop.agent("gateway", "restore:gateway")

    workshop.restarted = restarted
    one = workshop.recover(COMPONENT, "gateway")
    assert [step.state for step in one.steps] == [StepState.DONE] * 3
    assert one.state is RecoveryState.RECOVERED


def test_the_system_is_recovered_without_touching_level_or_circuits(workshop: Workshop) -> None:
    """What is left of the outage shows by itself: recovery forces neither FULL nor a closed circuit."""
    opened = CircuitReport(service="gpt-5.2", state="OPEN", change=1, because="3 calls in a row failed", retry_after_s=3600)
    workshop.core.beat(Heartbeat(agent="bot", pid=9, circuits=(opened,))).result(10)
    workshop.core.set_level(DegradationLevel.MINIMAL, actor="tray", origin="here").result(10)
    workshop.runs("gateway", 1, state=ProcessState.FAILED, ready=False)
    workshop.restarted = lambda name: workshop.runs(name, 2)
    one = workshop.recover(SYSTEM)
    states = {(step.do.value, step.target): step.state for step in one.steps}
    assert states["restart", "gateway"] is StepState.DONE
    assert states["verify", "gateway"] is StepState.DONE
    assert states["verify", "gpt-5.2"] is StepState.FAILED
    assert one.state is RecoveryState.FAILED
    assert "its circuit is open until" in one.result
    assert workshop.reloaded == 1
    assert workshop.core.state.standing.level is DegradationLevel.MINIMAL
    assert workshop.core.state.services.circuits["gpt-5.2"].state == "OPEN"
    [before] = workshop.saved.checkpoints("winclaw", "system")
    found = workshop.saved.load_checkpoint(before.id)
    assert found is not None
    assert (found.state["level"], found.state["services"], found.state["processes"]) == (
        "MINIMAL", {"gpt-5.2": "OPEN"}, {"gateway": "failed"},
    )  # fmt: skip


def test_a_system_that_is_well_says_which_level_the_rules_choose(workshop: Workshop) -> None:
    one = workshop.recover(SYSTEM)
    assert one.state is RecoveryState.RECOVERED
    assert one.result.startswith("Everything that was unwell is well; the level is Full: ")


def test_two_recoveries_do_not_get_into_each_others_way(workshop: Workshop) -> None:
    may_go_on = threading.Event()
    for name in ("memory", "other"):
        workshop.saved.create_checkpoint("operation", name, 1)

    def wait(_: Any) -> str:
        assert may_go_on.wait(DEADLINE_S)
        return "done"

    workshop.agent("bot", "restore:*", obey=wait)
    first = workshop.engine.begin(OPERATION, "memory", actor="dashboard", origin="")
    for level, target in ((OPERATION, "memory"), (SYSTEM, "")):
        with pytest.raises(BusyError, match="recovery 1, of memory, goes on"):
            workshop.engine.begin(level, target, actor="dashboard", origin="")
    second = workshop.engine.begin(OPERATION, "other", actor="dashboard", origin="")
    may_go_on.set()
    assert [workshop.ended(one.id).state for one in (first, second)] == [RecoveryState.RECOVERED] * 2


def test_disaster_recovery_is_not_done_by_a_winclaw_that_runs(workshop: Workshop) -> None:
    with pytest.raises(NothingToRecoverError, match="quit it, then winclaw restore"):
        workshop.engine.begin(DISASTER, "day.zip", actor="dashboard", origin="")


def test_what_an_earlier_winclaw_left_unfinished_was_interrupted_and_numbers_go_on(tmp_path: Path) -> None:
    clock = SystemClock()
    core = core_on(Journal(tmp_path / "journal.db", clock.now()), clock)
    left = Recovery(id=4, level=COMPONENT, target="gateway", actor="dashboard", at=clock.now(), steps=())
    core.tell(RecoveryTold(left)).result(10)
    end([core])
    core = core_on(Journal(tmp_path / "journal.db", clock.now()), clock)
    engine = RecoveryEngine(core, None, CheckpointManager(tmp_path / "c", clock=clock), str, clock)  # type: ignore[arg-type]
    engine.start()
    found = core.state.recoveries[4]
    assert (found.state, found.ended is not None) == (RecoveryState.INTERRUPTED, True)
    assert engine.begin(SYSTEM, "", actor="dashboard", origin="").id == 5
    engine.stop()
    end([core])


def test_what_agents_say_is_kept_without_secrets(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("operation", "memory", 1)
    workshop.agent("bot", "restore:*", obey=lambda _: "password=hunter2hunter2")
    one = workshop.recover(OPERATION, "memory")
    assert "hunter2" not in one.steps[0].result
    assert replace(one, steps=()).state is RecoveryState.RECOVERED


# What is planned, and begun.


def test_a_checkpoint_that_there_is_not_is_refused_before_anything_is_done(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    saved = workshop.saved.create_checkpoint("component", "gateway", 1)
    with pytest.raises(NothingToRecoverError, match=f"there is no checkpoint {MISSING}"):
        workshop.recover(COMPONENT, "gateway", checkpoint_id=MISSING)
    with pytest.raises(NothingToRecoverError, match="the system is recovered as a whole"):
        workshop.recover(SYSTEM, "gateway")
    with pytest.raises(NothingToRecoverError, match="no single checkpoint can be chosen"):
        workshop.recover(SYSTEM, checkpoint_id=saved.id)
    assert workshop.commands == []
    assert workshop.core.state.recoveries == {}


def test_a_plan_names_the_newest_checkpoint_that_proves_good(workshop: Workshop) -> None:
    first = workshop.saved.create_checkpoint("session", "memory", 1)
    for state in (2, 3):
        workshop.damage(workshop.saved.create_checkpoint("session", "memory", state).id)
    workshop.agent("bot", "restore:memory")
    assert [step.checkpoint for step in workshop.engine.plan(SESSION, "memory")] == [first.id]
    workshop.damage(first.id)
    with pytest.raises(NothingToRecoverError, match="there is no checkpoint of memory at the level session"):
        workshop.engine.plan(SESSION, "memory")


@pytest.mark.parametrize(("level", "kind"), [(COMPONENT, "component"), (SYSTEM, "component"), (SESSION, "session")])
def test_the_newest_checkpoint_is_the_one_that_was_saved_last_whatever_the_clock_said(
    workshop: Workshop, level: RecoveryLevel, kind: Any
) -> None:
    ahead = CheckpointManager(workshop.saved.folder, clock=FakeClock(workshop.clock.now() + timedelta(days=1)))
    ahead.create_checkpoint(kind, "gateway", "while the clock was wrong")
    last = workshop.saved.create_checkpoint(kind, "gateway", "since")
    workshop.runs("gateway", 1, state=ProcessState.FAILED, ready=False)
    workshop.agent("bot", "restore:gateway")
    plan = workshop.engine.plan(level, "" if level is SYSTEM else "gateway")
    assert [step.checkpoint for step in plan if step.checkpoint] == [last.id]


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)
    second = workshop.saved.create_checkpoint("session", "memory", 2)
    workshop.damage(second.id)
    workshop.agent("bot", "restore:memory")
    with pytest.raises(NothingToRecoverError, match=r"is damaged: its checksum does not fit$"):
        workshop.engine.plan(SESSION, "memory", second.id)


def test_what_is_begun_is_what_was_shown(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("operation", "memory", 1)
    workshop.agent("bot", "restore:memory")
    shown = digest_of(workshop.engine.plan(OPERATION, "memory"))
    second = workshop.saved.create_checkpoint("operation", "memory", 2)
    with pytest.raises(PlanChangedError) as caught:
        workshop.recover(OPERATION, "memory", shown=shown)
    assert [step.checkpoint for step in caught.value.steps] == [second.id]
    assert workshop.core.state.recoveries == {}
    assert workshop.recover(OPERATION, "memory", shown=digest_of(caught.value.steps)).state is RecoveryState.RECOVERED


@pytest.mark.parametrize(
    ("level", "target"), [(SESSION, "session_7"), (SESSION, "7"), (COMPONENT, "session_7")], ids=["name", "id", "component"]
)
def test_a_session_by_its_id_and_by_its_name_is_one(workshop: Workshop, level: RecoveryLevel, target: str) -> None:
    workshop.saved.create_checkpoint("session", "session_7", 1)
    may_go_on = threading.Event()

    def wait(_: Any) -> str:
        assert may_go_on.wait(DEADLINE_S)
        return "done"

    workshop.agent("bot", "restore:session_*", obey=wait)
    first = workshop.engine.begin(SESSION, "7", actor="dashboard", origin="")
    with pytest.raises(BusyError, match="recovery 1, of 7, goes on"):
        workshop.engine.begin(level, target, actor="dashboard", origin="")
    may_go_on.set()
    assert workshop.ended(first.id).state is RecoveryState.RECOVERED


# How one ends.


def test_a_recovery_ends_though_the_core_takes_nothing_for_a_moment(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)
    workshop.agent("bot", "restore:memory")
    real, refused = workshop.core.tell, list[Any]()

    def tell(told: Any) -> Any:
        what = type(told), getattr(told, "order", None) is None, getattr(getattr(told, "recovery", None), "state", None)
        if refused.count(what) < 2 and (what[0] is RecoveryTold or (what[0] is OrderGiven and what[1])):
            refused.append(what)
            raise CoreBusyError("too much is waiting")
        return real(told)

    begun = workshop.engine.begin(SESSION, "memory", actor="dashboard", origin="")
    workshop.core.tell = tell  # type: ignore[method-assign]
    assert workshop.ended(begun.id).state is RecoveryState.RECOVERED
    assert workshop.core.state.orders == {}
    assert (RecoveryTold, True, RecoveryState.RECOVERED) in refused


def test_one_whose_beginning_is_stored_too_late_has_ended(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody carries it out; it must not seem to go on until the next start."""
    monkeypatch.setattr(engine_module, "_COMMIT_S", 1.0)
    may_go_on = threading.Event()

    def hold(events: tuple[Event, ...], _: State) -> None:
        if any(one.type == "recovery.started" for one in events):
            assert may_go_on.wait(DEADLINE_S)

    workshop.core.subscribe(hold)
    with pytest.raises(TimeoutError):
        workshop.recover(SYSTEM)
    may_go_on.set()
    one = workshop.ended(1)
    assert (one.state, one.steps[0].state) == (RecoveryState.FAILED, StepState.PLANNED)


def test_one_that_nobody_carries_out_any_more_is_in_nobodys_way(workshop: Workshop) -> None:
    left = Recovery(id=7, level=SYSTEM, target="", actor="dashboard", at=workshop.clock.now(), steps=())
    workshop.core.tell(RecoveryTold(left)).result(10)
    assert workshop.recover(SYSTEM).state is RecoveryState.RECOVERED


def test_one_that_is_in_its_last_step_when_winclaw_ends_was_interrupted(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_module, "_VERIFY_S", DEADLINE_S)
    workshop.runs("gateway", 1)
    workshop.restarted = lambda name: workshop.runs(name, 2, ready=False)
    begun = workshop.engine.begin(COMPONENT, "gateway", actor="dashboard", origin="")
    workshop.until(lambda state: state.recoveries[begun.id].steps[1].state is StepState.RUNNING)
    workshop.engine.stop()
    one = workshop.ended(begun.id)
    assert (one.state, one.result) == (
        RecoveryState.INTERRUPTED, "WinClaw ended in the midst of it. Begin it again, if it is still needed.",
    )  # fmt: skip


def test_one_that_waits_for_an_agent_when_winclaw_ends_was_interrupted(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)
    workshop.beat("bot", 7, "restore:memory")
    begun = workshop.engine.begin(SESSION, "memory", actor="dashboard", origin="")
    workshop.until(lambda state: bool(state.orders))
    workshop.engine.stop()
    assert workshop.ended(begun.id).state is RecoveryState.INTERRUPTED
