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
        'authorization: token="abcdefgh"',
        "X-Api-Key: id='abcdefgh', 7",
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


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        ("password=hunter2, user=bob; token: abcd.", "password=[redacted], user=bob; token: [redacted]"),
        ("token=abcd token=efgh and more", "token=[redacted] token=[redacted] and more"),
        ("password=token=abcd x", "password=[redacted] x"),  # what stands in a secret is looked at no more
        ("password='a b' pwd=\"c d\"", "password=[redacted] pwd=[redacted]"),
        ("PASSWORD=hunter2", "PASSWORD=[redacted]"),
        ("my-api-key: abcd", "my-api-key: [redacted]"),
        ("Bearer abcdef.g and BASIC dXNlcjpwYXNz", "Bearer [redacted] and BASIC [redacted]"),
        ("at https://bob:hunter2@host/x", "at https://bob:[redacted]@host/x"),
        ("password=ab", "password=ab"),  # too short to be one
        (f'{{"token": "{"S" * 2500}"}}', '{"token": [redacted]}'),  # however long
        (f"token={'S' * 2500}, x", "token=[redacted], x"),
        (f"Cookie: {'S' * 9000}\nx", "Cookie: [redacted]\nx"),
        (r'{"password": "abc\"tail", "x": 1}', '{"password": [redacted], "x": 1}'),
        (r"{'password': 'it\'s\\', 'x': 1}", "{'password': [redacted], 'x': 1}"),
        ('password: "cut off, the rest\nnext', "password: [redacted]\nnext"),
        ("password: 'cut off, the rest\nnext", "password: [redacted]\nnext"),
        ("password='' pwd=\"\"", "password='' pwd=\"\""),
        ("password=b'a b' pwd=Rb\"c d\" x", "password=[redacted] pwd=[redacted] x"),
        ("{'api_key': ('k', (1, 'x)')), 'y': 2}", "{'api_key': [redacted], 'y': 2}"),
        ("secret: [a, b] c; token={'d': [1]} e", "secret: [redacted] c; token=[redacted] e"),
        ("secret=SecretStr('a b', 1) c", "secret=[redacted] c"),
        ("secret=array[1, 2] c token=Key{'x': 1} d", "secret=[redacted] c token=[redacted] d"),
        ("secret: (a, b\nc", "secret: [redacted]\nc"),
        ("secret: (a, b", "secret: [redacted]"),
        ("secret: (a)", "secret: [redacted]"),
        ("secret: ()", "secret: ()"),
        ("unexpected token: (\nnext", "unexpected token: (\nnext"),
        ("Authorization: Token 9944b091\r\nAccept: x", "Authorization: [redacted]\r\nAccept: x"),
        ('HTTP_AUTHORIZATION=Digest username="u", response="dead"\nx', "HTTP_AUTHORIZATION=[redacted]\nx"),
        ("{'proxy-authorization': 'ApiKey a b', 'x': 1}", "{'proxy-authorization': [redacted], 'x': 1}"),
        ("authorization:'a b'authorization: c", "authorization:[redacted]authorization: [redacted]"),
        ("authorization: [redacted] tail", "authorization: [redacted] tail"),
        ("authorization:", "authorization:"),
        ("the password is lost", "the password is lost"),
        ("a\x00b\u202ec", "a\ufffdb\ufffdc"),
    ],
)
def test_the_rest_of_a_text_stays_as_it_is(text: str, redacted: str) -> None:
    assert Redactor().text(text) == redacted


def test_a_text_in_which_names_are_secrets_in_several_ways() -> None:
    """A name that somebody added is found in whatever case it was given, as a word of a text and as a key."""
    redactor = Redactor(["PIN", "x"])
    assert redactor.text("Pin=1234 pin: 5678 spin=9999") == "Pin=[redacted] pin: [redacted] spin=9999"
    assert redactor.value({"PiN": 1, "X": 2, "xx": 3}) == {"PiN": REDACTED, "X": REDACTED, "xx": 3}


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True), ("PassWord", True), ("db-password", True), ("client_secret", True), ("APIKEY", True),
        ("pwd", True), ("mypwd", False),  # short ones only alone: "auth" ends many words
        ("oauth", False), ("auth", True), ("token", True), ("refresh_token", True), ("tokens", False), ("count", False), ("", False),
    ],
)  # fmt: skip
def test_a_name_is_a_secrets_alone_or_as_the_last_word(name: str, secret: bool) -> None:
    assert Redactor().is_secret(name) is secret


def test_structures_keep_their_shape() -> None:
    assert Redactor().value(("a", 1, 2.5, None, True, [f"key {KEY}"])) == ["a", 1, 2.5, None, True, [f"key {REDACTED}"]]
    assert Redactor().value({1: "x", f"k {KEY}": "y"}) == {"1": "x", f"k {REDACTED}": "y"}
    assert Redactor().value({"password": "", "token": 0, "secret": [], "pwd": False}) == {"password": "", "token": 0, "secret": [], "pwd": False}


def test_twenty_levels_are_kept_whatever_they_are_made_of() -> None:
    def deep(levels: int) -> object:
        value: object = "bottom"
        for level in range(levels):
            value = [{"in": value}, (value,), [value]][level % 3]
        return value

    assert "bottom" in str(Redactor().value(deep(MAX_DEPTH)))
    assert "too deep" not in str(Redactor().value(deep(MAX_DEPTH)))
    assert "bottom" not in str(Redactor().value(deep(MAX_DEPTH + 1)))
    assert "[too deep]" in str(Redactor().value(deep(MAX_DEPTH + 1)))


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


def test_half_characters_are_taken_out_and_whole_ones_kept() -> None:
    """A lone surrogate is a str to Python and to nobody else: neither the disk nor the wire takes it."""
    assert Redactor().text("\ud7ff\ud800 \udfff\ue000 \U0001f600") == "\ud7ff\ufffd \ufffd\ue000 \U0001f600"


@given(st.text(max_size=2000))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor()
    once = redactor.text(text)
    assert redactor.text(once) == once


@pytest.mark.parametrize(
    "bait",
    [
        "password", "a:", "bearer ", "://a:", "eyJ", "PRIVATE KEY-----BEGIN ", "cookie:", "password='", "=", "authorization:",
        "password=(", "password=(\n", "password=\"\\", "password='\n", "token=b", "token=a(", "token=(\"", "token: '(\" ", "token=[]",
    ],
)  # fmt: skip
def test_bait_for_backtracking_is_worked_off(bait: str) -> None:
    """What a pattern looks ahead is bounded or taken; one that could explode would hang here."""
    Redactor().text(bait * (200_000 // len(bait)))
