"""The three steps of a diagnosis (§6.1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from resilience.config.settings import Service
from resilience.detection.policy import Probe
from resilience.healing.diagnosis import TOGETHER, Diagnosis, Trouble, diagnose

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


def test_what_is_deepest_goes_before_what_began_first() -> None:
    """The disk's trouble may have been noticed last; that it began earlier is said only where it is so."""
    for ago_s in (3, 9):
        diagnosis = found("memory_system", trouble("memory_system", 9), trouble("vector_store", 9), trouble("disk", ago_s))
        assert diagnosis.root_cause == "disk"
        assert diagnosis.because == ("memory_system depends on disk, which fails too: it fails",)


def test_where_all_that_something_depends_on_fails_that_is_deeper() -> None:
    services = {"a": Service(depends_on=("b",)), "b": Service(depends_on=("c",))}
    troubles = (trouble("b", 9), trouble("c", 3))
    assert diagnose("rule", "a", troubles=troubles, services=services, users={}, loops={}, waiting={}).root_cause == "c"


def test_a_diagnosis_says_which_rule_it_is_for_and_what_was_seen_as_plain_data() -> None:
    view = found("gmail_api", trouble("gmail_api", 5)).view()
    assert json.loads(json.dumps(view)) == {
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


@pytest.mark.parametrize(("apart_s", "root"), [(TOGETHER.total_seconds(), "chroma"), (TOGETHER.total_seconds() + 0.1, "embedder")])
def test_what_began_within_half_a_minute_began_together(apart_s: float, root: str) -> None:
    for first, second in ((100, 100 + apart_s), (100 + apart_s, 100)):
        assert found("embedder", trouble("embedder", first), trouble("vector_store", second)).root_cause == root


def test_a_service_that_has_the_name_of_its_process_is_mended_as_such() -> None:
    both = {"chroma": Service(process="chroma"), "embedder": Service(process="chroma")}
    troubles = (trouble("chroma", 1), trouble("embedder", 2))
    diagnosis = diagnose("rule", "chroma", troubles=troubles, services=both, users={}, loops={}, waiting={})
    assert diagnosis.because == ("nothing that chroma depends on is known to fail",)


def test_all_that_it_depends_on_is_looked_at_though_some_of_it_is_no_service() -> None:
    services = {"a": Service(depends_on=("b", "elsewhere")), "b": Service(depends_on=("c", "elsewhere"))}
    diagnosis = diagnose("rule", "a", troubles=(trouble("c", 1),), services=services, users={}, loops={}, waiting={})
    assert diagnosis.root_cause == "c"


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
    troubles = (trouble("a", 1), trouble("b", 1), trouble("not a service", 1))
    diagnosis = diagnose("rule", "a", troubles=troubles, services=services, users={}, loops={}, waiting={})
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
    diagnosis = diagnose("rule", "a", troubles=both, services=circle, users={}, loops={}, waiting={})
    assert diagnosis.root_cause == "b"
    other = diagnose("rule", "b", troubles=both, services=circle, users={}, loops={}, waiting={})
    assert other.root_cause == "a"
    assert diagnosis.impact.services == other.impact.services == ("a", "b")
