"""What is cut off, for how long, and what goes with it (§7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from resilience import FaultIsolator, IsolatedError, Resilience
from resilience.config.settings import Service, Settings
from resilience.core.core import Core
from resilience.core.inputs import Configuration, HealTold, HowIsolated
from resilience.core.lanes import Lanes
from resilience.events import Heartbeat, Report
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.isolation.isolated import Isolated, members, stopped, without
from resilience.isolation.policy import Isolation, Zone, in_two_zones, zone_of
from resilience.processes.policy import Process
from resilience.testing import FakeClock
from tests.resilience.core.conftest import clock, core, start  # noqa: F401 -- fixtures
from tests.resilience.processes.conftest import SLEEPER, House

SETTINGS = Settings(
    services={**Settings().services, "vector_store": Service(process="chroma"), "other_store": Service(process="chroma")},
    zones={
        **Settings().zones, "mixed": Zone(components=("gateway", "vector_store", "my_parser")),
        "doubled": Zone(components=("vector_store", "vector_store", "other_store", "chroma")),
    },
    processes={"chroma": Process(command=("chroma",)), "gateway": Process(command=("gateway",))},
)


def isolate(core: Core, component: str, command: Any = "isolate", **how: Any) -> None:  # noqa: F811
    core.switch_circuit(component, command, actor="me", origin="here", how=HowIsolated(**how)).result(10)


def circuits(core: Core) -> dict[str, str]:  # noqa: F811
    return {one.name: one.state for one in core.state.services.circuits.values()}


@pytest.mark.parametrize(
    ("component", "services", "processes"),
    [
        ("gmail_api", ("gmail_api",), ()),
        ("vector_store", ("vector_store",), ("chroma",)),
        ("gateway", (), ("gateway",)),
        ("nobody_knows_it", ("nobody_knows_it",), ()),
        ("external", SETTINGS.zones["external"].components, ("chroma",)),
        ("mixed", ("vector_store", "my_parser"), ("gateway", "chroma")),
        ("doubled", ("vector_store", "other_store"), ("chroma",)),
    ],
)
def test_what_belongs_to_a_component(component: str, services: tuple[str, ...], processes: tuple[str, ...]) -> None:
    assert members(SETTINGS, component) == (services, processes)


def test_the_documents_three_zones_are_there_and_nothing_is_in_two() -> None:
    assert list(Settings().zones) == ["agent_core", "execution", "external"]
    assert not list(in_two_zones(Settings().zones))
    wrong = {"a": Zone(components=("x",)), "b": Zone(components=("x",)), "others": Zone()}
    assert list(in_two_zones(wrong)) == [
        ("zones.b.components", "'x' is in the zone 'a' already"),
        ("zones.others", "is the name of the zone of everything that is in none; choose another"),
    ]
    assert not list(in_two_zones({"a": Zone(components=("x", "x")), "b": Zone(components=("y",))}))
    zones = {"a": Zone(components=("x", "y")), "b": Zone(components=("z",))}
    assert [zone_of(component, zones) for component in ("x", "y", "z", "?")] == ["a", "a", "b", "others"]


def test_only_kinds_of_errors_that_there_are_isolate() -> None:
    assert not list(Isolation(kinds=("transient.network", "security")).contradictions())
    assert list(Isolation(kinds=("transient", "transient.nonsense")).contradictions()) == [
        ("kinds", "there is no kind of error 'transient.nonsense'")
    ]


def cut_off(component: str, *services: str, processes: tuple[str, ...] = ()) -> Isolated:
    return Isolated(
        component=component, reason="it loops", actor="me", since=datetime(2026, 1, 1, tzinfo=UTC), services=services, processes=processes
    )


def test_what_is_released_is_free_unless_something_else_cuts_it_off_too() -> None:
    zone, one, other = cut_off("zone", "a", "b", "c"), cut_off("b", "b"), cut_off("other", "d")
    all_three = {"zone": zone, "b": one, "other": other}
    assert without(all_three, "zone") == ({"b": one, "other": other}, ("a", "c"))
    assert without(all_three, "b") == ({"zone": zone, "other": other}, ())
    assert without(all_three, "other") == ({"zone": zone, "b": one}, ("d",))
    assert without(all_three, "a") == (all_three, ())


def test_a_process_is_stopped_with_whatever_was_to_stop_it_and_told_why() -> None:
    isolations = {"zone": cut_off("zone", "a", processes=("p", "q")), "b": cut_off("b", "b"), "r": cut_off("r", processes=("r",))}
    assert stopped(isolations) == {
        "p": "zone is isolated: it loops", "q": "zone is isolated: it loops", "r": "r is isolated: it loops",
    }  # fmt: skip


def test_an_isolation_is_told_as_plain_data() -> None:
    view = json.loads(json.dumps(cut_off("b", "b", processes=("p",)).view()))
    assert view == {
        "component": "b", "reason": "it loops", "actor": "me", "since": "2026-01-01T00:00:00Z", "until": None,
        "until_healed": False, "services": ["b"], "processes": ["p"],
    }  # fmt: skip


def test_a_zone_is_isolated_and_released_whole(core: Core) -> None:  # noqa: F811
    isolate(core, "execution", reason="it is being attacked")
    assert circuits(core) == dict.fromkeys(Settings().zones["execution"].components, "ISOLATED")
    assert core.state.services.circuits["file_system"].because == "isolated by me: it is being attacked"
    isolate(core, "file_system", reason="and this")
    isolate(core, "execution", "release")
    assert {name for name, state in circuits(core).items() if state == "ISOLATED"} == {"file_system"}
    isolate(core, "file_system", "release")
    assert not core.state.isolations


def test_an_isolation_ends_with_its_time(core: Core, clock: FakeClock) -> None:  # noqa: F811
    isolate(core, "gmail_api", for_s=60.0)
    clock.advance(59)
    core.beat(Heartbeat(agent="a")).result(10)
    assert circuits(core) == {"gmail_api": "ISOLATED"}
    clock.advance(1)
    version = core.state.version
    while circuits(core) == {"gmail_api": "ISOLATED"}:  # the core looks at the clock once a second
        version = core.wait_for_change(version, 2).version
    assert circuits(core) == {"gmail_api": "CLOSED"}
    assert not core.state.isolations


def test_a_verified_heal_ends_an_isolation_that_waits_for_one(core: Core, clock: FakeClock) -> None:  # noqa: F811
    isolate(core, "gmail_api", until_healed=True)
    isolate(core, "twilio_api")
    for target in ("gmail_api", "twilio_api"):
        heal = Heal(
            id=1, rule="r", action=HealingActionType.RESET_CONNECTIONS, target=target, state=HealState.FAILED, trigger="",
            at=clock.now(), diagnosis=Diagnosis(pattern="r", component=target, root_cause=target),
        )  # fmt: skip
        core.tell(HealTold(heal)).result(10)
        assert circuits(core)["gmail_api"] == ("ISOLATED" if target == "gmail_api" else "CLOSED")
        core.tell(HealTold(replace(heal, state=HealState.HEALED))).result(10)
    assert circuits(core) == {"gmail_api": "CLOSED", "twilio_api": "ISOLATED"}


def test_a_service_that_has_escaped_is_cut_off_by_itself_and_a_person_told(core: Core) -> None:  # noqa: F811
    def said(component: str) -> None:
        core.report([Report(type="SandboxEscapeError", message="it is out", component=component, operation="read")]).result(10)

    said("my_parser")
    assert circuits(core) == {}
    said("gmail_api")
    assert circuits(core) == {"gmail_api": "ISOLATED"}
    assert [one.name for one in core.state.unsettled] == ["isolated:gmail_api"]
    assert core.state.isolations["gmail_api"].until is not None
    isolate(core, "gmail_api", "reset")
    assert circuits(core) == {"gmail_api": "CLOSED"}
    assert core.state.unsettled == ()


def test_isolations_survive_a_restart(start: Callable[[], Core]) -> None:  # noqa: F811
    first = start()
    isolate(first, "gmail_api", for_s=3600.0, reason="it loops")
    first.stop()
    again = start()
    assert again.state.isolations["gmail_api"].reason == "it loops"
    assert circuits(again) == {"gmail_api": "ISOLATED"}


def test_a_zone_ends_with_its_time_though_one_of_its_services_was_released_before_a_restart(
    start: Callable[[], Core], clock: FakeClock  # noqa: F811
) -> None:
    """A circuit that is closed is not kept, so the next WinClaw does not know it; its other isolations, and time, go on."""
    first = start()
    isolate(first, "execution", for_s=60.0)
    isolate(first, "file_system", "release")
    first.stop()
    again = start()
    clock.advance(61)
    assert not again.wait_for_change(again.state.version, 10).isolations  # the core looks at the clock once a second
    assert set(circuits(again).values()) == {"CLOSED"}


def test_the_processes_of_what_is_isolated_are_stopped_if_asked_and_come_back(tmp_path: Path) -> None:
    house = House(tmp_path, {"chroma": Process(command=SLEEPER, stop_timeout_s=1)})
    house.settings = Settings(processes=house.settings.processes, services=SETTINGS.services)
    house.core.tell(Configuration(house.settings)).result(10)
    try:
        house.start()
        first = house.becomes("chroma", "running")
        isolate(house.core, "vector_store")
        assert house.status("chroma") == first
        isolate(house.core, "vector_store", stop_processes=True, reason="it leaks")
        assert "vector_store is isolated: it leaks" in house.becomes("chroma", "waiting").why
        isolate(house.core, "vector_store", "release")
        assert house.becomes("chroma", "running", run=first.run + 1).pid != first.pid
    finally:
        house.stop()


def test_an_isolator_of_ones_own_refuses_calls_until_the_time_is_up() -> None:
    own = FakeClock()
    isolator = FaultIsolator(clock=own)
    ask = Resilience(gate=isolator.gate, clock=own).protect("x", retry="none")(lambda: 1)
    assert ask() == 1
    isolator.isolate_component("x", "it floods", duration_seconds=10)
    with pytest.raises(IsolatedError, match="x is isolated: it floods") as refused:
        ask()
    assert refused.value.retry_after_s == 10
    assert isolator.get_isolated_components() == {"x"}
    own.advance(10)
    assert ask() == 1
    assert not isolator.get_isolated_components()
    isolator.isolate_component("x", "again")
    assert isolator.is_isolated("x")
    isolator.restore_component("x")
    assert ask() == 1
    with pytest.raises(ValueError, match="duration_seconds"):
        isolator.isolate_component("x", "no", duration_seconds=0)


def test_lanes_take_turns_and_each_has_its_own_bound() -> None:
    lanes: Lanes[str] = Lanes()
    assert all(lanes.put("flood", f"f{n}", 5) is (n < 5) for n in range(9))
    assert lanes.put("calm", "c0", 5)
    assert lanes.take(3) == ["f0", "c0", "f1"]
    assert len(lanes) == 3
    assert lanes.take(9) == ["f2", "f3", "f4"]
    assert not lanes
