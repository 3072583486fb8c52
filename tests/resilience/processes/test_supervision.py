"""What becomes of a supervised process: traces of what happens to it, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from resilience.processes.policy import Process
from resilience.processes.supervision import (
    Ask,
    Do,
    Ended,
    Happening,
    NotStarted,
    Past,
    ProcessState,
    Ready,
    Started,
    Supervised,
    Unwell,
    after,
    first,
    look,
    with_policy,
)

S = ProcessState
POLICY = Process(command=("agent",), max_restarts=3, within_s=60, backoff_s=1, max_backoff_s=3, healthy_after_s=30)


def begun(**policy: Any) -> Supervised:
    return first(replace(POLICY, **policy), stopped=False, failed="", now_s=0)


def running(now_s: float = 0, **policy: Any) -> Supervised:
    """A process that was started at ``now_s`` and is ready."""
    one, _ = after(begun(**policy), Started(100), now_s)
    return after(one, Ready(one.run), now_s)[0]


def crash(one: Supervised, at_s: float, code: int | None = 1) -> Supervised:
    return after(one, Ended(one.run, code), at_s)[0]


def restarted(one: Supervised, now_s: float) -> Supervised:
    one, do = look(one, now_s, forbidden="", waits_for="")
    assert do == (Do.START,)
    one, _ = after(one, Started(101), now_s)
    return after(one, Ready(one.run), now_s)[0]


def due(one: Supervised, now_s: float, forbidden: str = "", waits_for: str = "") -> tuple[Do, ...]:
    return look(one, now_s, forbidden=forbidden, waits_for=waits_for)[1]


def test_a_process_starts_and_becomes_ready() -> None:
    one = begun()
    assert one.state is S.WAITING
    assert due(one, 0) == (Do.START,)
    one, do = after(one, Started(42), 1)
    assert (one.state, one.pid, one.run, do) == (S.STARTING, 42, 1, ())
    one, _ = after(one, Ready(1), 2)
    assert (one.state, one.due_s) == (S.RUNNING, None)


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [
        ("always", 0, S.WAITING), ("always", 1, S.WAITING), ("always", None, S.WAITING),
        ("on-failure", 0, S.EXITED), ("on-failure", 1, S.WAITING), ("on-failure", -9, S.WAITING), ("on-failure", None, S.WAITING),
        ("never", 0, S.EXITED), ("never", 1, S.EXITED), ("never", -9, S.EXITED),
    ],
)  # fmt: skip
def test_whether_it_starts_again_is_the_policys(restart: str, code: int | None, state: ProcessState) -> None:
    """restart and how it ended, as in OTP's permanent, transient and temporary."""
    assert crash(running(restart=restart), 5, code).state is state


def test_the_first_failure_is_answered_at_once_and_the_next_ones_after_growing_pauses() -> None:
    one, pauses, now_s = running(max_restarts=10, within_s=1000), [], 0.0
    for _ in range(5):
        one = crash(one, now_s)
        assert one.due_s is not None
        pauses.append(one.due_s - now_s)
        now_s = one.due_s
        one = restarted(one, now_s)
    assert pauses == [0, 1, 2, 3, 3]


def test_a_healthy_time_lets_it_start_from_the_beginning() -> None:
    one = crash(restarted(crash(running(), 1), 1), 2)
    assert one.due_s == 3
    one = crash(restarted(one, 3), 3 + 30)
    assert one.due_s == 33


def test_a_crash_loop_ends_in_failed_and_stays_there() -> None:
    one, now_s = running(), 0.0
    for _ in range(3):
        one = crash(one, now_s)
        assert one.state is S.WAITING
        assert one.due_s is not None
        now_s = one.due_s
        one = restarted(one, now_s)
    one = crash(one, now_s)
    assert one.state is S.FAILED
    assert one.why == "it ended with exit status 1, and was started again 3 times within 60 s"
    assert due(one, now_s + 1e6) == ()


def test_restarts_long_ago_do_not_count() -> None:
    one, now_s = running(), 0.0
    for _ in range(20):
        now_s += 40
        one = restarted(crash(one, now_s), now_s)
    assert one.state is S.RUNNING


def test_start_clears_a_failure() -> None:
    one = replace(begun(), state=S.FAILED, past=Past((1, 2, 3), 9))
    one, _ = after(one, Ask("start", "you"), 10)
    assert (one.state, one.past) == (S.WAITING, Past())
    assert due(one, 10) == (Do.START,)


def test_a_program_that_cannot_be_started_is_tried_again_and_then_has_failed() -> None:
    one, now_s = begun(), 0.0
    for _ in range(4):
        one, _ = after(one, NotStarted("there is no program 'agent'"), now_s)
        now_s = one.due_s or now_s
    assert one.state is S.FAILED
    assert one.why.startswith("there is no program 'agent', and was")


def test_a_deliberate_stop_is_not_a_crash() -> None:
    one, do = after(running(), Ask("stop", "you"), 10)
    assert (one.state, do) == (S.STOPPING, (Do.STOP,))
    one, do = after(one, Ended(1, -15), 11)
    assert (one.state, one.why, do) == (S.STOPPED, "stopped by you", ())
    assert due(one, 1000) == ()


def test_patience_ends_with_a_kill_and_another_one_until_it_is_gone() -> None:
    one, _ = after(running(stop_timeout_s=10), Ask("stop", "you"), 0)
    assert due(one, 9.9) == ()
    one, do = look(one, 10, forbidden="", waits_for="")
    assert do == (Do.KILL,)
    assert due(one, 11) == ()
    assert due(one, 12) == (Do.KILL,)


@pytest.mark.parametrize("policy", [{"stop_signal": "KILL"}, {"stop_timeout_s": 0}])
def test_without_patience_it_is_killed_at_once(policy: dict[str, Any]) -> None:
    assert after(running(**policy), Ask("stop", "you"), 0)[1] == (Do.KILL,)


def test_a_restart_is_no_failure_and_has_no_pause() -> None:
    one, do = after(running(), Ask("restart", "you"), 0)
    assert do == (Do.STOP,)
    one = crash(one, 1, -15)
    assert (one.state, one.due_s, one.past) == (S.WAITING, None, Past())


@pytest.mark.parametrize(("second", "then"), [("start", S.WAITING), ("restart", S.WAITING), ("stop", S.STOPPED)])
def test_the_last_command_wins_while_it_stops(second: Any, then: ProcessState) -> None:
    one, _ = after(running(), Ask("stop", "you"), 0)
    one, do = after(one, Ask(second, "you"), 0)
    assert do == ()
    assert crash(one, 1).state is then


def test_a_silent_process_is_killed_and_counts_as_a_failure() -> None:
    """A hung process is a failure like a dead one; asking it would only cost the patience."""
    one, do = after(running(), Unwell(1, "its probe got no answer", hopeless=True), 5)
    assert (one.state, do) == (S.STOPPING, (Do.KILL,))
    one = crash(one, 5.1, -9)
    assert (one.state, one.past.failures, one.why) == (S.WAITING, 1, "its probe got no answer")


def test_a_process_that_is_too_large_is_asked_first() -> None:
    assert after(running(), Unwell(1, "it used 900 MB of 512", hopeless=False), 5)[1] == (Do.STOP,)


def test_a_process_that_never_becomes_ready_is_a_failure() -> None:
    one, _ = after(begun(ready_within_s=20), Started(1), 0)
    assert due(one, 19.9) == ()
    one, do = look(one, 20, forbidden="", waits_for="")
    assert (one.state, one.why, do) == (S.STOPPING, "it was not ready within 20 s", (Do.KILL,))


def test_what_is_said_of_an_earlier_run_moves_nothing() -> None:
    one = restarted(crash(running(), 1), 1)
    late: list[Happening] = [Ended(1, 1), Ready(1), Unwell(1, "silent", hopeless=True)]
    for what in late:
        assert after(one, what, 2) == (one, ())


def test_nothing_starts_while_it_is_forbidden_and_what_runs_is_stopped_and_comes_back() -> None:
    one = begun()
    assert due(one, 0, forbidden="Safe Mode is on") == ()
    one, do = look(running(), 0, forbidden="Safe Mode is on", waits_for="")
    assert (one.state, do) == (S.STOPPING, (Do.STOP,))
    one = crash(one, 1, -15)
    assert (one.state, one.why) == (S.WAITING, "Safe Mode is on")
    assert due(one, 2, forbidden="Safe Mode is on") == ()
    assert due(one, 3) == (Do.START,)


def test_it_waits_for_what_it_depends_on() -> None:
    one, do = look(begun(), 0, forbidden="", waits_for="ollama")
    assert (one.why, do) == ("waits for ollama", ())
    assert due(one, 1) == (Do.START,)


def test_what_ended_while_nobody_watched_is_started_again_without_blame() -> None:
    one = after(running(), Ended(1, None, unseen=True), 5)[0]
    assert (one.state, one.past.failures, one.due_s) == (S.WAITING, 0, None)


@pytest.mark.parametrize(
    ("stopped", "failed", "policy", "state"),
    [
        (False, "", {}, S.WAITING), (True, "", {}, S.STOPPED), (False, "crashed", {}, S.FAILED),
        (False, "", {"autostart": False}, S.STOPPED),
    ],
)  # fmt: skip
def test_it_begins_as_it_was_left(stopped: bool, failed: str, policy: dict[str, Any], state: ProcessState) -> None:
    assert first(replace(POLICY, **policy), stopped=stopped, failed=failed, now_s=0).state is state


@pytest.mark.parametrize(
    ("change", "do"),
    [({"command": ("other",)}, (Do.STOP,)), ({"environment": {"A": "1"}}, (Do.STOP,)), ({"max_restarts": 9}, ()), ({}, ())],
)
def test_another_configuration_restarts_it_only_where_it_must(change: dict[str, Any], do: tuple[Do, ...]) -> None:
    one, done = with_policy(running(), replace(POLICY, **change), 5)
    assert done == do
    assert one.policy == replace(POLICY, **change)
    if do:
        assert crash(one, 6, -15).state is S.WAITING


def test_a_failed_process_is_tried_again_when_its_configuration_was_mended() -> None:
    failed = replace(begun(), state=S.FAILED, past=Past((1, 2, 3), 9))
    assert with_policy(failed, replace(POLICY, command=("mended",)), 5)[0].state is S.WAITING
    assert with_policy(failed, replace(POLICY, max_log_mb=5), 5)[0].state is S.FAILED


def test_a_mended_process_does_not_wait_out_the_pause_of_the_broken_one() -> None:
    resting = replace(begun(), state=S.WAITING, due_s=240, past=Past((1, 2, 3), 9))
    assert look(with_policy(resting, replace(POLICY, command=("mended",)), 5)[0], 5, forbidden="", waits_for="")[1] == (Do.START,)
    assert with_policy(resting, replace(POLICY, max_log_mb=5), 5)[0].due_s == 240


HAPPENINGS = st.one_of(
    st.builds(Ended, st.integers(0, 3), st.sampled_from([None, 0, 1, -9]), st.booleans()),
    st.builds(Ready, st.integers(0, 3)),
    st.builds(Unwell, st.integers(0, 3), st.just("silent"), st.booleans()),
    st.builds(Ask, st.sampled_from(["start", "stop", "restart"]), st.just("you")),
    st.sampled_from([None, "Safe Mode is on"]),
)


@given(st.lists(st.tuples(HAPPENINGS, st.floats(0, 30)), max_size=60), st.sampled_from(["always", "on-failure", "never"]))
def test_whatever_happens_there_is_never_a_double_and_never_a_hot_loop(story: list[tuple[Any, float]], restart: str) -> None:
    """START is asked for only while nothing runs, and not more often than the policy's intensity and people allow."""
    one, now_s, starts, asked = begun(restart=restart), 0.0, [], 0
    for what, pause_s in story:
        now_s += pause_s
        if what is None or isinstance(what, str):
            one, do = look(one, now_s, forbidden=what or "", waits_for="")
            if Do.START in do:
                assert not one.is_alive
                one, _ = after(one, Started(7), now_s)
                starts.append(now_s)
        else:
            asked += isinstance(what, Ask) or (isinstance(what, Ended) and what.unseen)
            before = one
            one, do = after(one, what, now_s)
            assert Do.START not in do
            assert not (before.state is S.FAILED and one.state is not S.FAILED and not isinstance(what, Ask))
        assert one.due_s is None or one.due_s >= 0
        asked += isinstance(what, str)
    if not asked:
        assert all(sum(start - 60 < other <= start for other in starts) <= POLICY.max_restarts + 1 for start in starts)
