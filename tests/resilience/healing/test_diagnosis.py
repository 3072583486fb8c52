"""The three steps of a diagnosis (§6.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from resilience.config.settings import Service
from resilience.detection.policy import Probe
from resilience.healing.diagnosis import Diagnosis, Trouble, diagnose

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = {
    "memory_system": Service(depends_on=("vector_store",), feature="enable_memory"),
    "vector_store": Service(depends_on=("disk",), process="chroma", feature="enable_vector_store"),
    "embedder": Service(process="chroma"),
    "disk": Service(),
    "gmail_api": Service(feature="enable_gmail", probe=Probe(http="http://127.0.0.1:1/a")),
    "twilio_api": Service(probe=Probe(tcp="127.0.0.1:2")),
}


def trouble(name: str, ago_s: float, what: str = "it fails") -> Trouble:
    return Trouble(name, NOW - timedelta(seconds=ago_s), what)


def found(component: str, *troubles: Trouble) -> Diagnosis:
    return diagnose(
        "rule", component, troubles=troubles, services=SERVICES,
        users={"memory_system": {"a"}, "vector_store": {"a", "b"}, "gmail_api": {"c"}},
        loops={"a": {"memory", "planning"}, "c": {"research"}}, waiting={"gmail_api": 7, "memory_system": 2},
    )  # fmt: skip


def test_that_on_which_the_others_depend_is_the_root_cause() -> None:
    diagnosis = found("memory_system", trouble("memory_system", 5), trouble("vector_store", 9), trouble("disk", 20, "full"))
    assert diagnosis.root_cause == "disk"
    assert diagnosis.because == (
        "memory_system depends on disk, which fails too: full",
        "disk began to fail 15 s before memory_system",
    )


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
    diagnosis = diagnose("rule", "a", troubles=both, services=circle, users={}, loops={}, waiting={})
    assert diagnosis.root_cause == "b"
