"""Whether something is well again, told from one state."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.services import Probed, Services
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, Standing
from resilience.healing.policy import HealingRule
from resilience.healing.verification import what_is_wrong
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHROMA = ProcessStatus(name="chroma", state=ProcessState.RUNNING, since=NOW, run=2, ready=True)
STATE = State(
    standing=Standing(level=DegradationLevel.FULL, since=NOW, cause="All is well."),
    settings=Settings(services={"vector_store": Service(process="chroma")}, processes={"chroma": Process(command=("chroma",))}),
    processes={"chroma": CHROMA},
)
TOO_MUCH = HealingRule(name="r", measurement="memory_percent", above=90.0, actions=("garbage_collect",))
FOR_ERRORS = HealingRule(name="r", kinds=("transient",), actions=("garbage_collect",))


def wrong(state: State = STATE, target: str = "vector_store", runs_before: int | None = None) -> str:
    return what_is_wrong(state, None, "memory_system", target, runs_before)


def probed(**well: bool) -> State:
    return replace(STATE, services=Services(probes={name: Probed(well=one, since=NOW, what="refused") for name, one in well.items()}))


@pytest.mark.parametrize("target", ["vector_store", "chroma", "nobody_knows_it"])
def test_what_nobody_knows_anything_bad_of_is_well(target: str) -> None:
    assert wrong(target=target) == ""


@pytest.mark.parametrize("target", ["vector_store", "chroma"])
@pytest.mark.parametrize(
    ("process", "runs_before", "said"),
    [
        (CHROMA, 1, ""),
        (CHROMA, 2, "chroma has not been started again yet"),
        (CHROMA, 3, "chroma has not been started again yet"),
        (replace(CHROMA, ready=False, why="refused"), None, "chroma is running, but not ready: refused"),
        (replace(CHROMA, ready=False, state=ProcessState.FAILED, why="too often"), 1, "chroma is failed, but not ready: too often"),
        (replace(CHROMA, ready=False, state=ProcessState.STOPPED), 2, ""),
    ],
)
def test_a_process_must_run_again_and_answer_unless_somebody_stopped_it(
    process: ProcessStatus, runs_before: int | None, said: str, target: str
) -> None:
    """A service is looked at as the process that it is."""
    assert wrong(replace(STATE, processes={"chroma": process}), target, runs_before) == said


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (probed(vector_store=False), "the probe of vector_store: refused"),
        (probed(memory_system=False, vector_store=True), "the probe of memory_system: refused"),
        (probed(memory_system=True, vector_store=True), ""),
        (probed(gmail_api=False), ""),
    ],
)
def test_the_probes_of_what_was_mended_and_of_what_was_seen_must_be_well(state: State, said: str) -> None:
    assert wrong(state) == said


@pytest.mark.parametrize(
    ("rule", "values", "said"),
    [
        (TOO_MUCH, {("machine", "memory_percent"): 90.0}, ""),
        (TOO_MUCH, {("machine", "memory_percent"): 90.06}, "memory_percent of machine is 90.1, still above 90"),
        (TOO_MUCH, {("machine", "cpu_percent"): 1.0, ("x", "memory_percent"): 1.0}, "memory_percent of machine is not measured"),
        (TOO_MUCH, {}, "memory_percent of machine is not measured"),
        (FOR_ERRORS, {("machine", "memory_percent"): 99.0}, ""),
        (None, {("machine", "memory_percent"): 99.0}, ""),
    ],
)
def test_what_was_too_high_must_have_come_down(
    rule: HealingRule | None, values: dict[tuple[str, str], float], said: str
) -> None:
    """And be measured: what nobody sees is not well."""
    assert what_is_wrong(STATE, rule, "machine", "machine", values=values) == said


def test_without_any_measurements_what_was_too_high_is_not_known_to_be_well() -> None:
    assert what_is_wrong(STATE, TOO_MUCH, "machine", "machine") == "memory_percent of machine is not measured"
