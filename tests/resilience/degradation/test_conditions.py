"""The language of the rules: what it can say, and what is said of a text that it cannot."""

from __future__ import annotations

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


def test_a_condition_knows_which_of_its_services_are_unwell() -> None:
    condition = Condition("gmail_api.unhealthy or twilio_api.unhealthy and not security.error_count > 3", SERVICES)
    assert condition.names == {"gmail_api", "twilio_api", "security"}
    assert condition.unwell(circumstances()) == {"gmail_api"}


def test_a_long_chain_of_nots_is_no_trouble() -> None:
    assert Condition("not " * 240 + "gmail_api.unhealthy", SERVICES)(circumstances())


@given(st.text(alphabet="abgmil_.-52 ()[],<>=!'\"notrx\n", max_size=60) | st.text(max_size=40))
def test_any_text_is_understood_or_refused_with_a_column(text: str) -> None:
    """Nothing else ever comes out, whatever goes in."""
    refused = None
    try:
        Condition(text)(circumstances())
    except ConditionError as error:
        refused = error
    assert refused is None or (refused.what and 1 <= refused.column <= len(text) + 1)
