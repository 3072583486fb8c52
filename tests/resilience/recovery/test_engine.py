"""Recoveries from the plan to their end, over a real core; agents answer as they would over the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.inputs import ProcessTold, RecoveryTold
from resilience.degradation.levels import DegradationLevel
from resilience.events import CircuitReport, Heartbeat, OrderAnswer
from resilience.journal.journal import Journal
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery import engine as engine_module
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.engine import BusyError, RecoveryEngine
from resilience.recovery.plans import NothingToRecoverError, Recovery, RecoveryLevel, RecoveryState, StepState
from tests.resilience.core.cores import core_on, end

OPERATION, SESSION, COMPONENT, SYSTEM, DISASTER = RecoveryLevel
DEADLINE_S = 20


class Workshop:
    """A core with an engine, and a supervisor that does as the test says."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.commands: list[tuple[str, str]] = []
        self.reloaded = 0
        self.restarted: Callable[[str], None] = lambda _: None
        settings = Settings(processes={"gateway": Process(command=("gateway",))})
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

    def agent(self, name: str, *healers: str, obey: Callable[[Any], str] = lambda _: "done") -> None:
        """An agent that is there, and answers each order; what ``obey`` raises is a failure."""
        self.core.beat(Heartbeat(agent=name, pid=1, healers=healers)).result(10)

        def answer() -> None:
            seen: set[str] = set()
            while not self.ending.is_set():
                state = self.core.state
                for order in [one for one in state.orders.values() if name in one.agents and one.id not in seen]:
                    seen.add(order.id)
                    try:
                        told = OrderAnswer(id=order.id, done=True, what=obey(order))
                    except Exception as error:
                        told = OrderAnswer(id=order.id, done=False, what=str(error))
                    self.core.beat(Heartbeat(agent=name, pid=1, healers=healers, orders=(told,))).result(10)
                self.core.wait_for_change(self.core.state.version, 0.05)

        self.agents.append(threading.Thread(target=answer, daemon=True))
        self.agents[-1].start()

    def recover(self, level: RecoveryLevel, target: str = "", **chosen: Any) -> Recovery:
        """The recovery when it has ended."""
        begun = self.engine.begin(level, target, actor="dashboard", origin="127.0.0.1", **chosen)
        return self.ended(begun.id)

    def ended(self, number: int) -> Recovery:
        until_s = self.clock.monotonic() + DEADLINE_S
        state = self.core.state
        while (found := state.recoveries[number]).is_open:
            assert self.clock.monotonic() < until_s, found
            state = self.core.wait_for_change(state.version, 1.0)
        return found

    def end(self) -> None:
        self.ending.set()
        self.engine.stop()
        for thread in self.agents:
            thread.join(5)
        end([self.core])


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    for name, seconds in (("_SETTLE_S", 0.05), ("_VERIFY_S", 0.2), ("_AGENT_S", 0.2)):
        monkeypatch.setattr(engine_module, name, seconds)
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


