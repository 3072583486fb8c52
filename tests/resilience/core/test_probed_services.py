"""What the probe of a service does to its circuit."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from resilience.core.services import MAX_SERVICES, Probed, Seen, ServiceCircuit, Services, commanded, left_open, probed
from tests.resilience.core.circuits import NOW, a_circuit, at, beat, circuit, finds, play, says


def test_a_probe_that_fails_opens_a_circuit_nobody_has_used_yet_and_closes_it_again() -> None:
    services, changed = probed(Services(), "gpt-5.2", finds(False, "refused"), (), NOW)
    assert changed is not None
    assert (changed.state, changed.because) == ("OPEN", "its probe: refused")
    services, changed = probed(services, "gpt-5.2", finds(True), (), NOW)
    assert changed is not None
    assert changed.state == "CLOSED"


def test_a_probe_that_is_well_again_lets_the_agents_that_are_there_try_and_they_close_the_circuit() -> None:
    services, _ = play(beat(says("CLOSED", 0)))
    services, _ = probed(services, "gpt-5.2", finds(False), {("a", 1)}, NOW)
    services, changed = probed(services, "gpt-5.2", finds(True), {("a", 1)}, NOW)
    assert changed is not None
    assert changed.state == "HALF_OPEN"
    assert probed(services, "gpt-5.2", finds(True), {("a", 1)}, NOW)[1] is None


def test_what_a_gone_agent_left_open_is_closed_by_the_probe_when_its_time_is_up() -> None:
    services, _ = play(beat(says("OPEN", 1, retry_after_s=10.0)))
    assert circuit(services) == "OPEN"
    services = services._replace(probes={"gpt-5.2": finds(True)})
    assert left_open(services, (), NOW)[1] == []
    later = NOW + timedelta(seconds=11)
    assert left_open(services, {("a", 1)}, later)[1] == []
    assert [one.state for one in left_open(services, (), later)[1]] == ["CLOSED"]


def test_an_isolation_is_not_ended_by_a_probe_and_what_is_no_service_gets_no_circuit() -> None:
    isolated = commanded(Services(), "gpt-5.2", "isolate", "me", NOW)
    assert isolated is not None
    assert probed(isolated, "gpt-5.2", finds(True), (), NOW)[1] is None
    services, changed = probed(Services(), "disk", finds(False), (), NOW, has_circuit=False)
    assert changed is None
    assert services.probes["disk"].well is False
    assert not probed(services, "disk", None, (), NOW)[0].probes


@pytest.mark.parametrize(
    ("state", "well", "used", "after"),
    [
        ("CLOSED", False, True, "OPEN"),
        ("HALF_OPEN", False, True, "OPEN"),
        ("OPEN", False, True, None),
        ("ISOLATED", False, True, None),
        ("OPEN", True, True, "HALF_OPEN"),
        ("OPEN", True, False, "CLOSED"),
        ("HALF_OPEN", True, True, None),
        ("HALF_OPEN", True, False, "CLOSED"),
        ("CLOSED", True, True, None),
        ("CLOSED", True, False, None),
        ("ISOLATED", True, False, None),
    ],
)
def test_what_a_probe_does_to_a_circuit(state: str, well: bool, used: bool, after: str | None) -> None:
    """Agents that use a service find out themselves whether it answers; where there are none, the probe decides."""
    services = a_circuit(state)._replace(seen={("a", 1, "gpt-5.2"): Seen(0, {})})
    found, changed = probed(services, "gpt-5.2", finds(well, "so it is"), {("a", 1)} if used else {("b", 1)}, at(3))
    assert found.probes == {"gpt-5.2": finds(well, "so it is")}
    if after is None:
        assert changed is None
        assert found.circuits is services.circuits
        return
    assert changed is found.circuits["gpt-5.2"]
    assert (changed.state, changed.because, changed.since) == (after, "its probe: so it is", at(3))


def test_a_probe_opens_a_circuit_that_nobody_uses_and_it_is_unwell_from_then_on() -> None:
    services, changed = probed(Services(), "new", finds(False), (), at(3))
    assert changed is not None
    assert services.circuits == {"new": changed}
    assert (changed.name, changed.state, changed.unwell_since, changed.since) == ("new", "OPEN", at(3), at(3))
    services, changed = probed(a_circuit("HALF_OPEN", unwell_since=NOW), "gpt-5.2", finds(False), (), at(3))
    assert changed is not None
    assert changed.unwell_since == NOW


def test_a_probe_that_is_well_makes_no_circuit() -> None:
    services, changed = probed(Services(), "new", finds(True), (), NOW)
    assert (services.circuits, changed) == ({}, None)
    assert services.probes == {"new": finds(True)}


def test_probes_cannot_make_more_circuits_than_there_is_room_for() -> None:
    full = Services({f"s{n}": ServiceCircuit(name=f"s{n}", state="CLOSED", since=NOW, because="") for n in range(MAX_SERVICES)})
    services, changed = probed(full, "new", finds(False), (), NOW)
    assert changed is None
    assert services.circuits is full.circuits
    assert services.probes["new"].well is False


def test_a_probe_keeps_since_when_it_finds_the_same() -> None:
    services, _ = probed(Services(), "disk", finds(False, "full"), (), NOW, has_circuit=False)
    again = Probed(well=False, since=at(60), what="fuller")
    services, _ = probed(services, "disk", again, (), at(60), has_circuit=False)
    assert services.probes["disk"] == Probed(well=False, since=NOW, what="fuller")
    services, _ = probed(services, "disk", Probed(well=True, since=at(90), what="ok"), (), at(90), has_circuit=False)
    assert services.probes["disk"] == Probed(well=True, since=at(90), what="ok")


def test_a_probe_that_is_no_more_is_forgotten_and_changes_no_circuit() -> None:
    services = a_circuit("OPEN")._replace(probes={"gpt-5.2": finds(False), "disk": finds(True)})
    after, changed = probed(services, "gpt-5.2", None, (), NOW)
    assert (after.probes, changed) == ({"disk": finds(True)}, None)
    assert after.circuits is services.circuits


@pytest.mark.parametrize(
    ("state", "well", "until", "closes"),
    [
        ("OPEN", True, None, True),
        ("OPEN", True, at(5), True),
        ("OPEN", True, at(5.1), False),  # its time is not up
        ("HALF_OPEN", True, None, True),
        ("OPEN", False, None, False),
        ("CLOSED", True, None, False),
        ("ISOLATED", True, None, False),
    ],
)
def test_which_circuits_the_probe_closes_when_no_agent_is_left(
    state: str, well: bool, until: datetime | None, closes: bool
) -> None:
    services = a_circuit(state, until=until)._replace(
        probes={"disk": finds(True), "gpt-5.2": finds(well, "it answers")}, seen={("a", 1, "gpt-5.2"): Seen(0, {})}
    )
    assert left_open(services, {("a", 1)}, at(5)) == (services, [])
    after, changed = left_open(services, {("a", 2), ("b", 1)}, at(5))
    if not closes:
        assert after is services
        assert changed == []
        return
    assert changed == [after.circuits["gpt-5.2"]]
    assert (changed[0].state, changed[0].because) == ("CLOSED", "its probe: it answers; no agent that uses it is left")
