"""What is said at a terminal."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tray.cli_config import config
from tray.terminal import say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tb\u00a0c\u3000d\n", "a\tb\u00a0c\u3000d\n"), ("é → ß", "é → ß"), ("\x1b[2J\u202e\u200d\r\x07", "?[2J????"),
        ("a\u2028b\u2029", "a?b?"),
    ],
)  # fmt: skip
def test_what_only_terminals_understand_is_left_out_and_spaces_of_any_kind_stay(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who copies a version from there gets what was in it."""
    say(text)
    assert capsys.readouterr().out == f"{said}\n"


def test_the_help_says_that_a_version_is_shown_without_secrets() -> None:
    shown = " ".join(CliRunner().invoke(config, ["show", "--help"]).output.split())
    assert "The text of that version instead, without secrets." in shown
