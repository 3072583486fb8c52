"""What each level of recovery would do, before anything is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.presence import Presence
from resilience.core.services import Probed, ServiceCircuit, Services
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, at_first, choose
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery.checkpoint import CheckpointHead
from resilience.recovery.plans import (
    MOST_RECOVERIES,
    NO_RECOVERIES,
    Doing,
    NothingToRecoverError,
    Recovery,
    RecoveryLevel,
    RecoveryState,
    Step,
    StepState,
    digest_of,
    plan,
    restorers,
    with_recovery,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OPERATION, SESSION, COMPONENT, SYSTEM, DISASTER = RecoveryLevel


def agent(*healers: str, name: str = "bot", alive: bool = True) -> Presence:
    return Presence(
        name=name, alive=alive, left=False, pid=7, version=None, since=NOW, beat_at=NOW, beat_s=0.0, healers=healers, loops=()
    )


def status(name: str, state: ProcessState = ProcessState.RUNNING, *, ready: bool = True) -> ProcessStatus:
    return ProcessStatus(name=name, state=state, command=(name,), ready=ready, run=1, restarts=0, since=NOW, why="it ended")


def state(*agents: Presence, processes: dict[str, Process] | None = None, **changes: Any) -> State:
    settings = Settings(
        processes=processes or {},
        services={"search": Service(depends_on=("index",)), "index": Service(process="indexer" if processes else None), "other": Service()},
    )
    present = MappingProxyType({(one.name, one.pid): one for one in agents})
    return State(standing=at_first(NOW), agents=present, settings=settings, **changes)


def saved(component: str, level: Any = "component", at: datetime = NOW, number: int = 1) -> CheckpointHead:
    return CheckpointHead(id=f"chk_{number:08d}_0123456789abcdef", at=at, level=level, component=component)


def open_circuit(name: str) -> ServiceCircuit:
    return ServiceCircuit(name=name, state="OPEN", because="3 calls in a row failed", since=NOW)


def done(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    return [(one.do.value, one.target) for one in steps]


INDEXER = {"indexer": Process(command=("indexer",))}


def test_the_levels_have_the_documents_numbers() -> None:
    assert [(one.value, one.number) for one in RecoveryLevel] == [
        ("operation", 1), ("session", 2), ("component", 3), ("system", 4), ("disaster", 5),
    ]  # fmt: skip


def test_an_operation_goes_back_to_what_was_saved_before_the_last_one() -> None:
    heads = [saved("memory", "component"), saved("memory", "operation", number=2), saved("memory", "operation", number=1)]
    [step] = plan(OPERATION, "memory", state(agent("restore:memory")), heads)
    assert (step.do, step.target, step.checkpoint) == (Doing.RESTORE, "memory", heads[1].id)
    assert step.what == "Restore memory from its checkpoint of 2026-01-01 12:00:00 UTC, and check it."


@pytest.mark.parametrize("target", ["7", "session_7"])
def test_a_session_is_known_by_its_id(target: str) -> None:
    heads = [saved("session_8", "session"), saved("session_7", "session", number=2)]
    [step] = plan(SESSION, target, state(agent("restore:session_*")), heads)
    assert (step.target, step.checkpoint) == ("session_7", heads[1].id)


@pytest.mark.parametrize(
    ("level", "agents", "heads", "said"),
    [
        (OPERATION, (agent("restore:memory"),), [], "there is no checkpoint of memory at the level operation"),
        (SESSION, (agent("restore:memory"),), [saved("memory")], "there is no checkpoint of memory at the level session"),
        (OPERATION, (), [saved("memory", "operation")], "no agent that is connected can restore memory"),
        (OPERATION, (agent("restore:memory", alive=False),), [saved("memory", "operation")], "no agent that is connected"),
        (OPERATION, (agent("reset_connections:memory"),), [saved("memory", "operation")], "no agent that is connected"),
        (COMPONENT, (), [saved("memory")], "nothing can be done for memory: it is no supervised process"),
        (COMPONENT, (agent("restore:memory"),), [saved("memory", "operation")], "nothing can be done for memory"),
    ],
)
def test_where_nothing_can_be_done_the_plan_says_why(
    level: RecoveryLevel, agents: tuple[Presence, ...], heads: list[CheckpointHead], said: str
) -> None:
    with pytest.raises(NothingToRecoverError, match=said):
        plan(level, "memory", state(*agents), heads)


def test_a_component_is_started_again_connected_anew_restored_and_looked_at() -> None:
    heads = [saved("index", "operation", number=3), saved("index", "memory", number=2), saved("index", number=1)]
    now = state(agent("reset_connections:index", "restore:index"), processes=INDEXER)
    steps = plan(COMPONENT, "index", now, heads)
    assert done(steps) == [("restart", "indexer"), ("reset_connections", "index"), ("restore", "index"), ("verify", "index")]
    assert steps[2].checkpoint == heads[1].id
    assert [one.state for one in steps] == [StepState.PLANNED] * 4
    assert [one.what for one in steps] == [
        "Start the process indexer again, and clear its failures.", "Have bot reset the connections to index.",
        "Restore index from its checkpoint of 2026-01-01 12:00:00 UTC, and check it.", "Look whether index is well, and stays so.",
    ]  # fmt: skip


def test_an_agent_that_has_yet_to_start_may_restore_what_its_process_is() -> None:
    steps = plan(COMPONENT, "indexer", state(processes=INDEXER), [saved("indexer")])
    assert done(steps) == [("restart", "indexer"), ("restore", "indexer"), ("verify", "indexer")]


def test_what_safe_mode_keeps_from_running_is_not_started() -> None:
    safe = choose(at_first(NOW), DegradationLevel.SAFE_MODE, actor="tray", now=NOW)
    now = replace(state(agent("restore:index"), processes=INDEXER), standing=safe)
    assert INDEXER["indexer"].in_safe_mode == "stop"
    assert done(plan(COMPONENT, "index", now, [saved("index")])) == [("restore", "index"), ("verify", "index")]
    runs_on = {"indexer": Process(command=("indexer",), in_safe_mode="keep")}
    now = replace(state(processes=runs_on), standing=safe)
    assert done(plan(COMPONENT, "index", now, []))[0] == ("restart", "indexer")


def test_a_system_that_is_well_is_only_looked_at() -> None:
    steps = plan(SYSTEM, "", state(processes=INDEXER), [saved("index")])
    assert done(steps) == [("save", "winclaw"), ("reload_config", "config")]


def test_of_a_system_what_others_need_is_mended_first_and_each_only_once() -> None:
    """No step touches a circuit, or the level: those follow by themselves."""
    circuits = {name: open_circuit(name) for name in ("other", "search", "index")}
    now = state(agent("reset_connections:search"), processes=INDEXER)
    now = replace(now, services=Services(MappingProxyType(circuits)))
    now = replace(now, processes=MappingProxyType({"indexer": status("indexer", ProcessState.FAILED, ready=False)}))
    steps = plan(SYSTEM, "", now, [])
    assert done(steps)[:4] == [
        ("save", "winclaw"), ("reload_config", "config"), ("restart", "indexer"), ("reset_connections", "search"),
    ]  # fmt: skip
    looked_at = [target for do, target in done(steps)[4:] if do == "verify"]
    assert sorted(looked_at) == ["index", "indexer", "other", "search"]
    assert looked_at.index("indexer") < looked_at.index("index") < looked_at.index("search")


def test_a_probe_that_fails_is_unwell_too() -> None:
    probes = MappingProxyType({"disk": Probed(well=False, what="full", since=NOW)})
    now = replace(state(agent("reset_connections:*")), services=Services(probes=probes))
    assert done(plan(SYSTEM, "", now, []))[2:] == [("reset_connections", "disk"), ("verify", "disk")]


def test_disaster_names_its_steps_and_the_file() -> None:
    steps = plan(DISASTER, "day.zip", state(), [])
    assert done(steps) == [("verify", "day.zip"), ("save", "winclaw"), ("restore", "day.zip"), ("verify", "day.zip")]
    assert steps[0].what == "Look whether day.zip is an export, and whole."
    assert plan(DISASTER, "", state(), [])[0].target == "FILE.zip"


@pytest.mark.parametrize("level", [SYSTEM, DISASTER])
def test_each_step_says_what_it_does(level: RecoveryLevel) -> None:
    assert all(one.what.endswith(".") for one in plan(level, "", state(), []))


def test_what_nobody_has_configured_is_mended_last_and_a_circle_of_needs_holds_up_nothing() -> None:
    circuits = MappingProxyType({name: open_circuit(name) for name in ("agents own", "search", "index")})
    now = replace(state(), services=Services(circuits))
    assert [target for do, target in done(plan(SYSTEM, "", now, [])) if do == "verify"] == ["index", "search", "agents own"]
    circle = Settings(services={"index": Service(process="search"), "search": Service(depends_on=("index",))}, processes={"search": Process(command=("x",))})
    looked_at = [target for do, target in done(plan(SYSTEM, "", replace(now, settings=circle), [])) if do == "verify"]
    assert sorted(looked_at) == ["agents own", "index", "search"]


def recovery(number: int, **changes: Any) -> Recovery:
    steps = (Step(do=Doing.RESTORE, target="m", what="Restore m."), Step(do=Doing.VERIFY, target="m", what="Look."))
    return Recovery(id=number, level=COMPONENT, target="m", actor="dashboard", at=NOW, steps=steps, **changes)


def test_a_recovery_says_how_far_it_is() -> None:
    one = recovery(3)
    assert (one.is_open, one.view()["done"], one.view()["number"], one.view()["level"]) == (True, 0, 3, "component")
    failed = replace(one.steps[0], state=StepState.FAILED)
    skipped = replace(one.steps[1], state=StepState.SKIPPED)
    assert replace(one, steps=(replace(one.steps[0], state=StepState.RUNNING), one.steps[1])).view()["done"] == 0
    ended = replace(one, steps=(failed, skipped), state=RecoveryState.FAILED, ended=NOW + timedelta(seconds=2))
    assert (ended.is_open, ended.view()["done"]) == (False, 2)


def test_the_oldest_recoveries_that_have_ended_make_room() -> None:
    known = with_recovery(NO_RECOVERIES, recovery(1))
    for number in range(2, MOST_RECOVERIES + 3):
        known = with_recovery(known, recovery(number, state=RecoveryState.RECOVERED))
    assert len(known) == MOST_RECOVERIES
    assert [*known][:2] == [1, 4]
    assert with_recovery(known, recovery(1, state=RecoveryState.FAILED))[1].state is RecoveryState.FAILED


def test_the_digest_of_a_plan_names_what_it_would_do_and_not_how_far_it_is() -> None:
    steps = plan(COMPONENT, "indexer", state(processes=INDEXER), [saved("indexer", number=2)])
    other = plan(COMPONENT, "indexer", state(processes=INDEXER), [saved("indexer", number=3)])
    assert digest_of(steps) == digest_of([replace(one, state=StepState.DONE, result="done") for one in steps])
    assert len({digest_of(one) for one in (steps, steps[:-1], other, ())}) == 4


def test_who_can_restore_something_are_processes_and_not_names() -> None:
    """Several processes may go by one name, and not each has the restorer."""
    first, second = agent("restore:memory"), replace(agent("restore:*"), pid=None)
    others = replace(agent("restore:other"), pid=8), replace(agent("restore:memory", alive=False), pid=9)
    assert restorers(state(first, second, *others), "memory") == (("bot", None), ("bot", 7))
