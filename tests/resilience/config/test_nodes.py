"""Texts that are not even YAML, that are meant to exhaust the reader, and any others."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilience.config.file import ConfigError, parse
from resilience.config.settings import Settings
from tests.resilience.config.reading import DOCUMENT, only_problem, problems

# What is not even YAML


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("error_handling:\n\ttray:\n", 2, "indent with spaces"),
        ("error_handling:\n  a: b: c\n", 2, "needs quotes"),
        ("error_handling:\n  tray\n  retry: {}\n", 3, "':' of the key before"),
        ("error_handling:\n  a: [1, 2\n", 3, "cannot be read"),
        ("error_handling:\n  retry: {}\n tray: {}\n", 3, "indentation"),
        ('error_handling:\n  a: "C:\\winclaw"\n', 2, "single quotes"),
        ("error_handling:\n  a: *.log\n", 2, "in quotes"),
        ("error_handling:\n  a: @b\n", 2, "in quotes"),
        ("error_handling: {}\n---\na: 1\n", 2, "remove the line '---'"),
        ('a: "\\UFFFFFFFF"\n', 1, "no such character"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", 1, "no such character or version"),
        ("a: b\nc: \0\n", 2, "U+0000"),
        ("a: \x1b[2J\n", 1, "U+001B"),
        (b"a: b\nc: \xe9t\xe9\n", 2, "byte 8 (0xe9) is not UTF-8"),
        (b"\xef\xbb\xbfa: \xe9\n", 1, "byte 6 (0xe9) is not UTF-8"),
        ("a: b\n".encode("utf-16"), 1, "UTF-16"),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_line_and_hint(text: str | bytes, line: int, said: str) -> None:
    path, found_line, message = only_problem(text)
    assert (path, found_line) == ("", line)
    assert said in message


def test_the_column_is_counted_in_characters() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("ä: 1\nöü: \xe9 \xff".encode()[:-2] + b"\xff")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 7)


# What is meant to exhaust the reader


def laughs(times: int) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, times)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(50), "belongs under error_handling:"),
        ("error_handling: &a {retry: *a, tray: *a}", "no such setting"),
        ("error_handling: {redaction: {names: &a [*a, *a]}}", "not a list"),
        ("[" * 100_000, "nested deeper than"),
        ("- " * 100_000, "nested deeper than"),
        ("? " * 100_000, "nested deeper than"),
        ("a: [" + "1, " * 100_000 + "]", "more than 20000 values"),
        ("error_handling: {redaction: {names: [" + "x, " * 15_000 + "]}}", None),
        ("a" * (1024 * 1024 + 1), "1 MiB"),
        (b"a" * (1024 * 1024 + 1), "1 MiB"),
    ],
    ids=lambda one: str(one)[:20],
)
def test_a_file_made_to_exhaust_the_reader_is_refused_early(text: str | bytes, said: str | None) -> None:
    if said is None:
        parse(text)
    else:
        assert said in problems(text)[0][2]


def test_aliases_that_multiply_are_refused() -> None:
    """Each alias is one value of the file, but the settings would hold a copy of all that is behind it."""
    copies = ", ".join(["*r"] * 14_000)
    rules = "&r {name: a, condition: gmail_api.unhealthy, target_level: MINIMAL, priority: 1}"
    text = f"error_handling: {{degradation: {{rules: [{rules}, {copies}]}}}}"
    [(path, line, said)] = problems(text)
    assert "aliases make more than" in said
    assert path.startswith("error_handling.degradation.rules[")
    assert line == 1


def test_it_stops_looking_after_a_hundred_problems() -> None:
    found = problems("error_handling:\n" + "".join(f"  k{n}: 1\n" for n in range(5_000)))
    assert [path for path, _, _ in found] == [f"error_handling.k{n}" for n in range(100)]


# Any text, any bytes

_PIECES = st.sampled_from([
    *"-[]{},?&*!|>'\"%@`#~:\n\t\0", "\n  ", "\n    ", "\ufeff", "\x85", "\u2028", "---", "<<:", "&a", "*a", "''", "{}",
    "[]", "error_handling:", "retry:", "services:", "tray:", "toasts:", "gpt-5.2", "true", "1", "1_1", "12:30", "0x1F",
    "!!int", "!!null", "!!str", "!!bool", "!!map", "!!python/object:os.system",
])  # fmt: skip
_CHANGED = st.builds(
    lambda at, gone, piece: f"{DOCUMENT[:at]}{piece}{DOCUMENT[at + gone :]}",
    st.integers(0, len(DOCUMENT)),
    st.integers(0, 30),
    _PIECES,
)
"""The document's example with a small change somewhere."""


def outcome(content: str | bytes) -> Settings | ConfigError:
    try:
        return parse(content)
    except ConfigError as error:
        return error


@settings(max_examples=300)
@given(
    st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=40).map(" ".join), st.binary(max_size=200), _CHANGED)
)
@example(b"\xff\xfe\x00")
@example("\ud800")
def test_any_content_gives_settings_or_a_config_error(content: str | bytes) -> None:
    found = outcome(content)
    if isinstance(found, ConfigError):
        assert found.problems
        str(found).encode()
