"""What follows when a supervised process ends: whether it starts again, after which pause, and how often."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from resilience.processes.supervision import (
    Ask,
    Do,
    Ended,
    NotStarted,
    Past,
    ProcessState,
    Ready,
    Started,
    Supervised,
    Unwell,
    after,
    is_failure,
    look,
    with_policy,
)
from tests.resilience.processes.supervised import POLICY, S, begun, crash, due, restarted, running, standing


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


@pytest.mark.parametrize("code", [0, 1])
def test_the_first_end_is_answered_at_once_and_the_next_ones_after_growing_pauses(code: int) -> None:
    """However it ended: what only ends well, again and again, must not become a hot loop."""
    one, pauses, now_s = running(max_restarts=10, within_s=1000), [], 0.0
    for _ in range(5):
        one = crash(one, now_s, code)
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


@pytest.mark.parametrize("code", [0, 1])
def test_a_loop_of_ends_is_over_in_failed_and_stays_there(code: int) -> None:
    one, now_s = running(), 0.0
    for _ in range(3):
        one = crash(one, now_s, code)
        assert one.state is S.WAITING
        assert one.due_s is not None
        now_s = one.due_s
        one = restarted(one, now_s)
    one = crash(one, now_s, code)
    assert one.state is S.FAILED
    assert one.why == f"it ended with exit status {code}, and was started again 3 times within 60 s"
    assert due(one, now_s + 1e6) is None


def test_a_loop_of_one_restart_says_once() -> None:
    one = crash(restarted(crash(running(max_restarts=1), 0), 0), 0)
    assert one.why == "it ended with exit status 1, and was started again once within 60 s"


def test_it_is_healthy_after_exactly_the_time_that_its_policy_says() -> None:
    """Its run counts from its start, not from when it was ready; one that only was to start never was healthy."""
    def next_pause_s(ran_s: float) -> float:
        again = restarted(crash(running(), 1), 1)
        one = crash(after(again, Ready(again.run), 20)[0], 1 + ran_s)
        assert one.due_s is not None
        return one.due_s - (1 + ran_s)

    assert [next_pause_s(29.9), next_pause_s(30)] == [1, 0]
    again = restarted(crash(running(), 1), 41)
    for gone_s, ends in ((70.9, 2), (71, 1)):
        assert crash(after(again, Unwell(2, "too large", hopeless=True), 60)[0], gone_s).past.ends == ends
    not_there = after(replace(begun(healthy_after_s=0.1), past=Past((), 1)), NotStarted("no such program"), 50)[0]
    assert (not_there.due_s, not_there.past) == (51, Past((50.0,), 2))


@pytest.mark.parametrize(
    ("backoff_s", "max_backoff_s", "ends", "pause_s"),
    [(1, 60, 2, 2), (1, 60, 5, 16), (0.5, 60, 2, 1), (0.5, 2.5, 5, 2.5), (0, 60, 9, 0), (1, 1e6, 99, 1e6), (1e-12, 1e6, 99, 2**30 * 1e-12)],
)
def test_pauses_double_up_to_the_longest_and_the_doubling_has_an_end(
    backoff_s: float, max_backoff_s: float, ends: int, pause_s: float
) -> None:
    """However long it goes on: 2.0 ** 1024 would be an OverflowError."""
    policy = {"backoff_s": backoff_s, "max_backoff_s": max_backoff_s, "max_restarts": 1000}
    one = crash(replace(running(**policy), past=Past((), ends)), 5)
    assert one.due_s == pytest.approx(5 + pause_s)
    assert one.past == Past((5.0,), ends + 1)


def test_a_restart_counts_for_less_than_the_time_within() -> None:
    """Its window is open at its old end: what is as long ago as ``within_s`` has left it."""
    past = Past((0.0, 1.0, 2.0), 3)
    assert crash(replace(running(), past=past), 59.9).state is S.FAILED
    again = crash(replace(running(), past=past), 60)
    assert (again.state, again.past.restarts_s) == (S.WAITING, (1.0, 2.0, 60))


def test_what_has_failed_knows_which_restarts_and_ends_brought_it_there() -> None:
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
    assert due(one, 10) == Do.START


def test_a_program_that_cannot_be_started_is_tried_again_and_then_has_failed() -> None:
    one, now_s = begun(), 0.0
    for _ in range(4):
        one, _ = after(one, NotStarted("there is no program 'agent'"), now_s)
        now_s = one.due_s or now_s
    assert one.state is S.FAILED
    assert one.why.startswith("there is no program 'agent', and was")


def test_a_mended_process_does_not_wait_out_the_pause_of_the_broken_one() -> None:
    resting = replace(begun(), state=S.WAITING, due_s=240, past=Past((1, 2, 3), 9))
    assert look(with_policy(resting, replace(POLICY, command=("mended",)), 5)[0], 5, forbidden="", waits_for="")[1] == Do.START
    assert with_policy(resting, replace(POLICY, max_log_mb=5), 5)[0].due_s == 240


@pytest.mark.parametrize(
    ("before", "end", "speaks_against_it"),
    [
        (standing(S.RUNNING), Ended(1, 0), False), (standing(S.STARTING), Ended(1, 0), False),
        (standing(S.RUNNING), Ended(1, 1), True), (standing(S.STARTING), Ended(1, -9), True),
        (standing(S.RUNNING), Ended(1, None), True), (begun(), NotStarted("no such program"), True),
        (standing(S.STOPPING, then="failure"), Ended(1, 0), True), (standing(S.STOPPING, then="failure"), Ended(1, -9), True),
        (standing(S.STOPPING, then="stay"), Ended(1, 1), False), (standing(S.STOPPING, then="again"), Ended(1, -9), False),
        (standing(S.STOPPING, then="wait"), Ended(1, None), False),
    ],
)  # fmt: skip
def test_how_and_why_it_ended_says_whether_that_is_a_failure(before: Supervised, end: Ended | NotStarted, speaks_against_it: bool) -> None:
    """Not how often, nor what its policy makes of it; what was asked to end may end as it likes."""
    for restart in ("always", "on-failure", "never"):
        assert is_failure(replace(before, policy=replace(POLICY, restart=restart)), end) is speaks_against_it


HAPPENINGS = st.one_of(
    st.builds(Ended, st.integers(0, 3), st.sampled_from([None, 0, 1, -9])),
    st.builds(Ready, st.integers(0, 3)),
    st.builds(Unwell, st.integers(0, 3), st.just("silent"), st.booleans()),
    st.builds(Ask, st.sampled_from(["start", "stop", "restart"]), st.just("you")),
    st.sampled_from([None, "Safe Mode is on"]),
)


@given(st.lists(st.tuples(HAPPENINGS, st.floats(0, 30)), max_size=60), st.sampled_from(["always", "on-failure", "never"]))
def test_whatever_happens_there_is_never_a_double(story: list[tuple[Any, float]], restart: str) -> None:
    """START is asked for only while nothing runs, and what has failed comes back only when somebody asks."""
    one, now_s = begun(restart=restart), 0.0
    for what, pause_s in story:
        now_s += pause_s
        if what is None or isinstance(what, str):
            one, do = look(one, now_s, forbidden=what or "", waits_for="")
            if do is Do.START:
                assert not one.is_alive
                one, _ = after(one, Started(7), now_s)
        else:
            before = one
            one, do = after(one, what, now_s)
            assert do is not Do.START
            assert not (before.state is S.FAILED and one.state is not S.FAILED and not isinstance(what, Ask))
        assert one.due_s is None or one.due_s >= 0


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.sampled_from([None, 0, 1, -9])), min_size=40, max_size=80))
def test_what_ends_again_and_again_is_never_started_in_a_hot_loop(story: list[tuple[float, bool, int | None]]) -> None:
    """Whenever it ends, ready or not: within the policy's period it starts once and as often again as allowed."""
    one, now_s, starts = begun(restart="always"), 0.0, []
    for pause_s, gets_ready, code in story:
        one, do = look(one, now_s, forbidden="", waits_for="")
        if do is Do.START:
            starts.append(now_s)
            one, _ = after(one, Started(7), now_s)
            one = after(one, Ready(one.run), now_s)[0] if gets_ready else one
        now_s += pause_s
        one = crash(one, now_s, code) if one.is_alive else one
    assert len(starts) > 1
    assert all(sum(start - 60 < other <= start for other in starts) <= POLICY.max_restarts + 1 for start in starts)
