"""What the steps of a recovery do: who is asked to restore what, and what is called recovered."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from resilience.core.inputs import Switch
from resilience.events import CircuitReport, OrderAnswer
from resilience.processes.supervision import ProcessState
from resilience.recovery import steps as steps_module
from resilience.recovery.plans import RecoveryState, StepState
from tests.resilience.recovery.workshops import COMPONENT, DEADLINE_S, SESSION, SYSTEM, Workshop

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


def test_who_outlives_a_restart_has_to_restore_it_too_though_it_is_heard_later_than_who_comes_with_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_module, "_AGENT_S", DEADLINE_S)
    workshop.runs("gateway", 1)
    workshop.saved.create_checkpoint("component", "gateway", {"facts": 1})
    asked: list[int] = []
    workshop.agent("gateway", "restore:gateway", pid=1, obey=lambda _: asked.append(1) or "done")
    workshop.agent("worker", "restore:gateway", pid=50, obey=lambda _: asked.append(50) or "done")

    def restarted(name: str) -> None:
        workshop.runs(name, 2)
        workshop.agent("gateway", "restore:gateway", pid=2, obey=lambda _: asked.append(2) or "done")

    workshop.restarted = restarted
    begun = workshop.engine.begin(COMPONENT, "gateway", actor="dashboard", origin="")
    workshop.until(lambda _: asked == [2])
    workshop.beat("worker", 50, "restore:gateway")
    one = workshop.ended(begun.id)
    assert (one.state, one.steps[1].result) == (RecoveryState.RECOVERED, "gateway: done; worker: done")
    assert asked == [2, 50]


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
