"""The three steps of a diagnosis (§6.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from resilience.config.settings import Service, Settings
from resilience.core.presence import Presence
from resilience.core.services import CircuitName, Probed, Seen, ServiceCircuit, Services
from resilience.core.state import State
from resilience.degradation.levels import at_first
from resilience.detection.policy import Probe
from resilience.events import LoopReport
from resilience.healing.diagnosis import Diagnosis, diagnose
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = {
    "memory_system": Service(depends_on=("vector_store",), feature="enable_memory"),
    "vector_store": Service(depends_on=("disk",), process="chroma", feature="enable_vector_store"),
    "embedder": Service(process="chroma"),
    "disk": Service(),
    "gmail_api": Service(feature="enable_gmail", probe=Probe(http="http://127.0.0.1:1/a")),
    "twilio_api": Service(probe=Probe(tcp="127.0.0.1:2")),
}


Probes = dict[str, Probed]


def trouble(name: str, ago_s: float, what: str = "it fails") -> Probes:
    return {name: Probed(well=False, since=NOW - timedelta(seconds=ago_s), what=what)}


def runs(agent: str, *names: str) -> Presence:
    loops = (LoopReport(loop="idle", state="idle"), *(LoopReport(loop=name, state="running", running=1) for name in names))
    return Presence(name=agent, alive=True, pid=1, version=None, since=NOW, beat_at=NOW, beat_s=0.0, loops=loops)


def used(*by: tuple[str, str]) -> dict[tuple[str, int | None, str], Seen]:
    return {(agent, 1, service): Seen(1, {"calls": 1.0}) for agent, service in by}


STATE = State(
    standing=at_first(NOW),
    services=Services(seen={
        **used(("a", "memory_system"), ("a", "vector_store"), ("b", "vector_store"), ("c", "gmail_api")),
        ("silent", 1, "vector_store"): Seen(1, {}),
    }),
    agents={(one.name, 1): one for one in (runs("a", "memory", "planning"), runs("c", "research"), runs("silent", "lost"))},
    waiting={"gmail_api": 7, "memory_system": 2},
)  # fmt: skip


def found(component: str, *troubles: Probes, services: dict[str, Service] = SERVICES) -> Diagnosis:
    probes = {name: one for some in troubles for name, one in some.items()}
    state = replace(STATE, settings=Settings(services=services), services=STATE.services._replace(probes=probes))
    return diagnose(state, "rule", component)


def test_that_on_which_the_others_depend_is_the_root_cause() -> None:
    diagnosis = found("memory_system", trouble("memory_system", 5), trouble("vector_store", 9), trouble("disk", 20, "full"))
    assert diagnosis.root_cause == "disk"
    assert diagnosis.because == (
        "memory_system depends on disk, which fails too: its probe: full",
        "disk began to fail 15 s before memory_system",
    )


def test_what_is_deepest_goes_before_what_began_first() -> None:
    """The disk's trouble may have been noticed last; that it began earlier is said only where it is so."""
    for ago_s in (3, 9):
        diagnosis = found("memory_system", trouble("memory_system", 9), trouble("vector_store", 9), trouble("disk", ago_s))
        assert diagnosis.root_cause == "disk"
        assert diagnosis.because == ("memory_system depends on disk, which fails too: its probe: it fails",)


def test_where_all_that_something_depends_on_fails_that_is_deeper() -> None:
    services = {"a": Service(depends_on=("b",)), "b": Service(depends_on=("c",))}
    assert found("a", trouble("b", 9), trouble("c", 3), services=services).root_cause == "c"


def test_a_diagnosis_says_which_rule_it_is_for_and_what_was_seen_as_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(found("gmail_api", trouble("gmail_api", 5)))) == {
        "pattern": "rule", "component": "gmail_api", "root_cause": "gmail_api",
        "because": ["nothing that gmail_api depends on is known to fail"],
        "impact": {"services": ["gmail_api"], "features": ["enable_gmail"], "agents": ["c"], "loops": ["research"], "waiting": 7},
    }  # fmt: skip


def test_of_several_that_depend_on_nothing_that_fails_the_earliest_is_the_root_cause() -> None:
    diagnosis = found("memory_system", trouble("chroma", 3), trouble("disk", 8))
    assert diagnosis.root_cause == "disk"


def test_the_process_behind_a_service_is_the_root_cause_when_it_fails() -> None:
    assert found("vector_store", trouble("vector_store", 2), trouble("chroma", 3)).root_cause == "chroma"


def test_services_of_one_process_that_fail_together_mean_the_process() -> None:
    diagnosis = found("embedder", trouble("embedder", 2), trouble("vector_store", 4))
    assert diagnosis.root_cause == "chroma"
    assert "vector_store" in diagnosis.because[0]
    alone = found("embedder", trouble("embedder", 2), trouble("vector_store", 400))
    assert alone.root_cause == "embedder"


def test_a_process_is_meant_only_while_several_of_it_fail() -> None:
    diagnosis = found("embedder", trouble("embedder", 2), trouble("vector_store", 4), trouble("gmail_api", 2))
    assert diagnosis.because == ("embedder is the process chroma with vector_store, and they fail together",)
    assert found("embedder", trouble("vector_store", 4)).root_cause == "embedder"


@pytest.mark.parametrize(("apart_s", "root"), [(30, "chroma"), (30.1, "embedder")])
def test_what_began_within_half_a_minute_began_together(apart_s: float, root: str) -> None:
    for first, second in ((100, 100 + apart_s), (100 + apart_s, 100)):
        assert found("embedder", trouble("embedder", first), trouble("vector_store", second)).root_cause == root


def test_a_service_that_has_the_name_of_its_process_is_mended_as_such() -> None:
    both = {"chroma": Service(process="chroma"), "embedder": Service(process="chroma")}
    diagnosis = found("chroma", trouble("chroma", 1), trouble("embedder", 2), services=both)
    assert diagnosis.because == ("nothing that chroma depends on is known to fail",)


def test_all_that_it_depends_on_is_looked_at_though_some_of_it_is_no_service() -> None:
    services = {"a": Service(depends_on=("b", "elsewhere")), "b": Service(depends_on=("c", "elsewhere"))}
    assert found("a", trouble("c", 1), services=services).root_cause == "c"


@pytest.mark.parametrize(
    ("mine", "other", "host"),
    [
        (Probe(http="http://box:1/a"), Probe(tcp="box:2"), "box"), (Probe(tcp="box:1"), Probe(http="https://box/"), "box"),
        (Probe(tcp="box:1"), Probe(tcp="bix:1"), None), (Probe(process="ollama"), Probe(process="ollama"), None),
        (Probe(tcp="no port"), Probe(tcp="no port"), None), (None, None, None), (Probe(tcp="box:1"), None, None),
    ],
)  # fmt: skip
def test_a_host_is_that_of_the_probes_address(mine: Probe | None, other: Probe | None, host: str | None) -> None:
    services = {"a": Service(probe=mine), "b": Service(probe=other)}
    diagnosis = found("a", trouble("a", 1), trouble("b", 1), trouble("not a service", 1), services=services)
    assert diagnosis.because == (
        (f"b on the same host, {host}, fails at the same time: it may be the host",) if host
        else ("nothing that a depends on is known to fail",)
    )  # fmt: skip


def test_a_shared_host_is_named_but_not_mended() -> None:
    diagnosis = found("gmail_api", trouble("gmail_api", 2), trouble("twilio_api", 3))
    assert diagnosis.root_cause == "gmail_api"
    assert "127.0.0.1" in diagnosis.because[0]


def test_where_nothing_else_fails_it_is_the_component_itself() -> None:
    assert found("gmail_api", trouble("gmail_api", 2)).root_cause == "gmail_api"
    assert found("nobody_knows_it").root_cause == "nobody_knows_it"


def test_the_impact_is_everything_that_cannot_work_without_it() -> None:
    impact = found("vector_store", trouble("vector_store", 1)).impact
    assert impact.services == ("memory_system", "vector_store")
    assert impact.features == ("enable_memory", "enable_vector_store")
    assert impact.agents == ("a", "b")
    assert impact.loops == ("memory", "planning")
    assert impact.waiting == 2


def test_services_that_depend_on_each_other_in_a_circle_end_the_search() -> None:
    circle = {"a": Service(depends_on=("b",)), "b": Service(depends_on=("a",))}
    both = (trouble("a", 1), trouble("b", 2))
    diagnosis = found("a", *both, services=circle)
    assert diagnosis.root_cause == "b"
    other = found("b", *both, services=circle)
    assert other.root_cause == "a"
    assert diagnosis.impact.services == other.impact.services == ("a", "b")


def circuit(state: CircuitName, **more: object) -> ServiceCircuit:
    return ServiceCircuit(name="disk", state=state, since=NOW, because="5 of 5 calls failed", **more)  # type: ignore[arg-type]


EARLIER = NOW - timedelta(seconds=50)


@pytest.mark.parametrize(
    ("one", "since", "said"),
    [
        (circuit("OPEN"), NOW, "its circuit is open, because 5 of 5 calls failed"),
        (circuit("HALF_OPEN", unwell_since=EARLIER), EARLIER, "its circuit is open, because 5 of 5 calls failed"),
        (circuit("CLOSED"), None, ""), (circuit("ISOLATED"), None, ""),
    ],
)  # fmt: skip
def test_a_circuit_that_calls_have_opened_is_trouble_whatever_the_probe_says(
    one: ServiceCircuit, since: datetime | None, said: str
) -> None:
    """Since it left CLOSED, however often it was tried since; where there is a circuit, calls know better than the probe."""
    services = Services(circuits={"disk": one}, probes={**trouble("disk", 99), **trouble("vector_store", 20)})
    state = replace(STATE, settings=Settings(services=SERVICES), services=services)
    diagnosis = diagnose(state, "rule", "vector_store")
    assert diagnosis.root_cause == ("disk" if said else "vector_store")
    if said:
        assert diagnosis.because[0] == f"vector_store depends on disk, which fails too: {said}"
        assert diagnosis.because[1:] == (("disk began to fail 30 s before vector_store",) if since is EARLIER else ())


@pytest.mark.parametrize(
    ("state", "ready", "is_trouble"),
    [
        (ProcessState.RUNNING, True, False), (ProcessState.RUNNING, False, True), (ProcessState.FAILED, False, True),
        (ProcessState.WAITING, False, True), (ProcessState.STARTING, False, False), (ProcessState.STOPPED, False, False),
        (ProcessState.STOPPING, False, False), (ProcessState.EXITED, False, False),
    ],
)  # fmt: skip
def test_a_process_that_should_answer_and_does_not_is_trouble(state: ProcessState, ready: bool, is_trouble: bool) -> None:
    process = ProcessStatus(name="chroma", state=state, since=NOW, ready=ready, why="it crashed")
    diagnosis = diagnose(
        replace(STATE, settings=Settings(services=SERVICES), processes={"chroma": process}), "rule", "embedder"
    )
    assert diagnosis.because == (
        (f"embedder depends on chroma, which fails too: the process is {state.value}: it crashed",) if is_trouble
        else ("nothing that embedder depends on is known to fail",)
    )  # fmt: skip


def test_a_probe_that_is_well_is_no_trouble() -> None:
    well = {"vector_store": Probed(well=True, since=NOW, what="it answers")}
    assert found("memory_system", well).root_cause == "memory_system"
