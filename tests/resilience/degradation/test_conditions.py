"""The language of the rules: what it can say, and what is said of a text that it cannot."""

from __future__ import annotations

import inspect
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.config.settings import Settings
from resilience.degradation.conditions import MAX_LENGTH, Condition, ConditionError
from resilience.degradation.health import Circumstances, ServiceHealth

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = [*Settings().services, "my service"]


def circumstances(level_age_s: float = 0.0, **unwell: str) -> Circumstances:
    found = Circumstances(
        {
            "gmail_api": ServiceHealth("gmail_api", False, NOW, 12, 250.0, "OPEN", 0.25, 90.0, "3 calls in a row failed"),
            "twilio_api": ServiceHealth("twilio_api", True, NOW, 1, 3.0, "CLOSED"),
            "security": ServiceHealth("security", True, NOW, 11),
            **{name: ServiceHealth(name, False, NOW, circuit_state=state) for name, state in unwell.items()},
        }
    )
    found.level_age_s = level_age_s
    return found


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("gmail_api.unhealthy", True),
        ("gmail_api.healthy", False),
        ("gpt-5.2.unhealthy", False),  # nobody has told of it
        ("twilio_api.unhealthy or gmail_api.unhealthy", True),
        ("twilio_api.unhealthy and gmail_api.unhealthy", False),
        ("not twilio_api.unhealthy", True),
        ("not twilio_api.unhealthy and gmail_api.healthy", False),  # not binds closer than and
        ("not (twilio_api.unhealthy and gmail_api.healthy)", True),
        ("twilio_api.healthy or gmail_api.healthy and gpt-5.2.unhealthy", True),  # and closer than or
        ("count_unhealthy([gmail_api, twilio_api, browser_control]) >= 2", False),
        ("count_unhealthy([gmail_api]) == 1", True),
        ("1 <= count_unhealthy([gmail_api])", True),
        ("security.error_count > 10", True),
        ("security.error_count > 11", False),
        ("gmail_api.error_rate >= 0.25", True),
        ("gmail_api.error_count != 12", False),
        ("gmail_api.response_time_ms > 249.5", True),
        ("gmail_api.unhealthy_for_s >= 90", True),
        ("gmail_api.circuit == open", True),
        ("twilio_api.circuit != closed", False),
        ("gpt-5.2.circuit == closed", True),
        ("gmail_api.error_count >= 12", True),
        ("gmail_api.error_count <= 12", True),
        ("gmail_api.error_count < 12", False),
        ("gmail_api.error_count == 12", True),
        ("3.5 < gmail_api.error_count", True),
        ("gmail_api.healthy and gmail_api.healthy or twilio_api.healthy", True),
        ("twilio_api.healthy and twilio_api.healthy and gmail_api.healthy", False),
        ("count_unhealthy([twilio_api, gmail_api, gmail_api]) == 2", True),
        ("(twilio_api.unhealthy or gmail_api.unhealthy) and twilio_api.unhealthy", False),
        ("platform.error_count == 0", True),  # a branch of errors that nobody has told of
        ("closed == twilio_api.circuit", True),
        ("gmail_api.circuit == twilio_api.circuit", False),
        ("level.age_s < 600", True),
        ("level.age_s >= 600", False),
        ("gmail_api.error_count > twilio_api.error_count", True),
        ("'my service'.unhealthy", False),
        ('"my service".healthy', True),
        ("count_unhealthy(['my service', gmail_api]) == 1", True),
        ("\n gmail_api.unhealthy\t and\n not gpt-5.2.unhealthy ", True),
    ],
)
def test_a_condition_holds_as_it_reads(text: str, holds: bool) -> None:
    assert Condition(text, SERVICES)(circumstances()) is holds


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "it ends too early; possible: (, a name, a number, not"),
        ("gpt-5.2.unhealty", 9, "'unhealty' cannot be asked; did you mean 'unhealthy'?"),
        ("gpt-5.2", 1, "say what of it is meant: gpt-5.2.unhealthy"),
        ("gtp-5.2.unhealthy", 1, "there is no service 'gtp-5.2'; did you mean 'gpt-5.2'?"),
        ("count_unhealthy([gmail_api, twillio_api]) > 1", 29, "there is no service 'twillio_api'; did you mean 'twilio_api'?"),
        ("count_unhealthy([]) > 1", 1, "count_unhealthy counts services; name them"),
        ("count_healthy([gmail_api]) > 1", 1, "there is no 'count_healthy'; there is count_unhealthy"),
        ("gmail_api.error_count", 1, "that is a number; compare it"),
        ("gmail_api.circuit", 1, "that is the state of a circuit; compare it with: == open"),
        ("gmail_api.circuit > open", 19, "compared with == or !="),
        ("gmail_api.circuit == opened", 22, "did you mean 'open'?"),
        ("gmail_api.error_count > open", 25, "a number cannot be compared with a state"),
        ("gmail_api.unhealthy == 1", 1, "true or false by itself"),
        ("gmail_api.unhealthy and", 24, "it ends too early"),
        ("gmail_api.unhealthy && x", 21, "'&' is not understood; write 'and'"),
        ("gmail_api.error_count = 3", 23, "'=' is not understood; write '=='"),
        ("gmail_api.healthy AND gmail_api.healthy", 19, "write it small: and"),
        ("(gmail_api.healthy", 19, "it ends too early; possible: )"),
        ("gmail_api.healthy)", 18, "')' cannot stand here"),
        ("security.unhealthy", 1, "its error_count can be asked, nothing else"),
        ("zzz.unhealthy", 1, "add it under services:"),
        ("__import__('os').system('rm')", 12, "cannot stand here"),
        ("gmail_api.__class__", 11, "'__class__' cannot be asked"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "at most 1000 characters"),
        ("not gmail_api.error_count", 5, "that is a number; compare it"),
        ("gmail_api.healthy and gmail_api.error_count", 23, "that is a number; compare it"),
        ("gmail_api.circuit or gmail_api.healthy", 1, "that is the state of a circuit"),
        ("(gmail_api.healthy or twilio_api.healthy) > 1", 2, "true or false by itself"),
        ("'gmail_api.healthy'", 1, "is not understood; a service is asked as NAME.unhealthy"),
        ('"gmail_api.healthy"', 1, "is not understood; a service is asked as NAME.unhealthy"),
        ("gmail_api.healthy NOT x", 19, "write it small: not"),
        ("(gmail_api.error_count)", 2, "that is a number; compare it"),
        ("1 == gmail_api.unhealthy", 6, "true or false by itself"),
        ("1 == (gmail_api.healthy and twilio_api.healthy)", 7, "true or false by itself"),
        ("1 == (gmail_api.healthy or twilio_api.healthy)", 7, "true or false by itself"),
        ("1 == (not gmail_api.healthy)", 11, "true or false by itself"),
        ("open == 1", 9, "a state cannot be compared with a number"),
        ("open < closed", 6, "a circuit's state is compared with == or !="),
        ("gmail_api.healthy and >", 23, "'>' cannot stand here; possible: (, a name, a number"),
        ("gmail_api.healthy Or x", 19, "'Or' cannot stand here; write it small: or; possible: "),
        ("Not gmail_api.healthy", 5, "'gmail_api.healthy' cannot stand here; possible: (, ), a comparison such as >=, and, or"),
        ("gmail_api.healthy gmail_api.healthy", 19, "possible: (, ), a comparison such as >=, and, or"),
        ("count_unhealthy([gmail_api", 27, "it ends too early; possible: ], a comma"),
        ("gmail_api.healthy ? 1", 19, "'?' is not understood; a name with other characters than A-Z, 0-9, _ - . needs quotes"),
        ("gmail_api.healthy or\n  gmail_api.helthy", 13, "'helthy' cannot be asked; did you mean 'healthy'?"),
        ("gmail_api.ERROR_COUNT > 1", 11, "'ERROR_COUNT' cannot be asked; did you mean 'error_count'?"),
        ("gmail_api.zzz", 11, "'zzz' cannot be asked; there are unhealthy, healthy, error_count, error_rate, response_time_ms,"),
        ("'gmail_apy'.healthy", 1, "there is no service 'gmail_apy'; did you mean 'gmail_api'?"),
        ("'my service'", 1, "say what of it is meant: 'my service'.unhealthy, for example"),
        ('count_unhealthy(["my servic"]) > 0', 18, "there is no service 'my servic'; did you mean 'my service'?"),
        ("unhealthy > 1", 1, "'unhealthy' is not understood; did you mean 'unhealthy'?; a service is asked as NAME.unhealthy"),
        ("xyzzy", 1, "'xyzzy' is not understood; a service is asked as NAME.unhealthy"),
        ("security.circuit == open", 1, "security is a branch of errors; its error_count can be asked, nothing else"),
        ("gmail_api.healthy & x", 19, "write 'and'"),
        ("gmail_api.healthy | x", 19, "write 'or'"),
        ("! gmail_api.healthy", 1, "write 'not'"),
        ("count_unhealthy({x}) > 1", 17, "write '['"),
        ("gmail_api.error_count ≥ 3", 23, "write '>='"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_its_column_and_a_way_out(text: str, column: int, said: str) -> None:
    with pytest.raises(ConditionError) as refused:
        Condition(text, SERVICES)
    assert (refused.value.column, said in refused.value.what) == (column, True), refused.value


def test_without_a_table_of_services_any_name_will_do() -> None:
    assert Condition("whatever-1.x.healthy").names == {"whatever-1.x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gmail_api.unhealthy", "gmail_api is not answering (3 calls in a row failed)"),
        ("count_unhealthy([gmail_api, twilio_api]) >= 1", "1 of 2 services are not answering (gmail_api) (>= 1)"),
        ("security.error_count > 10", "security has 11 errors (> 10)"),
        ("twilio_api.unhealthy or gmail_api.circuit == open", "the circuit of gmail_api is open (== open)"),
        ("not twilio_api.unhealthy", "not so: twilio_api is not answering"),
        ("gmail_api.unhealthy and level.age_s > 60", "gmail_api is not answering (3 calls in a row failed) and the level is 90 s old (> 60)"),
    ],
)
def test_the_cause_is_told_with_the_present_values(text: str, said: str) -> None:
    condition = Condition(text, SERVICES)
    assert condition.because(circumstances(level_age_s=90)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("twilio_api.healthy", "twilio_api is answering"),
        ("twilio_api.unhealthy", "twilio_api is not answering"),
        ("gmail_api.error_rate > 0.2", "gmail_api fails 25% of its calls (> 0.2)"),
        ("gmail_api.response_time_ms > 200", "gmail_api takes 250 ms (> 200)"),
        ("gmail_api.unhealthy_for_s > 60", "gmail_api has not answered for 90 s (> 60)"),
        ("count_unhealthy([twilio_api, security]) < 1", "0 of 2 services are not answering (< 1)"),
        ("count_unhealthy([gmail_api, down, twilio_api]) > 1", "2 of 3 services are not answering (gmail_api, down) (> 1)"),
        ("down.circuit == half_open", "the circuit of down is half_open (== half-open)"),
        ("gmail_api.error_count > twilio_api.error_count", "gmail_api has 12 errors (> twilio_api has 1 errors)"),
        ("2.50 < gmail_api.error_count", "2.5 (< gmail_api has 12 errors)"),
        # Of several, those that decide; where it does not hold, those that are against it.
        ("gmail_api.unhealthy or down.unhealthy", "gmail_api is not answering (3 calls in a row failed) or down is not answering"),
        ("gmail_api.unhealthy and twilio_api.unhealthy", "twilio_api is not answering"),
        ("not (twilio_api.unhealthy or down.healthy)", "not so: twilio_api is not answering or down is answering"),
        ("not gmail_api.healthy", "not so: gmail_api is answering (3 calls in a row failed)"),
        ("not not twilio_api.healthy", "not so: not so: twilio_api is answering"),
    ],
)
def test_every_part_has_its_words(text: str, said: str) -> None:
    assert Condition(text).because(circumstances(down="HALF_OPEN")) == said


def test_a_condition_names_each_service_that_any_part_asks_for() -> None:
    text = "not a.healthy and (count_unhealthy([b, c]) > d.error_count or 1 < 2 or level.age_s > 1 or e.circuit == open)"
    condition = Condition(text)
    assert condition.names == {"a", "b", "c", "d", "e"}
    assert condition.text == text
    assert condition.unwell(circumstances(b="OPEN", d="OPEN", x="OPEN")) == {"b", "d"}


def test_a_text_of_a_thousand_characters_is_read() -> None:
    text = "gmail_api.healthy".ljust(MAX_LENGTH)
    assert Condition(text, SERVICES)(circumstances()) is False


def test_a_service_may_be_called_like_a_branch_of_errors() -> None:
    """Then all can be asked of it."""
    assert Condition("security.unhealthy", ["security"]).names == {"security"}
    assert Condition("security.error_count > 1", []).names == {"security"}


def test_without_a_table_a_branch_of_errors_is_one_all_the_same() -> None:
    with pytest.raises(ConditionError, match="security is a branch of errors"):
        Condition("security.unhealthy")


def test_a_condition_gives_true_or_false_whatever_its_parts_give() -> None:
    one = ServiceHealth("a", 1, NOW)  # type: ignore[arg-type]
    assert Condition("a.healthy")(Circumstances(a=one)) is True


def test_an_error_is_told_with_its_column() -> None:
    with pytest.raises(ConditionError) as refused:
        Condition("a.b.healthy x")
    assert str(refused.value) == f"column 13: {refused.value.what}"


def test_a_condition_knows_which_of_its_services_are_unwell() -> None:
    condition = Condition("gmail_api.unhealthy or twilio_api.unhealthy and not security.error_count > 3", SERVICES)
    assert condition.names == {"gmail_api", "twilio_api", "security"}
    assert condition.unwell(circumstances()) == {"gmail_api"}


def test_a_long_chain_of_nots_and_many_parentheses_are_no_trouble() -> None:
    assert Condition("not " * 240 + "gmail_api.unhealthy", SERVICES)(circumstances())
    assert Condition("(" * 450 + "gmail_api.unhealthy" + ")" * 450, SERVICES)(circumstances())


def test_what_nests_deeper_than_the_stack_is_refused() -> None:
    """Whoever asks may be deep down already."""
    limit, depth = sys.getrecursionlimit(), len(inspect.stack(0))
    for left in (80, 120, 160):
        sys.setrecursionlimit(depth + left)
        try:
            with pytest.raises(ConditionError) as refused:
                Condition("not " * 240 + "gmail_api.unhealthy", SERVICES)
        finally:
            sys.setrecursionlimit(limit)
        assert (refused.value.column, refused.value.what) == (1, "it nests too deep; make it two rules")


@given(st.text(alphabet="abgmil_.-52 ()[],<>=!'\"notrx\n", max_size=60) | st.text(max_size=40))
def test_any_text_is_understood_or_refused_with_a_column(text: str) -> None:
    """Nothing else ever comes out, whatever goes in."""
    refused = None
    try:
        Condition(text)(circumstances())
    except ConditionError as error:
        refused = error
    assert refused is None or (refused.what and 1 <= refused.column <= len(text) + 1)
