"""Recoveries from the plan to their end, over a real core; agents answer as they would over the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.core import CoreBusyError
from resilience.core.inputs import OrderGiven, ProcessTold, RecoveryTold, Switch
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import CircuitReport, Event, Heartbeat, OrderAnswer
from resilience.journal.journal import Journal
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery import engine as engine_module
from resilience.recovery import steps as steps_module
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.engine import BusyError, PlanChangedError, RecoveryEngine
from resilience.recovery.plans import NothingToRecoverError, Recovery, RecoveryLevel, RecoveryState, StepState, digest_of
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on, end

OPERATION, SESSION, COMPONENT, SYSTEM, DISASTER = RecoveryLevel
MISSING = "chk_00000099_0123456789abcdef"
DEADLINE_S = 20


class Workshop:
    """A core with an engine, and a supervisor that does as the test says."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.commands: list[tuple[str, str]] = []
        self.reloaded = 0
        self.restarted: Callable[[str], None] = lambda _: None
        settings = Settings(processes={"gateway": Process(command=("gateway",), stop_timeout_s=0.0)})
        self.core = core_on(Journal(folder / "journal.db", self.clock.now()), self.clock, settings)
        self.saved = CheckpointManager(folder / "checkpoints", clock=self.clock)
        self.engine = RecoveryEngine(self.core, self, self.saved, self.reload, self.clock)  # type: ignore[arg-type]
        self.agents: list[threading.Thread] = []
        self.ending = threading.Event()

    def reload(self) -> str:
        self.reloaded += 1
        return "the file is in force"

    def command(self, name: str, command: str, *, actor: str, origin: str) -> Any:
        """What the supervisor is asked for."""
        self.commands.append((name, command))
        self.restarted(name)
        return self.core.tell(ProcessTold(name, self.core.state.processes.get(name)))

    def runs(self, name: str, run: int, *, ready: bool = True, state: ProcessState = ProcessState.RUNNING) -> None:
        status = ProcessStatus(name=name, state=state, since=self.clock.now(), pid=run, run=run, ready=ready, why="it ended")
        self.core.tell(ProcessTold(name, status)).result(10)

    def beat(self, name: str, pid: int, *healers: str, **news: Any) -> None:
        """What an agent tells."""
        self.core.beat(Heartbeat(agent=name, pid=pid, healers=healers, **news)).result(10)

    def agent(self, name: str, *healers: str, obey: Callable[[Any], str] = lambda _: "done", pid: int = 1000) -> None:
        """An agent that is there, and answers each order; what ``obey`` raises is a failure."""
        self.beat(name, pid, *healers)

        def answer() -> None:
            seen: set[str] = set()
            while not self.ending.is_set():
                state = self.core.state
                mine = [one for one in state.orders.values() if name in one.agents and (name, pid) in (one.processes or [(name, pid)])]
                for order in [one for one in mine if one.id not in seen]:
                    seen.add(order.id)
                    try:
                        told = OrderAnswer(id=order.id, done=True, what=obey(order))
                    except Exception as error:
                        told = OrderAnswer(id=order.id, done=False, what=str(error))
                    self.beat(name, pid, *healers, orders=(told,))
                self.core.wait_for_change(self.core.state.version, 0.05)

        self.agents.append(threading.Thread(target=answer, daemon=True))
        self.agents[-1].start()

    def recover(self, level: RecoveryLevel, target: str = "", **chosen: Any) -> Recovery:
        """The recovery when it has ended."""
        begun = self.engine.begin(level, target, actor="dashboard", origin="127.0.0.1", **chosen)
        return self.ended(begun.id)

    def ended(self, number: int) -> Recovery:
        return self.until(lambda state: not state.recoveries[number].is_open).recoveries[number]

    def until(self, is_so: Callable[[State], bool]) -> State:
        """The state as soon as it is so."""
        until_s = self.clock.monotonic() + DEADLINE_S
        state = self.core.state
        while not is_so(state):
            assert self.clock.monotonic() < until_s, state.recoveries
            state = self.core.wait_for_change(state.version, 1.0)
        return state

    def circuit(self, state: str, change: int = 1) -> None:
        """What an agent that resets connections tells of the circuit of gpt."""
        report = CircuitReport(service="gpt", state=state, change=change, because="3 failed", retry_after_s=0.0)  # type: ignore[arg-type]
        self.beat("bot", 1000, "reset_connections:gpt", circuits=(report,))

    def damage(self, checkpoint_id: str) -> None:
        [path] = self.saved.folder.rglob(f"{checkpoint_id}*")
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def end(self) -> None:
        self.ending.set()
        self.engine.stop()
        for thread in self.agents:
            thread.join(5)
        end([self.core])


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    for name, seconds in (("_SETTLE_S", 0.05), ("_VERIFY_S", 0.2), ("_AGENT_S", 0.2), ("_NEW_RUN_S", 0.2)):
        monkeypatch.setattr(steps_module, name, seconds)
    one = Workshop(tmp_path)
    yield one
    one.end()


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




# Who is asked to restore what.


def test_the_process_that_is_being_ended_is_not_asked_to_restore(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart is in the audit log long before the old process has ended; what it restores goes with it."""
    monkeypatch.setattr(steps_module, "_NEW_RUN_S", DEADLINE_S)
    monkeypatch.setattr(steps_module, "_AGENT_S", DEADLINE_S)
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("component", "gateway", {"facts": 1})
    asked: list[int] = []
    workshop.agent("gateway", "restore:gateway", pid=1, obey=lambda _: asked.append(1) or "done")
    begun = workshop.engine.begin(COMPONENT, "gateway", actor="dashboard", origin="")
    workshop.until(lambda _: workshop.commands == [("gateway", "restart")])
    assert workshop.core.state.recoveries[begun.id].steps[0].state is StepState.RUNNING
    workshop.runs("gateway", 2, ready=False, state=ProcessState.STARTING)
    workshop.until(lambda state: state.recoveries[begun.id].steps[1].state is StepState.RUNNING)
    workshop.beat("gateway", 2)
    workshop.runs("gateway", 2)
    workshop.agent("gateway", "restore:gateway", pid=2, obey=lambda _: asked.append(2) or "done")  # it has its restorer now
    assert workshop.ended(begun.id).state is RecoveryState.RECOVERED
    assert asked == [2]


def test_who_was_there_before_a_restart_is_asked_once_it_is_heard_after_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a child of the old process that is dead already, and only its silence is not long enough yet to say so."""
    monkeypatch.setattr(steps_module, "_AGENT_S", DEADLINE_S)
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("component", "gateway", {"facts": 1})
    asked: list[str] = []
    workshop.agent("bot", "restore:gateway", obey=lambda _: asked.append("bot") or "done")
    workshop.restarted = lambda name: workshop.runs(name, 2)
    begun = workshop.engine.begin(COMPONENT, "gateway", actor="dashboard", origin="")
    workshop.until(lambda state: state.recoveries[begun.id].steps[1].state is StepState.RUNNING)
    assert asked == []
    workshop.beat("bot", 1000, "restore:gateway")
    assert workshop.ended(begun.id).state is RecoveryState.RECOVERED
    assert asked == ["bot"]


def test_of_one_that_is_not_heard_again_nothing_is_expected(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("component", "gateway", {"facts": 1})
    workshop.agent("bot", "restore:gateway")
    workshop.restarted = lambda name: workshop.runs(name, 2)
    one = workshop.recover(COMPONENT, "gateway")
    assert "no agent came within 0.2 s that can restore gateway" in one.result


def test_connections_of_an_agent_that_ended_with_the_restart_need_no_reset(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.beat("gateway", 1, "reset_connections:gateway")
    workshop.restarted = lambda name: workshop.runs(name, 2)
    one = workshop.recover(COMPONENT, "gateway")
    assert [step.result for step in one.steps][:2] == [
        "the process gateway is started again", "its agent was started again, and connects anew",
    ]  # fmt: skip
    assert one.state is RecoveryState.RECOVERED


def test_of_several_processes_of_one_name_each_has_to_restore_it(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)

    def refuse(_: Any) -> str:
        raise RuntimeError("its check did not pass")

    workshop.agent("bot", "restore:memory", pid=7)
    workshop.agent("bot", "restore:memory", pid=8, obey=refuse)
    one = workshop.recover(SESSION, "memory")
    assert (one.state, one.steps[0].result) == (RecoveryState.FAILED, "bot (7): done; bot (8): its check did not pass")


def test_a_process_without_the_restorer_does_not_decide_for_its_name(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)
    may_restore = threading.Event()

    def restore(_: Any) -> str:
        assert may_restore.wait(DEADLINE_S)
        return "restored"

    workshop.agent("bot", "restore:memory", obey=restore)
    begun = workshop.engine.begin(SESSION, "memory", actor="dashboard", origin="")
    [order] = workshop.until(lambda state: bool(state.orders)).orders.values()
    workshop.beat("bot", 2, orders=(OrderAnswer(id=order.id, done=False, what="nothing here can restore memory"),))
    may_restore.set()
    one = workshop.ended(begun.id)
    assert (one.state, one.steps[0].result) == (RecoveryState.RECOVERED, "bot: restored")


def test_a_process_that_goes_before_it_answers_is_not_waited_for(workshop: Workshop) -> None:
    workshop.saved.create_checkpoint("session", "memory", 1)
    workshop.beat("bot", 7, "restore:memory")
    begun = workshop.engine.begin(SESSION, "memory", actor="dashboard", origin="")
    workshop.until(lambda state: bool(state.orders))
    workshop.beat("bot", 7, leaving=True)
    one = workshop.ended(begun.id)
    assert (one.state, one.steps[0].result) == (RecoveryState.FAILED, "bot: it has gone without an answer")


# What is called recovered.


@pytest.mark.parametrize(
    ("circuit", "said"),
    [
        ("OPEN", "its circuit is not closed, because nobody has used the service with success since: 3 failed"),
        ("HALF_OPEN", "its circuit is not closed, because nobody has used the service with success since: 3 failed"),
        ("ISOLATED", "it is isolated, which only a person ends: isolated by me"),
    ],
)
def test_a_service_whose_circuit_is_not_closed_is_not_called_recovered(workshop: Workshop, circuit: str, said: str) -> None:
    workshop.agent("bot", "reset_connections:gpt")
    if circuit == "ISOLATED":
        workshop.circuit("CLOSED")
        workshop.core.tell(Switch("gpt", "isolate", "me", "")).result(10)  # type: ignore[arg-type]
    else:
        workshop.circuit(circuit)
    one = workshop.recover(COMPONENT, "gpt")
    assert [step.state for step in one.steps] == [StepState.DONE, StepState.FAILED]
    assert one.state is RecoveryState.FAILED
    assert said in one.result


def test_a_circuit_that_agents_close_meanwhile_is_proof(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "_VERIFY_S", DEADLINE_S)
    workshop.circuit("HALF_OPEN")
    workshop.agent("bot", "reset_connections:gpt")
    begun = workshop.engine.begin(COMPONENT, "gpt", actor="dashboard", origin="")
    workshop.until(lambda state: state.recoveries[begun.id].steps[1].state is StepState.RUNNING)
    workshop.circuit("CLOSED", 2)
    assert workshop.ended(begun.id).state is RecoveryState.RECOVERED


@pytest.mark.parametrize("state", [ProcessState.STOPPED, ProcessState.EXITED])
def test_a_process_that_does_not_run_after_its_restart_is_not_recovered(workshop: Workshop, state: ProcessState) -> None:
    workshop.runs("gateway", 1)
    workshop.restarted = lambda name: workshop.runs(name, 2, ready=False, state=state)
    one = workshop.recover(COMPONENT, "gateway")
    assert one.state is RecoveryState.FAILED
    assert f"gateway does not run: it is {state.value}, it ended" in one.result


def test_a_process_that_is_stopped_instead_of_started_again_is_a_failure(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.restarted = lambda name: workshop.runs(name, 1, ready=False, state=ProcessState.STOPPED)
    one = workshop.recover(COMPONENT, "gateway")
    assert [step.state for step in one.steps] == [StepState.FAILED, StepState.SKIPPED]
    assert "gateway has not been started again yet: it is stopped, it ended" in one.result


def test_what_was_restored_into_a_run_that_is_over_is_lost(workshop: Workshop) -> None:
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("component", "gateway", {"facts": 1})

    def restored(_: Any) -> str:
        workshop.runs("gateway", 3)
        return "done"

    def restarted(name: str) -> None:
        workshop.runs(name, 2)
        workshop.agent("gateway", "restore:gateway", pid=2, obey=restored)

    workshop.restarted = restarted
    one = workshop.recover(COMPONENT, "gateway")
    assert one.state is RecoveryState.FAILED
    assert "gateway was started again after it had been restored" in one.result


def test_a_system_in_which_something_else_fails_meanwhile_is_not_called_recovered(workshop: Workshop) -> None:
    workshop.runs("gateway", 1, state=ProcessState.FAILED, ready=False)

    def restarted(name: str) -> None:
        workshop.runs(name, 2)
        workshop.circuit("OPEN")

    workshop.restarted = restarted
    one = workshop.recover(SYSTEM)
    assert all(step.state is StepState.DONE for step in one.steps)
    assert one.state is RecoveryState.FAILED
    assert one.result == "All was done, but not all is well: gpt, its circuit is open, because 3 failed."


def test_the_targets_of_a_system_share_the_time_in_which_they_have_to_get_well(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_module, "_VERIFY_S", 1.0)
    opened = [CircuitReport(service=f"s{one}", state="OPEN", change=1, because="3 failed", retry_after_s=3600) for one in range(20)]
    workshop.beat("bot", 9, circuits=tuple(opened))
    begun_s = workshop.clock.monotonic()
    one = workshop.recover(SYSTEM)
    assert sum(step.state is StepState.FAILED for step in one.steps) == 20
    assert workshop.clock.monotonic() - begun_s < 15


def test_a_system_names_what_a_person_has_isolated(workshop: Workshop) -> None:
    workshop.core.tell(Switch("gpt", "isolate", "me", "")).result(10)  # type: ignore[arg-type]
    one = workshop.recover(SYSTEM)
    assert one.state is RecoveryState.RECOVERED
    assert one.result.endswith("; isolated, which only a person ends: gpt")


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
