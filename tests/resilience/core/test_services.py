"""The machine's circuits, from what its agents tell (§3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.core.services import (
    MAX_SERVICES,
    CircuitCommand,
    Seen,
    ServiceCircuit,
    Services,
    circumstances,
    commanded,
    counted,
    heard,
    probed,
)
from resilience.degradation.health import Count, ServiceHealth, Tally
from resilience.events import CircuitReport
from tests.resilience.core.circuits import NOW, a_circuit, at, beat, circuit, finds, play, says


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
    assert commanded(Services(), "new", "reset", "tray", NOW) is None
    assert commanded(Services(), "new", "release", "tray", NOW) is None


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


# What is kept of a circuit


def test_a_change_is_kept_with_whoever_saw_it_and_what_its_window_held() -> None:
    services, [changed] = heard(Services(), beat(says("OPEN", 1, counts={"calls": 9}), agent="b", pid=7), NOW)
    assert changed == services.circuits["gpt-5.2"]
    assert changed == ServiceCircuit(
        name="gpt-5.2", state="OPEN", since=NOW, because="3 calls in a row failed", agent="b", pid=7, until=at(10),
        version=changed.version, counts={"calls": 9}, unwell_since=NOW,
    )  # fmt: skip
    assert changed.view(at(1)) == {
        "name": "gpt-5.2", "healthy": False, "circuit": "OPEN", "since": NOW.isoformat(),
        "because": "3 calls in a row failed", "agent": "b", "pid": 7, "retry_after_s": 9.0, "counts": {"calls": 9},
        "version": changed.version,
    }  # fmt: skip


def test_a_circuit_that_nobody_opened_says_so() -> None:
    services, changed = heard(Services(), beat(says("CLOSED", 0)), NOW)
    assert changed == []
    assert services.circuits == {
        "gpt-5.2": ServiceCircuit(name="gpt-5.2", state="CLOSED", since=NOW, because="it has not opened yet")
    }
    view = services.view(at(5))[0]
    assert (view["healthy"], view["circuit"], view["retry_after_s"], view["agent"], view["pid"]) == (
        True,
        "CLOSED",
        None,
        "",
        None,
    )


@pytest.mark.parametrize(("passed_s", "shown", "left_s"), [(9.9, "OPEN", 0.1), (10, "HALF_OPEN", 0.0), (99, "HALF_OPEN", 0.0)])
def test_the_time_to_wait_never_falls_below_nothing(passed_s: float, shown: str, left_s: float) -> None:
    services, _ = play(beat(says("OPEN", 1)))
    view = services.view(at(passed_s))[0]
    assert (view["circuit"], round(view["retry_after_s"], 6)) == (shown, left_s)


@pytest.mark.parametrize("state", ["HALF_OPEN", "CLOSED"])
def test_only_an_open_circuit_waits_for_a_time(state: Any) -> None:
    services, _ = play(beat(says("OPEN", 1)), beat(says(state, 2, retry_after_s=10.0)))
    assert services.circuits["gpt-5.2"].until is None
    assert play(beat(says("OPEN", 1, retry_after_s=None)))[0].circuits["gpt-5.2"].until is None


def test_how_long_a_service_is_unwell_is_counted_from_when_it_left_closed() -> None:
    services = Services()
    for number, state, since in (
        (1, "OPEN", at(1)),
        (2, "HALF_OPEN", at(1)),
        (3, "OPEN", at(1)),
        (4, "CLOSED", None),
        (5, "OPEN", at(5)),
    ):
        services, [changed] = heard(services, beat(says(state, number)), at(number))
        assert (changed.unwell_since, changed.since) == (since, at(number))


def test_versions_grow_with_every_change_even_within_a_millisecond() -> None:
    services, versions = Services(), []
    for number, state in enumerate(("OPEN", "HALF_OPEN", "CLOSED"), 1):
        services, [changed] = heard(services, beat(says(state, number)), NOW)
        versions.append(changed.version)
    first = int(NOW.timestamp() * 1000)
    assert versions == [first, first + 1, first + 2]


# What agents tell


def test_each_circuit_of_a_heartbeat_is_heard() -> None:
    """One that changes nothing, or for which there is no room, does not hide the next."""
    reports = [CircuitReport(service=name, state="OPEN", change=change) for name, change in (("a", 1), ("b", 0), ("c", 1))]
    services, changed = heard(Services(), beat(*reports), NOW)
    assert [one.name for one in changed] == ["a", "c"]
    assert {name: one.state for name, one in services.circuits.items()} == {"a": "OPEN", "b": "CLOSED", "c": "OPEN"}
    full = Services({f"s{n}": ServiceCircuit(name=f"s{n}", state="CLOSED", since=NOW, because="") for n in range(MAX_SERVICES)})
    stranger, known = (CircuitReport(service=name, state="OPEN", change=1) for name in ("stranger", "s7"))
    assert [one.name for one in heard(full, beat(stranger, known), NOW)[1]] == ["s7"]


def test_an_agent_that_tells_nothing_of_circuits_changes_nothing() -> None:
    services, _ = play(beat(says("OPEN", 1)))
    after, changed = heard(services, beat(), NOW)
    assert after is services
    assert changed == []


def test_an_agent_that_leaves_takes_its_numbers_with_it_and_leaves_its_circuits() -> None:
    services, _ = play(beat(says("OPEN", 1)), beat(says("OPEN", 1), pid=2), beat(says("OPEN", 1), agent="b"))
    after, changed = heard(services, beat(leaving=True), NOW)
    assert (list(after.seen), changed) == ([("a", 2, "gpt-5.2"), ("b", 1, "gpt-5.2")], [])
    assert after.circuits is services.circuits


def test_a_disabled_circuit_is_its_programs_own_affair() -> None:
    services, events = play(beat(says("OPEN", 1)), beat(says("DISABLED", 2)))
    assert (events, circuit(services)) == (["OPEN"], "OPEN")


def test_the_oldest_of_what_was_seen_makes_room() -> None:
    services = Services(seen={("a", n, "x"): Seen(0, {}) for n in range(10 * MAX_SERVICES)})
    after, _ = heard(services, beat(CircuitReport(service="x", state="CLOSED"), agent="new"), NOW)
    assert len(after.seen) == 10 * MAX_SERVICES
    assert ("a", 0, "x") not in after.seen
    assert {("a", 1, "x"), ("new", 1, "x")} <= set(after.seen)


# How they are shown


def test_the_unwell_come_first_then_by_name() -> None:
    services = Services()
    for name, change in (("b", 0), ("d", 1), ("a", 0), ("c", 1)):
        services, _ = heard(services, beat(CircuitReport(service=name, state="OPEN", change=change)), NOW)
    assert [view["name"] for view in services.view(NOW)] == ["c", "d", "a", "b"]


def test_a_service_that_nobody_has_counted_is_shown_with_noughts_and_its_probe() -> None:
    services, _ = probed(Services(), "gpt-5.2", finds(False, "refused"), NOW)
    [view] = services.view(NOW)
    assert {name: view[name] for name in ("calls", "failures", "rejected", "p95_ms")} == {
        "calls": 0, "failures": 0, "rejected": 0, "p95_ms": None,
    }  # fmt: skip
    assert view["probe"] == {"well": False, "since": NOW.isoformat(), "what": "refused"}
    assert play(beat(says("CLOSED", 0)))[0].view(NOW)[0]["probe"] is None


def test_what_was_seen_is_what_was_told_and_nothing_where_it_was_not() -> None:
    services, _ = play(beat(says("CLOSED", 3, calls=10, failures=1, rejected=2)), beat(says("CLOSED", 0, p95_ms=4.5), agent="b"))
    assert services.seen[("a", 1, "gpt-5.2")] == Seen(3, {"calls": 10, "failures": 1, "rejected": 2})
    assert services.seen[("b", 1, "gpt-5.2")].numbers["p95_ms"] == 4.5


# Commands


@pytest.mark.parametrize(
    ("command", "before", "after", "because"),
    [
        ("isolate", "CLOSED", "ISOLATED", "isolated by tray: it floods us"),
        ("isolate", "OPEN", "ISOLATED", "isolated by tray: it floods us"),
        ("release", "ISOLATED", "CLOSED", "released by tray"),
        ("release", "OPEN", None, ""),
        ("release", "CLOSED", None, ""),
        ("reset", "OPEN", "CLOSED", "closed by tray"),
        ("reset", "ISOLATED", "CLOSED", "closed by tray"),
        ("reset", "CLOSED", None, ""),
    ],
)
def test_what_a_persons_command_does(command: CircuitCommand, before: str, after: str | None, because: str) -> None:
    services = a_circuit(before, until=at(10))
    services = services._replace(circuits={**services.circuits, "other": services.circuits["gpt-5.2"]})
    found = commanded(services, "gpt-5.2", command, "tray", at(3), reason="it floods us")
    if after is None:
        assert found is None
        return
    assert found is not None
    changed = found.circuits["gpt-5.2"]
    assert (changed.state, changed.because, changed.since, changed.until) == (after, because, at(3), None)
    assert found.circuits["other"] is services.circuits["other"]


def test_an_isolation_without_a_reason_says_by_whom() -> None:
    found = commanded(Services(), "new", "isolate", "tray", NOW)
    assert found is not None
    assert found.circuits["new"].because == "isolated by tray"
    assert found.circuits["new"].name == "new"


# What is counted, and the rules' view


def test_what_happened_between_two_heartbeats_is_counted_once() -> None:
    before, _ = play(beat(says("CLOSED", 0, calls=10, failures=4)), beat(says("CLOSED", 0, calls=3, failures=3), agent="b"))
    after, _ = heard(before, beat(says("CLOSED", 0, calls=15, failures=6)), NOW)
    assert counted(before, after) == [("gpt-5.2", Count(calls=5, failures=2))]
    assert counted(after, after) == []
    assert counted(Services(), before) == [("gpt-5.2", Count(calls=10, failures=4)), ("gpt-5.2", Count(calls=3, failures=3))]


@pytest.mark.parametrize(
    ("calls", "failures", "expected"),
    [
        (10, 4, []),  # nothing was called since
        (11, 4, [Count(calls=1, failures=0)]),
        (11, 3, [Count(calls=1, failures=0)]),
        (9, 2, [Count(calls=9, failures=2)]),  # the process started anew
        (0, 0, []),
        (12, 10**400, [Count(calls=2, failures=2)]),  # no share of them is more than all, and each can be told as a float
    ],
)
def test_numbers_that_fell_are_those_of_a_new_life(calls: int, failures: int, expected: list[Count]) -> None:
    before, _ = play(beat(says("CLOSED", 0, calls=10, failures=4)))
    after, _ = heard(before, beat(says("CLOSED", 0, calls=calls, failures=failures)), NOW)
    assert counted(before, after) == [("gpt-5.2", one) for one in expected]


def test_one_that_has_not_changed_does_not_hide_the_next() -> None:
    before, _ = play(beat(says("CLOSED", 0, calls=1)), beat(says("CLOSED", 0, calls=1), agent="b"))
    after, _ = heard(before, beat(says("CLOSED", 0, calls=3), agent="b"), NOW)
    assert counted(before, after) == [("gpt-5.2", Count(calls=2))]


def test_the_rules_see_how_each_service_is() -> None:
    services, _ = play(beat(says("OPEN", 1, p95_ms=80.0)), beat(CircuitReport(service="gmail_api", state="CLOSED")))
    tally = Tally(60.0).with_counts(
        [("gpt-5.2", Count(errors=7, calls=4, failures=3)), ("security", Count(errors=2, calls=9))], 100.0
    )
    found = circumstances(services, tally, at(6), 100.0)
    assert found == {
        "gpt-5.2": ServiceHealth(
            "gpt-5.2", False, at(6), 7, 80.0, "OPEN", error_rate=0.75, unhealthy_for_s=6.0, because="3 calls in a row failed"
        ),
        "gmail_api": ServiceHealth("gmail_api", True, at(6), circuit_state="CLOSED"),
        "security": ServiceHealth("security", True, at(6), 2),
    }
    assert circumstances(services, tally, at(-6), 100.0)["gpt-5.2"].unhealthy_for_s == 0.0, "the clock was set back"
    assert circumstances(services, tally, at(6), 161.0)["security"].error_count == 0


def test_what_an_agent_had_told_a_winclaw_that_has_ended_is_no_news_but_how_long_it_waits_is() -> None:
    """The circuits are on disk, and what each agent had told of them is not."""
    services, _ = play(beat(says("OPEN", 3, retry_after_s=10.0)))
    kept = Services(services.circuits)
    after, changed = heard(kept, beat(says("OPEN", 4, retry_after_s=60.0, counts={"failures": 9})), at(5))
    assert changed == []
    assert after.circuits["gpt-5.2"] == replace(services.circuits["gpt-5.2"], until=at(65), counts={"failures": 9})
    for other in (beat(says("OPEN", 4), pid=2), beat(says("HALF_OPEN", 4)), beat(says("OPEN", 4), agent="b")):
        assert len(heard(kept, other, at(5))[1]) == 1
    assert len(heard(after, beat(says("OPEN", 5)), at(6))[1]) == 1, "it has told this WinClaw before, so it has opened once more"
