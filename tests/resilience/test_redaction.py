from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.redaction import MAX_DEPTH, REDACTED, Redactor

KEY = "sk-proj-abcdefghijklmnop1234"


@pytest.mark.parametrize(
    "text",
    [
        f"401 from api: {KEY}",
        f"OPENAI_API_KEY={KEY}",
        "Authorization: Bearer abc.def-ghi_jkl",
        "curl -H 'Authorization: Basic dXNlcjpwYXNz'",
        "postgres://admin:hunter2@db:5432/x",
        "Cookie: session=abc; theme=dark",
        "set-cookie: id=1234567",
        '{"password": "hunter2 with spaces"}',
        "{'api_key': 'abcdefgh'}",
        "https://x/y?token=abcdefgh&z=1",
        "AKIAIOSFODNN7EXAMPLE is the key",
        "ghp_abcdefghijklmnopqrstuvwx",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_taken_out_of_texts(text: str) -> None:
    redacted = Redactor().text(text)
    assert REDACTED in redacted
    for secret in (KEY, "abc.def-ghi_jkl", "dXNlcjpwYXNz", "hunter2", "session=abc", "1234567", "abcdefgh", "AKIA", "MIIE"):
        assert secret not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "Connection refused: 127.0.0.1:8080",
        "max_tokens: 4096 is too much",
        "the author: Bob",
        "File \"/home/x/app.py\", line 12, in ask",
        "expected token ')' at line 3",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_names_that_the_user_adds_are_secrets_too() -> None:
    redactor = Redactor(["pin", "Licence-Code"])
    assert "1234" not in redactor.text("pin=1234, licence_code: ABCD-1234")
    assert redactor.value({"licenceCode": "x"}) == {"licenceCode": REDACTED}


def test_values_under_secret_names_go_whatever_they_are() -> None:
    given_value = {"headers": {"X-Api-Key": "abc", "Accept": "*/*"}, "DB_PASSWORD": ["a", "b"], "count": 3, "token": None}
    assert Redactor().value(given_value) == {
        "headers": {"X-Api-Key": REDACTED, "Accept": "*/*"}, "DB_PASSWORD": REDACTED, "count": 3, "token": None,
    }  # fmt: skip


def test_structures_are_cut_off_below_twenty_levels() -> None:
    deep: object = "bottom"
    for _ in range(500):
        deep = [deep]
    found = Redactor().value(deep)
    for _ in range(MAX_DEPTH):
        found = found[0]
    assert found == "[too deep]"


def test_control_and_direction_characters_cannot_fool_a_reader() -> None:
    assert "\x1b" not in Redactor().text("\x1b[2J\x1b]0;title\x07")
    assert "\u202e" not in Redactor().text("exe.\u202etxt")
    assert Redactor().text("a\tb\nc") == "a\tb\nc"


@given(st.text(max_size=2000))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor()
    once = redactor.text(text)
    assert redactor.text(once) == once


@pytest.mark.parametrize("bait", ["password", "a:", "bearer ", "://a:", "eyJ", "PRIVATE KEY-----BEGIN ", "cookie:", "password='", "="])
def test_bait_for_backtracking_is_worked_off(bait: str) -> None:
    """What a pattern may look ahead is bounded; one that could explode would hang here."""
    Redactor().text(bait * (200_000 // len(bait)))
