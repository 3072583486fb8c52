"""What the probe of a service does to its circuit."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from resilience.core.services import (
    MAX_SERVICES,
    Probed,
    Seen,
    ServiceCircuit,
    Services,
    commanded,
    heard,
    left_alone,
    only_probed,
    probed,
    silent,
)
from tests.resilience.core.circuits import NOW, a_circuit, at, beat, circuit, finds, play, says

USED, SILENT = Seen(0, {"calls": 0, "failures": 0, "rejected": 0}), Seen(0, {})


def test_a_probe_that_fails_opens_a_circuit_nobody_has_used_yet_and_closes_it_again() -> None:
    services, changed = probed(Services(), "gpt-5.2", finds(False, "refused"), NOW)
    assert changed is not None
    assert (changed.state, changed.because) == ("OPEN", "its probe: refused")
    services, changed = probed(services, "gpt-5.2", finds(True), NOW)
    assert changed is not None
    assert changed.state == "CLOSED"


def test_a_probe_that_is_well_again_lets_the_agents_that_are_there_try_and_they_close_the_circuit() -> None:
    services, _ = play(beat(says("CLOSED", 0)))
    services, _ = probed(services, "gpt-5.2", finds(False), NOW)
    services, changed = probed(services, "gpt-5.2", finds(True), NOW)
    assert changed is not None
    assert changed.state == "HALF_OPEN"
    assert probed(services, "gpt-5.2", finds(True), NOW)[1] is None


def test_what_a_gone_agent_left_open_is_closed_by_the_probe_when_its_time_is_up() -> None:
    services, _ = play(beat(says("OPEN", 1, retry_after_s=10.0)))
    assert circuit(services) == "OPEN"
    services = services._replace(probes={"gpt-5.2": finds(True)})
    lost, later = silent(services, ("a", 1)), NOW + timedelta(seconds=11)
    assert left_alone(lost, NOW)[1] == []
    assert left_alone(services, later)[1] == []
    assert [one.state for one in left_alone(lost, later)[1]] == ["CLOSED"]


def test_an_isolation_is_not_ended_by_a_probe_and_what_is_no_service_gets_no_circuit() -> None:
    isolated = commanded(Services(), "gpt-5.2", "isolate", "me", NOW)
    assert isolated is not None
    assert probed(isolated, "gpt-5.2", finds(True), NOW)[1] is None
    services, changed = probed(Services(), "disk", finds(False), NOW, has_circuit=False)
    assert changed is None
    assert services.probes["disk"].well is False


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
    seen = {("a", 1, "gpt-5.2"): USED if used else SILENT, ("b", 1, "another"): USED}
    services = a_circuit(state)._replace(seen=seen)
    found, changed = probed(services, "gpt-5.2", finds(well, "so it is"), at(3))
    assert found.probes == {"gpt-5.2": finds(well, "so it is")}
    if after is None:
        assert changed is None
        assert found.circuits is services.circuits
        return
    assert changed is found.circuits["gpt-5.2"]
    assert (changed.state, changed.because, changed.since) == (after, "its probe: so it is", at(3))


def test_a_probe_opens_a_circuit_that_nobody_uses_and_it_is_unwell_from_then_on() -> None:
    services, changed = probed(Services(), "new", finds(False), at(3))
    assert changed is not None
    assert services.circuits == {"new": changed}
    assert (changed.name, changed.state, changed.unwell_since, changed.since) == ("new", "OPEN", at(3), at(3))
    services, changed = probed(a_circuit("HALF_OPEN", unwell_since=NOW), "gpt-5.2", finds(False), at(3))
    assert changed is not None
    assert changed.unwell_since == NOW


def test_a_probe_that_is_well_makes_no_circuit() -> None:
    services, changed = probed(Services(), "new", finds(True), NOW)
    assert (services.circuits, changed) == ({}, None)
    assert services.probes == {"new": finds(True)}


def test_probes_cannot_make_more_circuits_than_there_is_room_for() -> None:
    full = Services({f"s{n}": ServiceCircuit(name=f"s{n}", state="CLOSED", since=NOW, because="") for n in range(MAX_SERVICES)})
    services, changed = probed(full, "new", finds(False), NOW)
    assert changed is None
    assert services.circuits is full.circuits
    assert services.probes["new"].well is False


def test_a_probe_keeps_since_when_it_finds_the_same() -> None:
    services, _ = probed(Services(), "disk", finds(False, "full"), NOW, has_circuit=False)
    again = Probed(well=False, since=at(60), what="fuller")
    services, _ = probed(services, "disk", again, at(60), has_circuit=False)
    assert services.probes["disk"] == Probed(well=False, since=NOW, what="fuller")
    services, _ = probed(services, "disk", Probed(well=True, since=at(90), what="ok"), at(90), has_circuit=False)
    assert services.probes["disk"] == Probed(well=True, since=at(90), what="ok")


@pytest.mark.parametrize(
    ("state", "agent", "seen", "after"),
    [
        ("OPEN", "", USED, "HALF_OPEN"),
        ("OPEN", "", SILENT, "CLOSED"),
        ("OPEN", "a", SILENT, None),  # an agent's calls have opened it
        ("HALF_OPEN", "", SILENT, None),
        ("ISOLATED", "", SILENT, None),
        ("CLOSED", "", SILENT, None),
    ],
)
def test_a_probe_that_is_no_more_is_forgotten_with_the_circuit_that_it_had_opened(
    state: str, agent: str, seen: Seen, after: str | None
) -> None:
    services = a_circuit(state, agent=agent)._replace(
        probes={"gpt-5.2": finds(False), "disk": finds(True)}, seen={("a", 1, "gpt-5.2"): seen}
    )
    assert only_probed(services, {"gpt-5.2", "disk", "other"}, at(3)) == (services, [])
    found, changed = only_probed(services, {"disk"}, at(3))
    assert found.probes == {"disk": finds(True)}
    if after is None:
        assert (found.circuits, changed) == (services.circuits, [])
        return
    assert changed == [found.circuits["gpt-5.2"]]
    assert (changed[0].state, changed[0].because, changed[0].since) == (after, "its probe is no longer configured", at(3))


def test_what_is_probed_as_configured_is_the_very_same() -> None:
    services = a_circuit("OPEN")._replace(probes={"gpt-5.2": finds(False)})
    assert only_probed(services, {"gpt-5.2"}, NOW)[0] is services


@pytest.mark.parametrize(
    ("state", "probe", "until", "closes"),
    [
        ("OPEN", True, None, True),
        ("OPEN", True, at(5), True),
        ("OPEN", True, at(5.1), False),  # its time is not up
        ("OPEN", False, None, False),
        ("OPEN", None, None, False),  # that it is down is the last that is known of it
        ("HALF_OPEN", True, None, True),
        ("HALF_OPEN", None, None, True),
        ("HALF_OPEN", False, None, False),
        ("CLOSED", True, None, False),
        ("CLOSED", None, None, False),
        ("ISOLATED", True, None, False),
        ("ISOLATED", None, None, False),
    ],
)
def test_which_circuits_are_closed_when_no_agent_is_left_to_try(
    state: str, probe: bool | None, until: datetime | None, closes: bool
) -> None:
    found = {"disk": finds(True)} if probe is None else {"disk": finds(True), "gpt-5.2": finds(probe, "it answers")}
    services = a_circuit(state, until=until)._replace(probes=found, seen={("a", 1, "gpt-5.2"): USED})
    assert left_alone(services, at(5)) == (services, [])
    services = services._replace(seen={("a", 1, "gpt-5.2"): SILENT, ("a", 2, "another"): USED})
    after, changed = left_alone(services, at(5))
    if not closes:
        assert after is services
        assert changed == []
        return
    assert changed == [after.circuits["gpt-5.2"]]
    because = "no agent that uses it is left" if probe is None else "its probe: it answers; no agent that uses it is left"
    assert (changed[0].state, changed[0].because, changed[0].since) == ("CLOSED", because, at(5))


@pytest.mark.parametrize(("seen", "after"), [(USED, "HALF_OPEN"), (SILENT, "CLOSED")])
def test_what_is_released_is_tried_by_the_agents_that_use_it_and_closed_where_there_are_none(seen: Seen, after: str) -> None:
    """Nobody would ever close it; the level would stay down."""
    services = a_circuit("ISOLATED")._replace(seen={("a", 1, "gpt-5.2"): seen, ("a", 1, "another"): USED})
    released = commanded(services, "gpt-5.2", "release", "you", at(3))
    assert released is not None
    one = released.circuits["gpt-5.2"]
    assert (one.state, one.because) == (after, "released by you")


def test_an_agent_that_has_fallen_silent_counts_no_more_and_what_it_has_told_is_not_told_again() -> None:
    services, _ = play(beat(says("OPEN", 3, calls=10, failures=10, p95_ms=9000.0)), beat(says("CLOSED", 0), pid=2))
    lost = silent(services, ("a", 1))
    assert lost.users("gpt-5.2") == {("a", 2)}
    [view] = lost.view(NOW)
    assert (view["calls"], view["failures"], view["p95_ms"]) == (0, 0, None)
    assert silent(services, ("b", 1)) == services
    closed = commanded(lost, "gpt-5.2", "reset", "you", NOW)
    assert closed is not None
    back, changed = heard(closed, beat(says("OPEN", 3)), at(60))
    assert (circuit(back), changed) == ("CLOSED", [])
    assert back.users("gpt-5.2") == {("a", 1), ("a", 2)}
