"""What has been counted since WinClaw started: it never falls."""

from __future__ import annotations

from msgspec.structs import replace

from resilience.core.presence import beaten
from resilience.core.services import heard
from resilience.core.state import State
from resilience.core.totals import Calls, Totals
from resilience.degradation.levels import at_first
from resilience.events import CircuitReport, Event, Heartbeat
from tests.resilience.core.circuits import NOW


def a_beat(calls: int, failures: int = 0, rejected: int = 0, *, agent: str = "a", pid: int = 1, leaving: bool = False, service: str = "gpt-5.2") -> Heartbeat:
    told = CircuitReport(service=service, state="CLOSED", calls=calls, failures=failures, rejected=rejected)
    return Heartbeat(agent=agent, pid=pid, circuits=() if leaving else (told,), leaving=leaving)


def counted(*beats: Heartbeat) -> dict[str, Calls]:
    """The calls after these heartbeats, having seen that none of the counts fell on the way."""
    state, totals = State(standing=at_first(NOW)), Totals(since=NOW)
    for beat in beats:
        agents, _ = beaten(state.agents, beat, NOW, 0.0)
        services, _ = heard(state.services, beat, NOW)
        now = replace(state, agents=agents, services=services)
        after = totals.after(state, now, ())
        assert all(new >= old for name, so_far in totals.calls.items() for old, new in zip(so_far, after.calls[name], strict=True))
        state, totals = now, after
    return dict(totals.calls)


def an_event(of_type: str, **body: object) -> Event:
    return Event(1, "", of_type, "x", body)


def test_calls_are_counted_by_service_over_all_agents() -> None:
    beats = [a_beat(0), a_beat(0, agent="b"), a_beat(10, 2, 1), a_beat(5, 1, agent="b"), a_beat(12, 2, 4)]
    assert counted(*beats) == {"gpt-5.2": Calls(17, 3, 4)}


def test_an_agent_that_leaves_or_starts_anew_takes_none_of_the_count_away() -> None:
    begins_anew = [a_beat(0), a_beat(10, 2), a_beat(3, 1), a_beat(4, 1)]
    assert counted(*begins_anew) == {"gpt-5.2": Calls(14, 3, 0)}
    assert counted(a_beat(0), a_beat(10), a_beat(0, leaving=True), a_beat(0, pid=2), a_beat(2, pid=2))["gpt-5.2"].calls == 12


def test_what_was_counted_before_an_agent_was_heard_of_is_left_out() -> None:
    """After a restart of WinClaw its agents go on with counts of a day."""
    assert counted(a_beat(100_000, 500)) == {}
    assert counted(a_beat(100_000, 500), a_beat(100_001, 501)) == {"gpt-5.2": Calls(1, 1, 0)}


def test_a_count_that_falls_alone_is_taken_for_nothing() -> None:
    assert counted(a_beat(5, 5, 5), a_beat(6, 4, 5)) == {"gpt-5.2": Calls(1, 0, 0)}


def test_services_without_a_circuit_are_not_counted() -> None:
    """There is a most of circuits, and so of what is counted."""
    beats = [a_beat(number % 2, service=f"s{number // 2}") for number in range(2 * 600)]
    assert len(counted(a_beat(0), *beats)) == 500 - 1


def test_events_errors_and_heals_are_counted() -> None:
    state, totals = State(standing=at_first(NOW)), Totals(since=NOW)
    errors = [an_event("error", kind="transient.timeout", severity=severity) for severity in ("ERROR", "ERROR", "FATAL")]
    heals = [an_event("heal.ended", outcome="healed"), an_event("heal.escalated", outcome="escalated"), an_event("heal.started", outcome="running")]
    totals = totals.after(state, state, tuple(errors)).after(state, state, (*errors[:1], *heals))
    assert totals.errors == {("transient.timeout", "ERROR"): 3, ("transient.timeout", "FATAL"): 1}
    assert totals.heals == {"healed": 1, "escalated": 1}
    assert totals.events == {"error": 4, "heal.ended": 1, "heal.escalated": 1, "heal.started": 1}
    assert totals.since == NOW
    assert totals.after(state, state, ()) is totals
