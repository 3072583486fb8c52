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
    Silent,
    Started,
    Supervised,
    Unwell,
    after,
    first,
    look,
    with_policy,
    words,
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


def standing(state: ProcessState, **more: Any) -> Supervised:
    """A process in its first run that stands in ``state``; with what only an earlier state would explain."""
    return replace(running(), **{"state": state, "why": "as before", "due_s": None, **more})


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


def test_each_state_begins_with_nothing_of_the_one_before() -> None:
    """Patience, silence and reason belong to a state; run, process and past go on."""
    before = replace(begun(), run=3, past=Past((1.0,), 1), why="it crashed", due_s=4.0)
    policy = before.policy
    started = Supervised(
        policy=policy, state=S.STARTING, run=4, pid=42, since_s=5, started_s=5, due_s=5 + policy.ready_within_s, past=before.past
    )
    assert after(before, Started(42), 5) == (started, ())
    ready = replace(started, state=S.RUNNING, since_s=7.0, due_s=None)
    assert after(started, Ready(4), 7) == (ready, ())
    silent, _ = after(ready, Silent(4, "refused", 8.0), 9)
    stopping = replace(ready, state=S.STOPPING, since_s=10.0, due_s=10 + policy.stop_timeout_s, then="stay", why="stopped by you")
    assert after(silent, Ask("stop", "you"), 10) == (stopping, (Do.STOP,))
    gone = replace(stopping, state=S.STOPPED, since_s=11.0, due_s=None, pid=None, past=Past())
    assert after(stopping, Ended(4, 0), 11) == (gone, ())


def test_silence_is_borne_for_a_while_and_then_it_is_hung() -> None:
    """From when the probe first failed, not from when that was told; a good answer ends it."""
    silent, do = after(running(hung_after_s=10), Silent(1, "no answer", since_s=4.0), 6)
    assert (silent.state, silent.is_ready, silent.why, do) == (S.RUNNING, False, "no answer", ())
    assert after(silent, Silent(1, "refused", since_s=8.0), 9) == (silent, ())
    assert due(silent, 13.9) == ()
    hung, do = look(silent, 14, forbidden="", waits_for="")
    assert (hung.state, hung.why, do) == (S.STOPPING, "it was silent for 10 s: no answer", (Do.KILL,))
    assert (hung.due_s, hung.silent_s) == (16, None)
    assert crash(hung, 14.5, -9).past.failures == 1
    well, do = after(silent, Ready(1), 9)
    assert (well.is_ready, well.silent_s, well.why, do) == (True, None, "", ())
    assert due(well, 1e6) == ()


@pytest.mark.parametrize("state", [S.STOPPED, S.WAITING, S.EXITED, S.FAILED])
@pytest.mark.parametrize("what", [Ended(1, 0), Ready(1), Silent(1, "refused", 1.0), Unwell(1, "too large", hopeless=True)])
def test_nothing_said_of_a_process_that_is_gone_moves_it(state: ProcessState, what: Happening) -> None:
    one = standing(state, pid=None)
    assert after(one, what, 9) == (one, ())


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (S.STOPPING, Ready(1)), (S.STOPPING, Silent(1, "refused", 1.0)), (S.STOPPING, Unwell(1, "too large", hopeless=True)),
        (S.RUNNING, Ready(1)), (S.STARTING, Silent(1, "refused", 1.0)),
        (S.RUNNING, Ready(2)), (S.STARTING, Ready(2)), (S.RUNNING, Ended(2, 0)), (S.RUNNING, Silent(2, "refused", 1.0)),
        (S.RUNNING, Unwell(2, "too large", hopeless=True)),
    ],
)  # fmt: skip
def test_what_comes_too_late_or_of_another_run_moves_nothing(state: ProcessState, what: Happening) -> None:
    one = standing(state)
    assert after(one, what, 9) == (one, ())


def test_only_an_answer_of_the_same_run_ends_a_silence() -> None:
    silent, _ = after(running(), Silent(1, "refused", 1.0), 2)
    assert after(silent, Ready(2), 3) == (silent, ())


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
@pytest.mark.parametrize(("hopeless", "do", "patience_s"), [(False, Do.STOP, 10), (True, Do.KILL, 2)])
def test_what_must_go_goes_at_any_age(state: ProcessState, hopeless: bool, do: Do, patience_s: float) -> None:
    gone, done = after(standing(state), Unwell(1, "it used 900 MB of 512", hopeless=hopeless), 5)
    assert done == (do,)
    assert (gone.state, gone.since_s, gone.due_s, gone.then, gone.why) == (
        S.STOPPING, 5, 5 + patience_s, "failure", "it used 900 MB of 512",
    )  # fmt: skip


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


def test_it_is_healthy_after_exactly_the_time_that_its_policy_says() -> None:
    """Its run counts from its start, not from when it was ready; one that only was to start never was healthy."""
    def next_pause_s(ran_s: float) -> float:
        again = restarted(crash(running(), 1), 1)
        one = crash(after(again, Ready(again.run), 20)[0], 1 + ran_s)
        assert one.due_s is not None
        return one.due_s - (1 + ran_s)

    assert [next_pause_s(29.9), next_pause_s(30)] == [1, 0]
    again = restarted(crash(running(), 1), 41)
    for gone_s, failures in ((70.9, 2), (71, 1)):
        assert crash(after(again, Unwell(2, "too large", hopeless=True), 60)[0], gone_s).past.failures == failures
    not_there = after(replace(begun(healthy_after_s=0.1), past=Past((), 1)), NotStarted("no such program"), 50)[0]
    assert (not_there.due_s, not_there.past) == (51, Past((50.0,), 2))


@pytest.mark.parametrize(
    ("backoff_s", "max_backoff_s", "failures", "pause_s"),
    [(1, 60, 2, 2), (1, 60, 5, 16), (0.5, 60, 2, 1), (0.5, 2.5, 5, 2.5), (0, 60, 9, 0), (1, 1e6, 99, 1e6), (1e-12, 1e6, 99, 2**30 * 1e-12)],
)
def test_pauses_double_up_to_the_longest_and_the_doubling_has_an_end(
    backoff_s: float, max_backoff_s: float, failures: int, pause_s: float
) -> None:
    """However long it goes on: 2.0 ** 1024 would be an OverflowError."""
    policy = {"backoff_s": backoff_s, "max_backoff_s": max_backoff_s, "max_restarts": 1000}
    one = crash(replace(running(**policy), past=Past((), failures)), 5)
    assert one.due_s == pytest.approx(5 + pause_s)
    assert one.past == Past((5.0,), failures + 1)


def test_a_restart_counts_for_less_than_the_time_within() -> None:
    """Its window is open at its old end: what is as long ago as ``within_s`` has left it."""
    past = Past((0.0, 1.0, 2.0), 3)
    assert crash(replace(running(), past=past), 59.9).state is S.FAILED
    again = crash(replace(running(), past=past), 60)
    assert (again.state, again.past.restarts_s) == (S.WAITING, (1.0, 2.0, 60))


def test_what_has_failed_knows_which_restarts_and_failures_brought_it_there() -> None:
    failed = crash(replace(running(), past=Past((-99.0, 1.0, 2.0, 3.0), 4)), 5)
    assert (failed.state, failed.past, failed.since_s, failed.due_s) == (S.FAILED, Past((1.0, 2.0, 3.0), 4), 5, None)


def test_without_any_restart_the_first_crash_is_final_and_no_restarts_are_spoken_of() -> None:
    failed = crash(running(max_restarts=0), 5)
    assert (failed.state, failed.why) == (S.FAILED, "it ended with exit status 1")


def test_what_ended_for_good_is_told_and_its_past_forgotten() -> None:
    for one in (crash(standing(S.RUNNING, policy=replace(POLICY, restart="never"), past=Past((1.0,), 1)), 5, 0),
                after(replace(begun(restart="never"), past=Past((1.0,), 1)), NotStarted("no such program"), 5)[0]):
        assert (one.state, one.since_s, one.pid, one.past) == (S.EXITED, 5, None, Past())
        assert one.why in ("it ended with exit status 0", "no such program")


def test_not_to_be_started_is_a_failure() -> None:
    """So that "on-failure" tries again."""
    one = after(begun(restart="on-failure"), NotStarted("no such program"), 5)[0]
    assert (one.state, one.why) == (S.WAITING, "no such program")


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


@pytest.mark.parametrize(
    ("then", "state", "why", "past"),
    [
        ("stay", S.STOPPED, "as before", Past()), ("again", S.WAITING, "as before", Past()),
        ("wait", S.WAITING, "as before", Past((1.0,), 1)), ("failure", S.WAITING, "as before", Past((1.0, 9.0), 2)),
    ],
)  # fmt: skip
def test_what_follows_a_stop_was_decided_when_it_began(then: Any, state: ProcessState, why: str, past: Past) -> None:
    """How it ended then says nothing: it was asked to. Why it was asked goes on being told."""
    one = standing(S.STOPPING, then=then, past=Past((1.0,), 1), started_s=8.0)
    for code in (0, -15, None):
        for restart in ("always", "on-failure"):
            ended = crash(replace(one, policy=replace(POLICY, restart=restart)), 9, code)
            assert (ended.state, ended.why, ended.past, ended.pid, ended.since_s) == (state, why, past, None, 9)


COMMANDS = [
    ("start", S.STOPPED, S.WAITING, ()), ("start", S.WAITING, S.WAITING, ()), ("start", S.EXITED, S.WAITING, ()),
    ("start", S.FAILED, S.WAITING, ()), ("start", S.STARTING, S.STARTING, ()), ("start", S.RUNNING, S.RUNNING, ()),
    ("start", S.STOPPING, S.STOPPING, ()),
    ("restart", S.STOPPED, S.WAITING, ()), ("restart", S.WAITING, S.WAITING, ()), ("restart", S.EXITED, S.WAITING, ()),
    ("restart", S.FAILED, S.WAITING, ()), ("restart", S.STARTING, S.STOPPING, (Do.STOP,)),
    ("restart", S.RUNNING, S.STOPPING, (Do.STOP,)), ("restart", S.STOPPING, S.STOPPING, ()),
    ("stop", S.STOPPED, S.STOPPED, ()), ("stop", S.WAITING, S.STOPPED, ()), ("stop", S.EXITED, S.STOPPED, ()),
    ("stop", S.FAILED, S.STOPPED, ()), ("stop", S.STARTING, S.STOPPING, (Do.STOP,)), ("stop", S.RUNNING, S.STOPPING, (Do.STOP,)),
    ("stop", S.STOPPING, S.STOPPING, ()),
]  # fmt: skip


@pytest.mark.parametrize(("command", "state", "becomes", "do"), COMMANDS)
def test_what_each_command_does_in_each_state(command: Any, state: ProcessState, becomes: ProcessState, do: tuple[Do, ...]) -> None:
    """Where nothing runs it follows at once and clears the past; what is so already is left as it is; who asked is told."""
    before = standing(state, past=Past((1.0,), 1), then="failure")
    one, done = after(before, Ask(command, "you"), 9)
    assert (one.state, done) == (becomes, do)
    if (command, state) in [("stop", S.STOPPED), ("start", S.STARTING), ("start", S.RUNNING)]:
        assert one == before
    elif becomes in (S.WAITING, S.STOPPED):
        assert (one.since_s, one.past) == (9, Past())
        assert one.why == f"{'stopped' if command == 'stop' else 'started'} by you"
    else:
        assert one.then == ("stay" if command == "stop" else "again")
        assert one.why == f"{'stopped' if command == 'stop' else 'restarted'} by you"
        assert one.since_s == (before.since_s if state is S.STOPPING else 9)


@pytest.mark.parametrize(
    ("one", "forbidden", "waits_for", "becomes", "do"),
    [
        (standing(S.WAITING), "", "", replace(standing(S.WAITING)), (Do.START,)),
        (standing(S.WAITING, due_s=4.0), "", "", standing(S.WAITING), (Do.START,)),
        (standing(S.WAITING, due_s=5.0), "", "", standing(S.WAITING), (Do.START,)),
        (standing(S.WAITING, due_s=5.1), "", "", standing(S.WAITING, due_s=5.1), ()),
        (standing(S.WAITING), "Safe Mode", "ollama", standing(S.WAITING, why="Safe Mode"), ()),
        (standing(S.WAITING), "", "ollama", standing(S.WAITING, why="waits for ollama"), ()),
        (standing(S.STARTING), "Safe Mode", "", standing(S.STOPPING, since_s=5.0, due_s=15.0, then="wait", why="Safe Mode"), (Do.STOP,)),
        (standing(S.RUNNING), "Safe Mode", "", standing(S.STOPPING, since_s=5.0, due_s=15.0, then="wait", why="Safe Mode"), (Do.STOP,)),
        (standing(S.STARTING), "", "", standing(S.STARTING), ()),
        (standing(S.RUNNING), "", "ollama", standing(S.RUNNING), ()),
        (standing(S.RUNNING, due_s=4.0), "", "", standing(S.RUNNING, due_s=4.0), ()),
        (standing(S.STOPPING), "Safe Mode", "", standing(S.STOPPING), ()),
        (standing(S.STOPPING, due_s=5.0), "", "", standing(S.STOPPING, due_s=7.0), (Do.KILL,)),
        (standing(S.STOPPED), "Safe Mode", "ollama", standing(S.STOPPED), ()),
        (standing(S.EXITED), "Safe Mode", "ollama", standing(S.EXITED), ()),
        (standing(S.FAILED), "", "", standing(S.FAILED), ()),
    ],
)
def test_what_is_due_in_each_state(
    one: Supervised, forbidden: str, waits_for: str, becomes: Supervised, do: tuple[Do, ...]
) -> None:
    """At 5 s. What is forbidden goes before what it waits for, and is told."""
    assert look(one, 5.0, forbidden=forbidden, waits_for=waits_for) == (becomes, do)


def test_a_look_at_what_goes_on_waiting_changes_nothing_at_all() -> None:
    """It is the very same, by which the supervisor knows that there is nothing to tell."""
    waiting, _ = look(begun(), 0, forbidden="", waits_for="ollama")
    assert look(waiting, 1, forbidden="", waits_for="ollama")[0] is waiting
    assert look(waiting, 1, forbidden="", waits_for="gateway")[0] is not waiting


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
    one = crash(one, 21, -9)
    assert (one.state, one.past.failures, one.why) == (S.WAITING, 1, "it was not ready within 20 s")


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
    assert (one.since_s, one.pid, one.why) == (5, None, "it ended while WinClaw was not running")


@pytest.mark.parametrize(
    ("stopped", "failed", "policy", "state"),
    [
        (False, "", {}, S.WAITING), (True, "", {}, S.STOPPED), (False, "crashed", {}, S.FAILED),
        (False, "", {"autostart": False}, S.STOPPED),
    ],
)  # fmt: skip
def test_it_begins_as_it_was_left(stopped: bool, failed: str, policy: dict[str, Any], state: ProcessState) -> None:
    one = first(replace(POLICY, **policy), stopped=stopped, failed=failed, now_s=7)
    assert (one.state, one.policy, one.since_s) == (state, replace(POLICY, **policy), 7)
    assert one.why == (failed or ("it does not start by itself" if policy else ""))


def test_what_failed_stays_so_though_somebody_stopped_it_or_it_does_not_start_by_itself() -> None:
    one = first(replace(POLICY, autostart=False), stopped=True, failed="it crashed too often", now_s=7)
    assert (one.state, one.why) == (S.FAILED, "it crashed too often")


@pytest.mark.parametrize(
    ("change", "do"),
    [({"command": ("other",)}, (Do.STOP,)), ({"environment": {"A": "1"}}, (Do.STOP,)), ({"folder": "/x"}, (Do.STOP,)),
     ({"port": 9}, (Do.STOP,)), ({"max_restarts": 9}, ()), ({}, ())],
)  # fmt: skip
@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_another_configuration_restarts_it_only_where_it_must(state: ProcessState, change: dict[str, Any], do: tuple[Do, ...]) -> None:
    one, done = with_policy(standing(state), replace(POLICY, **change), 5)
    assert done == do
    assert one.policy == replace(POLICY, **change)
    if do:
        assert (one.state, one.since_s, one.due_s, one.why) == (S.STOPPING, 5, 15, "its configuration changed")
        again = crash(one, 6, -15)
        assert (again.state, again.past) == (S.WAITING, Past())


@pytest.mark.parametrize("state", [S.STOPPED, S.WAITING, S.STOPPING, S.EXITED])
def test_another_configuration_starts_nothing_that_was_not_to_run(state: ProcessState) -> None:
    other = replace(POLICY, command=("other",))
    assert with_policy(standing(state), other, 5) == (standing(state, policy=other), ())


def test_a_failed_process_is_tried_again_when_its_configuration_was_mended() -> None:
    failed = replace(begun(), state=S.FAILED, past=Past((1, 2, 3), 9))
    mended, do = with_policy(failed, replace(POLICY, command=("mended",)), 5)
    assert (mended.state, mended.past, mended.since_s, do) == (S.WAITING, Past(), 5, ())
    assert (mended.policy.command, mended.why) == (("mended",), "its configuration changed")
    assert with_policy(failed, replace(POLICY, max_log_mb=5), 5)[0].state is S.FAILED


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "it ended; nobody saw how"), (0, "it ended with exit status 0"), (255, "it ended with exit status 255"),
        (256, "it ended with exit status 0x00000100"), (0xC0000005, "it ended with exit status 0xC0000005"),
        (-2, "it was killed by SIGINT"), (-15, "it was killed by SIGTERM"), (-99, "it was killed by signal 99"),
    ],
)  # fmt: skip
def test_how_it_ended_is_told_as_people_look_it_up(code: int | None, said: str) -> None:
    """Windows' large statuses are known in hexadecimal, signals by name."""
    assert words(code) == said


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


def test_a_mended_process_does_not_wait_out_the_pause_of_the_broken_one() -> None:
    resting = replace(begun(), state=S.WAITING, due_s=240, past=Past((1, 2, 3), 9))
    assert look(with_policy(resting, replace(POLICY, command=("mended",)), 5)[0], 5, forbidden="", waits_for="")[1] == (Do.START,)
    assert with_policy(resting, replace(POLICY, max_log_mb=5), 5)[0].due_s == 240
