"""Secrets that stand behind the option that names them."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.config.options import secret_places, without_assigned, without_option_values
from resilience.redaction import REDACTED, Redactor

CLEAN = Redactor(("mine",))


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["bot", "--password", "x", "y"], {2}),
        (["--api-key", "x", "--mine", "-y"], {1, 3}),
        (["-token", "x"], {1}),
        (["/PASSWORD", "x"], {1}),
        (["--password", "--verbose", "x"], set()),
        (["--password", None, "--token", 5], {1, 3}),
        (["--password"], set()),
        (["password", "x"], set()),
        (["--password=a", "x"], set()),
        (["/opt/token", "x"], set()),
        (["--port", "80"], set()),
        ([], set()),
    ],
)
def test_what_stands_behind_an_option_that_names_a_secret(values: list[Any], places: set[int]) -> None:
    """A path, a word that is no option, and an option that follows another hide nothing."""
    assert secret_places(values, CLEAN.is_secret) == places


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--password=a b\nc", f"--password={REDACTED}"),
        ("-mine=a=b", f"-mine={REDACTED}"),
        ("/token=a", f"/token={REDACTED}"),
        ("DB_PASSWORD=a b", f"DB_PASSWORD={REDACTED}"),
        ("--password=", "--password="),
        ("--port=80", "--port=80"),
        ("say --password=a", "say --password=a"),
    ],
)
def test_what_a_secret_is_set_to_is_taken_out_to_its_end(text: str, shown: str) -> None:
    """It may be words with spaces between them."""
    assert without_assigned(text, CLEAN.is_secret) == shown
    assert without_option_values([text, {"a": [text]}], CLEAN) == [shown, {"a": [shown]}]


def test_lists_are_gone_over_wherever_they_stand() -> None:
    value = {"a": [("--token", "x"), {"b": ["--mine", {"c": 1}]}], "d": 5, "e": "--token"}
    assert without_option_values(value, CLEAN) == {"a": [["--token", REDACTED], {"b": ["--mine", REDACTED]}], "d": 5, "e": "--token"}
