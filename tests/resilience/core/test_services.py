"""The machine's circuits, from what its agents tell (§3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resilience.core.services import MAX_SERVICES, Probed, Services, commanded, heard, left_open, probed
from resilience.events import CircuitReport, Heartbeat

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def beat(*reports: CircuitReport, agent: str = "a", pid: int = 1, leaving: bool = False) -> Heartbeat:
    return Heartbeat(agent=agent, pid=pid, circuits=reports, leaving=leaving)


def says(state: Any, change: int, **more: Any) -> CircuitReport:
    more = {"retry_after_s": 10.0, "because": "3 calls in a row failed", **more} if state == "OPEN" else more
    return CircuitReport(service="gpt-5.2", state=state, change=change, **more)


def circuit(services: Services) -> str:
    return services.circuits["gpt-5.2"].state


def play(*beats: Heartbeat) -> tuple[Services, list[str]]:
    services, events = Services(), []
    for one in beats:
        services, changed = heard(services, one, NOW)
        events += [change.state for change in changed]
    return services, events


def test_what_one_agent_sees_holds_for_all() -> None:
    services, events = play(beat(says("CLOSED", 0)), beat(says("OPEN", 1), agent="b"))
    view = services.view(NOW + timedelta(seconds=4))[0]
    assert events == ["OPEN"]
    assert {name: view[name] for name in ("name", "healthy", "circuit", "because", "agent", "retry_after_s")} == {
        "name": "gpt-5.2", "healthy": False, "circuit": "OPEN", "because": "3 calls in a row failed", "agent": "b",
        "retry_after_s": 6.0,
    }  # fmt: skip


def test_the_latest_change_wins_and_each_is_taken_once() -> None:
    services, events = play(
        beat(says("OPEN", 1)), beat(says("OPEN", 1)), beat(says("HALF_OPEN", 2)), beat(says("CLOSED", 3)),
        beat(says("CLOSED", 3)), beat(says("CLOSED", 0), agent="b"),
    )  # fmt: skip
    assert (events, circuit(services)) == (["OPEN", "HALF_OPEN", "CLOSED"], "CLOSED")


def test_an_agent_that_only_follows_opens_nothing() -> None:
    """It tells the state it is in, but no change of its own."""
    services, events = play(beat(says("OPEN", 1)), beat(says("CLOSED", 2)), beat(says("OPEN", 0), agent="b"))
    assert (events, circuit(services)) == (["OPEN", "CLOSED"], "CLOSED")


def test_an_agent_that_starts_anew_is_heard_anew() -> None:
    services, events = play(beat(says("OPEN", 5)), beat(says("CLOSED", 6)), beat(says("OPEN", 1), pid=2))
    assert (events, circuit(services)) == (["OPEN", "CLOSED", "OPEN"], "OPEN")


def test_one_whose_time_is_up_is_being_probed() -> None:
    services, _ = play(beat(says("OPEN", 1)))
    assert services.view(NOW + timedelta(seconds=10))[0]["circuit"] == "HALF_OPEN"


def test_a_closed_circuit_that_nobody_opened_is_no_news() -> None:
    services, events = play(beat(says("CLOSED", 1)))
    assert (events, services.circuits["gpt-5.2"].version) == ([], 0)


def test_the_very_same_circuits_are_not_stored_again() -> None:
    services, _ = play(beat(says("OPEN", 1)))
    assert heard(services, beat(says("OPEN", 1, calls=9)), NOW)[0].circuits is services.circuits


def test_the_agents_numbers_are_added_up() -> None:
    services, _ = play(
        beat(says("CLOSED", 0, calls=10, failures=1, rejected=2, p95_ms=5.0)),
        beat(says("CLOSED", 0, calls=5, p95_ms=9.0), agent="b"),
        beat(says("CLOSED", 0, calls=99), agent="c"),
        beat(agent="c", leaving=True),
    )
    view = services.view(NOW)[0]
    assert (view["calls"], view["failures"], view["rejected"], view["p95_ms"]) == (15, 1, 2, 9.0)


def test_only_a_person_ends_an_isolation() -> None:
    services, _ = play(beat(says("CLOSED", 0)))
    isolated = commanded(services, "gpt-5.2", "isolate", "dashboard", NOW)
    assert isolated is not None
    after, changed = heard(isolated, beat(says("CLOSED", 3), agent="b"), NOW)
    assert (circuit(after), changed) == ("ISOLATED", [])
    released = commanded(after, "gpt-5.2", "release", "dashboard", NOW)
    assert released is not None
    assert (circuit(released), released.circuits["gpt-5.2"].because) == ("HALF_OPEN", "released by dashboard")
    closed = commanded(released, "gpt-5.2", "reset", "dashboard", NOW)
    assert closed is not None
    assert circuit(closed) == "CLOSED"
    assert commanded(closed, "gpt-5.2", "reset", "dashboard", NOW) is None
    assert commanded(closed, "gpt-5.2", "release", "dashboard", NOW) is None


def test_what_a_program_isolates_it_isolates_for_itself() -> None:
    services, events = play(beat(says("ISOLATED", 1)))
    assert (events, circuit(services)) == ([], "CLOSED")


def test_a_service_can_be_isolated_before_anybody_calls_it() -> None:
    services = commanded(Services(), "new", "isolate", "tray", NOW)
    assert services is not None
    assert services.circuits["new"].state == "ISOLATED"
    with pytest.raises(KeyError):
        commanded(Services(), "new", "reset", "tray", NOW)


def test_versions_grow_through_a_restart_that_forgets_them() -> None:
    services, _ = play(beat(says("OPEN", 1)))
    before = services.circuits["gpt-5.2"].version
    later, _ = heard(Services(), beat(says("OPEN", 1), pid=2), NOW + timedelta(seconds=1))
    assert later.circuits["gpt-5.2"].version > before


def test_invented_services_cannot_fill_the_memory() -> None:
    services = Services()
    for n in range(2 * MAX_SERVICES):
        services, _ = heard(services, beat(CircuitReport(service=f"s{n}", state="CLOSED"), pid=n), NOW)
    assert len(services.circuits) == MAX_SERVICES
    assert len(services.seen) <= 10 * MAX_SERVICES


def finds(well: bool, what: str = "seen") -> Probed:
    return Probed(well=well, since=NOW, what=what)


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
