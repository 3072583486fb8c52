from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.context import (
    MAX_STACK_CHARACTERS,
    ErrorContext,
    ErrorImpact,
    ErrorSeverity,
    RecoveryStrategy,
    fingerprint,
)
from resilience.testing import FakeClock


def caught() -> ValueError:
    def fails_inside() -> None:
        raise ValueError("no such tool: hammer")

    try:
        fails_inside()
    except ValueError as error:
        return error
    raise AssertionError("it did not fail")


def mark(message: str) -> str:
    return fingerprint("persistent.validation", "tools", "choose", "ValidationError", message)


def test_a_context_is_made_as_the_specification_shows() -> None:
    error = caught()
    context = ErrorContext.create(
        error, "tools", "choose", severity=ErrorSeverity.CRITICAL, impact=ErrorImpact.SINGLE_SESSION, tool="hammer"
    )
    assert (context.component, context.operation) == ("tools", "choose")
    assert (context.severity, context.impact) == (ErrorSeverity.CRITICAL, ErrorImpact.SINGLE_SESSION)
    assert context.original_error is error
    assert (context.user_id, context.session_id, context.retry_count) == (None, None, 0)
    assert context.metadata == {"tool": "hammer"}


def test_severity_and_impact_have_defaults() -> None:
    context = ErrorContext.create(caught(), "tools", "choose")
    assert (context.severity, context.impact) == (ErrorSeverity.ERROR, ErrorImpact.SINGLE_REQUEST)


def test_every_context_has_an_id_of_its_own() -> None:
    assert ErrorContext.create(caught(), "a", "b").error_id != ErrorContext.create(caught(), "a", "b").error_id


def test_the_stack_is_the_errors_own_and_needs_no_except_block() -> None:
    """``format_exc()`` outside of one says ``NoneType: None``."""
    stack = ErrorContext.create(caught(), "tools", "choose").stack_trace
    assert "in fails_inside" in stack
    assert "ValueError: no such tool: hammer" in stack


def test_the_stack_shows_the_causes() -> None:
    error = RuntimeError("the plan failed")
    error.__cause__ = caught()
    assert "ValueError: no such tool: hammer" in ErrorContext.create(error, "tools", "choose").stack_trace


def test_the_time_is_aware_and_comes_from_the_clock() -> None:
    at = datetime(2026, 11, 23, 18, 27, tzinfo=UTC)
    assert ErrorContext.create(caught(), "a", "b", clock=FakeClock(at)).timestamp == at
    assert ErrorContext.create(caught(), "a", "b").timestamp.tzinfo is UTC


def test_retries_are_counted_as_told() -> None:
    context = ErrorContext.create(caught(), "a", "b", retry_count=3, user_id="u", session_id="s")
    assert (context.retry_count, context.user_id, context.session_id) == (3, "u", "s")
    assert context.metadata == {}


def test_a_very_long_stack_keeps_its_beginning_and_its_end() -> None:
    stack = ErrorContext.create(ValueError("x" * 300_000 + "the end"), "a", "b").stack_trace
    assert len(stack) <= MAX_STACK_CHARACTERS
    assert stack.startswith("ValueError: xxx")
    assert stack.endswith("the end\n")
    assert "characters left out" in stack


def test_the_place_that_failed_is_seen_however_deep_it_lies() -> None:
    def deeper(level: int) -> None:
        if level == 0:
            raise LookupError("at the bottom")
        deeper(level - 1)

    with pytest.raises(LookupError) as failure:
        deeper(sys.getrecursionlimit() // 2)
    assert 'raise LookupError("at the bottom")' in ErrorContext.create(failure.value, "a", "b").stack_trace


def test_an_error_that_cannot_speak_has_a_message_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    context = ErrorContext.create(Mute(), "a", "b")
    assert context.message == "(a Mute whose words cannot be read: RuntimeError)"
    assert "Mute" in context.stack_trace
    assert ErrorContext.create(ValueError(), "a", "b").message == "ValueError"
    assert ErrorContext.create(KeyError("x"), "a", "b").message == "KeyError: 'x'"


def test_the_stack_survives_pickle() -> None:
    """Frames do not; so it is written out before."""
    again = pickle.loads(pickle.dumps(ErrorContext.create(caught(), "tools", "choose")))
    assert "in fails_inside" in again.stack_trace


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 12 s", "took 3 s"),
        ("took 1.5 s", "took 12 s"),
        ("request req_8fK29dLm failed", "request req_00aaBB12 failed"),
        ("job 7f9c24e8-face-beef-abcd-effedcbaabcd died", "job 00000000-1111-2222-3333-444444444444 died"),
        ("commit de4dbeefcafe is bad", "commit 0123456789ab is bad"),
        ("line one\nline two", "line one   line two"),
        ("object at 0x7f33aa10 is gone", "object at 0x55e0 is gone"),
        ("no such tool: 'hammer'", "no such tool: 'nail'"),
        ('no such tool: "hammer"', 'no such tool: "a nail; or two"'),
        ("cannot open /home/ann/a.txt", "cannot open /var/log/b"),
        (r"cannot open C:\Users\ann\a.txt", r"cannot open D:\b.txt"),
        ("cannot open agents/ann/a.txt", "cannot open agents/bob/notes/b.txt"),
        ("GET https://example.com/a?x=1 failed", "GET https://example.org/b failed"),
        ("connect to 127.0.0.1:8080 refused", "connect to 10.0.0.12:443 refused"),
        ("connect to fe80::1 refused", "connect to 2001:db8::ff00:42:8329 refused"),
        ("no mail for ann@example.com", "no mail for bob.b@mail.example.org"),
        ("at 12:30:45 it failed", "at 7:05:01 it failed"),
    ],
)
def test_what_varies_in_a_message_does_not_change_its_fingerprint(one: str, other: str) -> None:
    assert mark(one) == mark(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connection refused", "connection reset"),
        ("can't read the user's file", "can't write the user's file"),
        ("no such tool: 'hammer'", "no such plan: 'hammer'"),
        ("std::vector is empty", "std::string is empty"),
    ],
)
def test_other_words_are_another_fingerprint(one: str, other: str) -> None:
    assert mark(one) != mark(other)


def test_kind_component_operation_and_type_are_part_of_the_fingerprint() -> None:
    parts = ("kind", "component", "operation", "type", "message")
    marks = {fingerprint(*parts)}
    for place in range(5):
        changed = [*parts]
        changed[place] = "other"
        marks.add(fingerprint(*changed))
    assert len(marks) == 6


def test_a_fingerprint_is_short_and_lasts() -> None:
    """It is stored: another algorithm would tear apart what belongs together."""
    assert mark("took 12 s") == "2c6162a2e03a1f33"
    assert mark("no such tool: 'hammer'") == "1d9186e9a8694687"


def test_a_context_has_the_fingerprint_of_its_parts() -> None:
    context = ErrorContext.create(caught(), "tools", "choose", kind="persistent", error_type="PersistentError")
    expected = fingerprint("persistent", "tools", "choose", "PersistentError", "no such tool: hammer")
    assert context.fingerprint == expected


@pytest.mark.parametrize(
    "bait",
    ["'" * 10_000, "'a" * 5_000, "a" * 10_000, "a1" * 5_000, "/" * 10_000, "a.b@" * 2_500, ":" * 10_000,
     "f:" * 5_000, "deadbeef-" * 1_100, "1." * 5_000, "-" * 10_000 + "@", "\\" * 10_000, "`" * 9_999, "a" * 10_000 + "!",
     "a/" * 5_000],
    ids=lambda bait: bait[:4].encode().hex(),
)  # fmt: skip
def test_no_message_is_bait_for_the_fingerprint(bait: str) -> None:
    """Ten thousand characters for a pattern that backtracks: one that could explode would hang here."""
    assert len(mark(bait)) == 16


@given(st.text())
def test_any_text_has_a_fingerprint(message: str) -> None:
    assert len(mark(message)) == 16


def test_an_id_is_thirty_two_hex_digits() -> None:
    made = ErrorContext.create(caught(), "a", "b").error_id
    assert len(made) == 32
    assert int(made, 16) >= 0


def test_what_the_classifier_found_is_no_metadata_and_all_else_is() -> None:
    context = ErrorContext.create(
        caught(), "a", "b", metadata={"tool": "saw", "kept": 1}, tool="hammer", kind="persistent", error_type="PersistentError",
        is_transient=True, recovery_strategy=RecoveryStrategy.RELOAD_CONFIG, reason="I saw it", retry_after_s=2.5, colour="red",
    )  # fmt: skip
    assert context.metadata == {"tool": "hammer", "kept": 1, "colour": "red"}
    found = (context.kind, context.error_type, context.is_transient, context.recovery_strategy, context.reason, context.retry_after_s)
    assert found == ("persistent", "PersistentError", True, RecoveryStrategy.RELOAD_CONFIG, "I saw it", 2.5)


def test_the_callers_metadata_is_not_changed() -> None:
    metadata = {"tool": "saw"}
    ErrorContext.create(caught(), "a", "b", metadata=metadata, tool="hammer")
    assert metadata == {"tool": "saw"}


def test_of_a_long_stack_as_much_is_left_out_as_is_said() -> None:
    text = "".join(chr(0x4E00 + n % 20_000) for n in range(200_000))
    stack = ErrorContext.create(ValueError(text), "a", "b").stack_trace
    whole = f"ValueError: {text}\n"
    beginning, said, end = stack.split("\n", 2)
    assert whole.startswith(beginning)
    assert whole.endswith(end)
    assert len(beginning) == len(end), "as much of each"
    assert said == f"… ({len(whole) - len(beginning) - len(end)} characters left out)"
    assert MAX_STACK_CHARACTERS - 100 < len(stack) <= MAX_STACK_CHARACTERS


@pytest.mark.parametrize("more", [0, 1])
def test_a_stack_that_just_fits_is_kept_whole(more: int) -> None:
    around = len("ValueError: \n")
    stack = ErrorContext.create(ValueError("x" * (MAX_STACK_CHARACTERS - around + more)), "a", "b").stack_trace
    assert ("characters left out" in stack) is bool(more)


def test_a_stack_that_cannot_be_written_says_so() -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]
            raise LookupError

    assert ErrorContext.create(Odd(), "a", "b").stack_trace == "(its stack cannot be read: LookupError)"


def test_pickle_writes_the_stack_and_all_else_as_it_is() -> None:
    context = ErrorContext.create(caught(), "tools", "choose", tool="hammer")
    state = context.__getstate__()
    assert state["stack_trace"] == context.stack_trace
    assert {**context.__dict__} == state


def test_only_the_first_500_stable_characters_and_10_000_of_the_message_count() -> None:
    assert mark("a" * 500) == mark("a" * 501) == mark("a" * 500 + "b")
    assert mark("a" * 499) != mark("a" * 500)
    quoted = "'" + "x" * 9_993 + "'"
    assert mark(f"{quoted} tail") == mark(f"{quoted} tails are cut") != mark(f"{quoted} tai")


def test_a_lone_half_of_a_character_does_no_harm() -> None:
    assert mark("half \ud800 here") == mark("half ? here")


def test_words_are_compared_whatever_separates_them() -> None:
    """Parts are kept apart, so that what moves from one into the next is another trouble."""
    assert fingerprint("a", "bc", "d", "e", "f") != fingerprint("ab", "c", "d", "e", "f")
    assert mark("a b") != mark("ab")
