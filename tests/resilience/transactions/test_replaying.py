"""Going through a committed transaction once more. Pure."""

from __future__ import annotations

import pytest

from resilience.transactions.replaying import Replay
from resilience.transactions.steps import ReplayedFailureError, Step, TransactionReplayError

BOOK = Step(1, "book", undo="release", registered=True, key="id-1", state="undone", kept='"blue"')
ORDER = Step(2, "order", key="mine", state="failed", kept='"ConnectionError: away"')
PART = Step(3, "catering", state="failed", kept='"KeyError: 7"')
PAY = Step(4, "pay", key="id-4", state="done", kept="[1]")


def replay() -> Replay:
    return Replay("id", "then", [PAY, BOOK, ORDER, PART])


def test_steps_give_what_was_kept_and_those_that_failed_fail_as_before() -> None:
    one = replay()
    assert (one.id, one.count, one.next_key) == ("id", 0, "id-1")
    assert one.do("book") == "blue"
    assert (one.count, one.next_key) == (1, "mine")
    with pytest.raises(ReplayedFailureError) as caught:
        one.do("order")
    assert str(caught.value) == (
        "the transaction was committed at then under this key; its step 2 (order) had failed then, and is not called again: ConnectionError: away"
    )
    assert caught.value.was == "ConnectionError: away"
    assert (one.count, one.next_key) == (2, "")
    failed = one.failure_of("catering")
    assert str(failed) == "the transaction was committed at then under this key; its part 'catering' had failed then, and is not called again: KeyError: 7"
    assert one.count == 2
    one.fail("catering")
    assert one.count == 3
    assert one.do("pay") == [1]
    assert one.next_key == ""


def test_another_step_is_refused_and_gone_through_no_further() -> None:
    one = replay()
    with pytest.raises(TransactionReplayError, match="its step 1 was book, not pay"):
        one.do("pay")
    assert one.count == 0
    assert one.failure_of("book") is None
    one.fail("book")
    assert one.count == 0


def test_a_part_that_goes_further_than_then_fails_where_it_failed() -> None:
    """Whatever the name of the step is."""
    one = replay()
    one.count = 2
    for name in ("pay", "catering"):
        with pytest.raises(ReplayedFailureError, match="its part 'catering' had failed then"):
            one.do(name)
        assert one.count == 2
    assert one.failure_of("another part") is None
    one.fail("another part")
    assert one.count == 2


def test_behind_the_last_step_there_is_nothing() -> None:
    one = replay()
    one.count = 4
    with pytest.raises(TransactionReplayError, match="with no step 5, and pay is asked for"):
        one.do("pay")
    assert (one.next_key, one.failure_of("pay"), one.count) == ("", None, 4)


def test_what_was_kept_of_nothing_is_nothing() -> None:
    assert Replay("id", "then", [PAY._replace(number=1, kept=None)]).do("pay") is None
    for step in (BOOK._replace(kept=None), BOOK._replace(state="begun", kept=None)):
        with pytest.raises(ReplayedFailureError, match=r"is not called again$") as caught:
            Replay("id", "then", [step]).do("book")
        assert caught.value.was == ""
