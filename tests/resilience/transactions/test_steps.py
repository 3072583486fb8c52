"""Which steps are to be undone, by what, and what is said of the rest. Pure."""

from __future__ import annotations

import pytest

from resilience.transactions.steps import (
    CompensationFailedError,
    Left,
    Step,
    StepResultError,
    TransactionReplayError,
    Way,
    checked_text,
    failure,
    is_news,
    kept_text,
    left_of,
    missing,
    newest_first,
    replayed,
    way_of,
    why_left,
    words,
)

DONE = Step(1, "create", undo="delete", registered=True, key="k", state="done", kept="7")


@pytest.mark.parametrize(
    ("step", "can_undo", "can_find", "way"),
    [
        (DONE, True, False, Way.UNDO),
        (DONE, True, True, Way.UNDO),
        (DONE, False, False, Way.MISSING),
        (DONE._replace(registered=False), False, False, Way.LOST),
        (DONE._replace(state="begun"), True, True, Way.ASK),
        (DONE._replace(state="begun"), True, False, Way.DOUBT),
        (DONE._replace(state="begun"), False, True, Way.MISSING),
        (DONE._replace(state="begun", registered=False), False, True, Way.LOST),
        (DONE._replace(undo=""), True, True, Way.NOTHING),
        (DONE._replace(undo="", state="begun"), False, False, Way.NOTHING),
        (DONE._replace(state="undone"), True, True, Way.NOTHING),
        (DONE._replace(state="failed"), False, False, Way.NOTHING),
    ],
)
def test_what_there_is_to_do_about_a_step(step: Step, can_undo: bool, can_find: bool, way: Way) -> None:
    assert way_of(step, can_undo=can_undo, can_find=can_find) is way


def test_why_a_step_is_left_without_a_try() -> None:
    begun = DONE._replace(state="begun")
    said = {way: why_left(way, begun) for way in Way}
    assert said == {
        Way.NOTHING: "", Way.UNDO: "", Way.ASK: "",
        Way.DOUBT: "it was interrupted, and nothing can say whether it happened: delete has no found=",
        Way.LOST: "delete is not registered, and was known to the process that ended only; it was interrupted, and may not have happened",
        Way.MISSING: "delete is not registered in this process",
    }  # fmt: skip
    assert why_left(Way.LOST, DONE) == "delete is not registered, and was known to the process that ended only"


def test_missing_are_the_registered_compensations_that_are_needed_and_not_there() -> None:
    steps = [
        DONE,
        DONE._replace(number=2, undo="recall"),
        DONE._replace(number=3, undo="private", registered=False),
        DONE._replace(number=4, undo="over", state="undone"),
        DONE._replace(number=5, undo="recall", state="begun"),
        DONE._replace(number=6, undo="there"),
    ]
    assert missing(steps, {"there"}) == ["recall", "delete"]
    assert missing(steps, {"there", "recall", "delete"}) == []


def test_the_newest_is_first() -> None:
    assert [step.number for step in newest_first(DONE._replace(number=number) for number in (2, 10, 1))] == [10, 2, 1]


def test_left_is_what_says_why_newest_first() -> None:
    steps = [DONE._replace(why="no"), DONE._replace(number=2), DONE._replace(number=3, state="begun", why="who knows")]
    assert left_of(steps) == (
        Left(3, "create", "delete", "k", "7", True, "who knows"),
        Left(1, "create", "delete", "k", "7", False, "no"),
    )


@pytest.mark.parametrize(
    ("ways", "news"),
    [
        ([], True),
        ([(DONE._replace(state="undone"), Way.NOTHING)], True),
        ([(DONE, Way.UNDO)], True),
        ([(DONE._replace(why="no"), Way.UNDO)], True),
        ([(DONE._replace(why="no"), Way.ASK)], True),
        ([(DONE, Way.DOUBT)], True),
        ([(DONE._replace(why="told"), Way.DOUBT)], False),
        ([(DONE._replace(why="told"), Way.LOST), (DONE._replace(state="undone"), Way.NOTHING)], False),
        ([(DONE._replace(why="told"), Way.LOST), (DONE, Way.LOST)], True),
    ],
)
def test_a_pass_is_worth_it_where_something_can_be_tried_told_or_ended(ways: list[tuple[Step, Way]], news: bool) -> None:
    assert is_news(ways) is news


def test_the_error_names_each_step_that_is_left() -> None:
    cause = ConnectionError("down")
    one, doubt = Left(1, "create", "delete", "k", "x" * 200, False, "no"), Left(2, "send", "recall", "k2", None, True, "who knows")
    error = failure("send-report", "id7", [doubt, one], cause)
    assert isinstance(error, CompensationFailedError)
    assert str(error) == (
        "the transaction 'send-report' (id7) is not wholly undone: 2 steps are left; "
        "step 2 send (may have happened, key k2, undone by recall): who knows; "
        f"step 1 create (kept {'x' * 100}, key k, undone by delete): no"
    )
    assert (error.transaction, error.id, error.left, error.__cause__) == ("send-report", "id7", (doubt, one), cause)
    single = failure("t", "i", [one._replace(kept=None)])
    assert str(single) == "the transaction 't' (i) is not wholly undone: 1 step is left; step 1 create (happened, key k, undone by delete): no"
    assert single.__cause__ is None
    many = str(failure("t", "i", [one] * 23))
    assert many.count("step 1 create") == 20
    assert many.endswith("; and 3 more")
    assert str(failure("t", "i", [one] * 21)).endswith("; and 1 more")
    assert "more" not in str(failure("t", "i", [one] * 20))


def test_what_is_kept_is_exact() -> None:
    assert kept_text({"a": [1, None]}, "create") == '{"a":[1,null]}'
    with pytest.raises(StepResultError, match=r"^what the step create gave cannot be kept: result\['a'\] is a builtins.tuple.*; or say by keep="):
        kept_text({"a": (1,)}, "create")
    assert kept_text("x" * 255_998, "create")
    with pytest.raises(StepResultError, match=r"^what the step create gave is too large: 256\.0 kB as JSON, and 256 kB is the limit; say by keep="):
        kept_text("x" * 255_999, "create")


def test_a_name_is_a_text_that_files_keep() -> None:
    assert checked_text("a name", "x" * 200) == "x" * 200
    assert checked_text("a name", "ä") == "ä"
    with pytest.raises(ValueError, match="^a name has 1 to 200 characters; it has 201: '" + "x" * 40 + "'$"):
        checked_text("a name", "x" * 201)
    with pytest.raises(ValueError, match="it has 0: ''"):
        checked_text("a name", "")
    for bad in ("a\0", "\ud800", "\udfff"):
        with pytest.raises(ValueError, match="holds a NUL or half a character, which no file keeps"):
            checked_text("a name", bad)
    with pytest.raises(TypeError, match=r"^a name is a text of 1 to 200 characters, not int$"):
        checked_text("a name", 7)


def test_a_committed_step_gives_what_was_kept_of_it() -> None:
    assert replayed(DONE, 1, "create", "then") == "7"
    assert replayed(DONE._replace(kept=None), 1, "create", "then") is None


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (None, "the transaction was committed at then under this key, with no step 1, and create is asked for; take another key for other steps"),
        (DONE._replace(name="send"), "the transaction was committed at then under this key; its step 1 was send, not create; take another key for other steps"),
        (Step(1, "catering", state="failed"), "the transaction was committed at then under this key; its part 'catering' had failed then, and is not called again"),
        (DONE._replace(state="failed"), r"the transaction was committed at then under this key; its step 1 \(create\) had failed then, and is not called again"),
    ],
)
def test_other_steps_under_the_same_key_are_an_error(step: Step | None, said: str) -> None:
    with pytest.raises(TransactionReplayError, match=f"^{said}$"):
        replayed(step, 1, "create", "then")


def test_a_failure_is_noted_in_bounds() -> None:
    assert words(ValueError("no\0")) == "ValueError: no␀"
    assert words(ValueError("x" * 1000)) == "ValueError: " + "x" * 488


def test_a_failure_is_noted_without_secrets_not_even_one_that_is_cut_off() -> None:
    said = "401 for https://bob:hunter2secret@mail.example/ Authorization: Bearer sk-abcdefghijklmnopqrstuvwxyz123456"
    assert words(PermissionError(said)) == "PermissionError: 401 for https://bob:[redacted]@mail.example/ Authorization: [redacted]"
    noted = words(ValueError("x" * 470 + " sk-abcdefghijklmnopqrstuvwxyz123456"))
    assert len(noted) <= 500
    assert "sk-" not in noted
