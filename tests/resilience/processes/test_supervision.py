"""What becomes of a supervised process: traces of what happens to it, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from resilience.processes.supervision import (
    Ask,
    Do,
    Ended,
    Happening,
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
from tests.resilience.processes.supervised import POLICY, S, begun, crash, due, restarted, running, standing


def test_a_process_starts_and_becomes_ready() -> None:
    one = begun()
    assert one.state is S.WAITING
    assert due(one, 0) == Do.START
    one, do = after(one, Started(42), 1)
    assert (one.state, one.pid, one.run, do) == (S.STARTING, 42, 1, None)
    one, _ = after(one, Ready(1), 2)
    assert (one.state, one.due_s) == (S.RUNNING, None)


def test_each_state_begins_with_nothing_of_the_one_before() -> None:
    """Patience, silence and reason belong to a state; run, process and past go on."""
    before = replace(begun(), run=3, past=Past((1.0,), 1), why="it crashed", due_s=4.0)
    policy = before.policy
    started = Supervised(
        policy=policy, state=S.STARTING, run=4, pid=42, since_s=5, started_s=5, due_s=5 + policy.ready_within_s, past=before.past
    )
    assert after(before, Started(42), 5) == (started, None)
    ready = replace(started, state=S.RUNNING, since_s=7.0, due_s=None)
    assert after(started, Ready(4), 7) == (ready, None)
    silent, _ = after(ready, Silent(4, "refused", 8.0), 9)
    stopping = replace(ready, state=S.STOPPING, since_s=10.0, due_s=10 + policy.stop_timeout_s, then="stay", why="stopped by you")
    assert after(silent, Ask("stop", "you"), 10) == (stopping, Do.STOP)
    gone = replace(stopping, state=S.STOPPED, since_s=11.0, due_s=None, pid=None, past=Past())
    assert after(stopping, Ended(4, 0), 11) == (gone, None)


def test_silence_is_borne_for_a_while_and_then_it_is_hung() -> None:
    """From when the probe first failed, not from when that was told; a good answer ends it."""
    silent, do = after(running(hung_after_s=10), Silent(1, "no answer", since_s=4.0), 6)
    assert (silent.state, silent.is_ready, silent.why, do) == (S.RUNNING, False, "no answer", None)
    assert after(silent, Silent(1, "refused", since_s=8.0), 9) == (silent, None)
    assert due(silent, 13.9) is None
    hung, do = look(silent, 14, forbidden="", waits_for="")
    assert (hung.state, hung.why, do) == (S.STOPPING, "it was silent for 10 s: no answer", Do.KILL)
    assert (hung.due_s, hung.silent_s) == (16, None)
    assert crash(hung, 14.5, -9).past.ends == 1
    well, do = after(silent, Ready(1), 9)
    assert (well.is_ready, well.silent_s, well.why, do) == (True, None, "", None)
    assert due(well, 1e6) is None


@pytest.mark.parametrize("state", [S.STOPPED, S.WAITING, S.EXITED, S.FAILED])
@pytest.mark.parametrize("what", [Ended(1, 0), Ready(1), Silent(1, "refused", 1.0), Unwell(1, "too large", hopeless=True)])
def test_nothing_said_of_a_process_that_is_gone_moves_it(state: ProcessState, what: Happening) -> None:
    one = standing(state, pid=None)
    assert after(one, what, 9) == (one, None)


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
    assert after(one, what, 9) == (one, None)


def test_only_an_answer_of_the_same_run_ends_a_silence() -> None:
    silent, _ = after(running(), Silent(1, "refused", 1.0), 2)
    assert after(silent, Ready(2), 3) == (silent, None)


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
@pytest.mark.parametrize(("hopeless", "do", "patience_s"), [(False, Do.STOP, 10), (True, Do.KILL, 2)])
def test_what_must_go_goes_at_any_age(state: ProcessState, hopeless: bool, do: Do, patience_s: float) -> None:
    gone, done = after(standing(state), Unwell(1, "it used 900 MB of 512", hopeless=hopeless), 5)
    assert done is do
    assert (gone.state, gone.since_s, gone.due_s, gone.then, gone.why) == (
        S.STOPPING, 5, 5 + patience_s, "failure", "it used 900 MB of 512",
    )  # fmt: skip


def test_a_deliberate_stop_is_not_a_crash() -> None:
    one, do = after(running(), Ask("stop", "you"), 10)
    assert (one.state, do) == (S.STOPPING, Do.STOP)
    one, do = after(one, Ended(1, -15), 11)
    assert (one.state, one.why, do) == (S.STOPPED, "stopped by you", None)
    assert due(one, 1000) is None


def test_patience_ends_with_a_kill_and_another_one_until_it_is_gone() -> None:
    one, _ = after(running(stop_timeout_s=10), Ask("stop", "you"), 0)
    assert due(one, 9.9) is None
    one, do = look(one, 10, forbidden="", waits_for="")
    assert do == Do.KILL
    assert due(one, 11) is None
    assert due(one, 12) == Do.KILL


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
    ("start", S.STOPPED, S.WAITING, None), ("start", S.WAITING, S.WAITING, None), ("start", S.EXITED, S.WAITING, None),
    ("start", S.FAILED, S.WAITING, None), ("start", S.STARTING, S.STARTING, None), ("start", S.RUNNING, S.RUNNING, None),
    ("start", S.STOPPING, S.STOPPING, None),
    ("restart", S.STOPPED, S.WAITING, None), ("restart", S.WAITING, S.WAITING, None), ("restart", S.EXITED, S.WAITING, None),
    ("restart", S.FAILED, S.WAITING, None), ("restart", S.STARTING, S.STOPPING, Do.STOP),
    ("restart", S.RUNNING, S.STOPPING, Do.STOP), ("restart", S.STOPPING, S.STOPPING, None),
    ("stop", S.STOPPED, S.STOPPED, None), ("stop", S.WAITING, S.STOPPED, None), ("stop", S.EXITED, S.STOPPED, None),
    ("stop", S.FAILED, S.STOPPED, None), ("stop", S.STARTING, S.STOPPING, Do.STOP), ("stop", S.RUNNING, S.STOPPING, Do.STOP),
    ("stop", S.STOPPING, S.STOPPING, None),
]  # fmt: skip


@pytest.mark.parametrize(("command", "state", "becomes", "do"), COMMANDS)
def test_what_each_command_does_in_each_state(command: Any, state: ProcessState, becomes: ProcessState, do: Do | None) -> None:
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
        (standing(S.WAITING), "", "", replace(standing(S.WAITING)), Do.START),
        (standing(S.WAITING, due_s=4.0), "", "", standing(S.WAITING), Do.START),
        (standing(S.WAITING, due_s=5.0), "", "", standing(S.WAITING), Do.START),
        (standing(S.WAITING, due_s=5.1), "", "", standing(S.WAITING, due_s=5.1), None),
        (standing(S.WAITING), "Safe Mode", "ollama", standing(S.WAITING, why="Safe Mode"), None),
        (standing(S.WAITING), "", "ollama", standing(S.WAITING, why="waits for ollama"), None),
        (standing(S.STARTING), "Safe Mode", "", standing(S.STOPPING, since_s=5.0, due_s=15.0, then="wait", why="Safe Mode"), Do.STOP),
        (standing(S.RUNNING), "Safe Mode", "", standing(S.STOPPING, since_s=5.0, due_s=15.0, then="wait", why="Safe Mode"), Do.STOP),
        (standing(S.STARTING), "", "", standing(S.STARTING), None),
        (standing(S.RUNNING), "", "ollama", standing(S.RUNNING), None),
        (standing(S.RUNNING, due_s=4.0), "", "", standing(S.RUNNING, due_s=4.0), None),
        (standing(S.STOPPING), "Safe Mode", "", standing(S.STOPPING), None),
        (standing(S.STOPPING, due_s=5.0), "", "", standing(S.STOPPING, due_s=7.0), Do.KILL),
        (standing(S.STOPPED), "Safe Mode", "ollama", standing(S.STOPPED), None),
        (standing(S.EXITED), "Safe Mode", "ollama", standing(S.EXITED), None),
        (standing(S.FAILED), "", "", standing(S.FAILED), None),
    ],
)
def test_what_is_due_in_each_state(
    one: Supervised, forbidden: str, waits_for: str, becomes: Supervised, do: Do | None
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
    assert after(running(**policy), Ask("stop", "you"), 0)[1] == Do.KILL


def test_a_restart_is_no_failure_and_has_no_pause() -> None:
    one, do = after(running(), Ask("restart", "you"), 0)
    assert do == Do.STOP
    one = crash(one, 1, -15)
    assert (one.state, one.due_s, one.past) == (S.WAITING, None, Past())


@pytest.mark.parametrize(("second", "then"), [("start", S.WAITING), ("restart", S.WAITING), ("stop", S.STOPPED)])
def test_the_last_command_wins_while_it_stops(second: Any, then: ProcessState) -> None:
    one, _ = after(running(), Ask("stop", "you"), 0)
    one, do = after(one, Ask(second, "you"), 0)
    assert do is None
    assert crash(one, 1).state is then


def test_a_silent_process_is_killed_and_counts_as_a_failure() -> None:
    """A hung process is a failure like a dead one; asking it would only cost the patience."""
    one, do = after(running(), Unwell(1, "its probe got no answer", hopeless=True), 5)
    assert (one.state, do) == (S.STOPPING, Do.KILL)
    one = crash(one, 5.1, -9)
    assert (one.state, one.past.ends, one.why) == (S.WAITING, 1, "its probe got no answer")


def test_a_process_that_is_too_large_is_asked_first() -> None:
    assert after(running(), Unwell(1, "it used 900 MB of 512", hopeless=False), 5)[1] == Do.STOP


def test_a_process_that_never_becomes_ready_is_a_failure() -> None:
    one, _ = after(begun(ready_within_s=20), Started(1), 0)
    assert due(one, 19.9) is None
    one, do = look(one, 20, forbidden="", waits_for="")
    assert (one.state, one.why, do) == (S.STOPPING, "it was not ready within 20 s", Do.KILL)
    one = crash(one, 21, -9)
    assert (one.state, one.past.ends, one.why) == (S.WAITING, 1, "it was not ready within 20 s")


def test_what_is_said_of_an_earlier_run_moves_nothing() -> None:
    one = restarted(crash(running(), 1), 1)
    late: list[Happening] = [Ended(1, 1), Ready(1), Unwell(1, "silent", hopeless=True)]
    for what in late:
        assert after(one, what, 2) == (one, None)


def test_nothing_starts_while_it_is_forbidden_and_what_runs_is_stopped_and_comes_back() -> None:
    one = begun()
    assert due(one, 0, forbidden="Safe Mode is on") is None
    one, do = look(running(), 0, forbidden="Safe Mode is on", waits_for="")
    assert (one.state, do) == (S.STOPPING, Do.STOP)
    one = crash(one, 1, -15)
    assert (one.state, one.why) == (S.WAITING, "Safe Mode is on")
    assert due(one, 2, forbidden="Safe Mode is on") is None
    assert due(one, 3) == Do.START


def test_it_waits_for_what_it_depends_on() -> None:
    one, do = look(begun(), 0, forbidden="", waits_for="ollama")
    assert (one.why, do) == ("waits for ollama", None)
    assert due(one, 1) == Do.START


@pytest.mark.parametrize(
    ("stopped", "failed", "policy", "state"),
    [
        (False, "", {}, S.WAITING), (True, "", {}, S.STOPPED), (False, "crashed", {}, S.FAILED),
        (False, "", {"autostart": False}, S.STOPPED),
    ],
)  # fmt: skip
def test_it_begins_as_it_was_left(stopped: bool, failed: str, policy: dict[str, Any], state: ProcessState) -> None:
    one = first(replace(POLICY, **policy), run=4, stopped=stopped, failed=failed, now_s=7)
    assert (one.state, one.policy, one.since_s) == (state, replace(POLICY, **policy), 7)
    assert (one.run, one.first_run) == (4, 5)
    assert one.why == (failed or ("it does not start by itself" if policy else ""))


def test_what_failed_stays_so_though_somebody_stopped_it_or_it_does_not_start_by_itself() -> None:
    one = first(replace(POLICY, autostart=False), run=0, stopped=True, failed="it crashed too often", now_s=7)
    assert (one.state, one.why) == (S.FAILED, "it crashed too often")


@pytest.mark.parametrize(
    ("change", "do"),
    [({"command": ("other",)}, Do.STOP), ({"environment": {"A": "1"}}, Do.STOP), ({"folder": "/x"}, Do.STOP),
     ({"port": 9}, Do.STOP), ({"max_restarts": 9}, None), ({}, None)],
)  # fmt: skip
@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_another_configuration_restarts_it_only_where_it_must(state: ProcessState, change: dict[str, Any], do: Do | None) -> None:
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
    assert with_policy(standing(state), other, 5) == (standing(state, policy=other), None)


def test_a_failed_process_is_tried_again_when_its_configuration_was_mended() -> None:
    failed = replace(begun(), state=S.FAILED, past=Past((1, 2, 3), 9))
    mended, do = with_policy(failed, replace(POLICY, command=("mended",)), 5)
    assert (mended.state, mended.past, mended.since_s, do) == (S.WAITING, Past(), 5, None)
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
