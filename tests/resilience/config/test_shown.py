"""What is shown of a configuration holds no secret, however YAML lets one write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.config.difference import changed_settings
from resilience.config.file import parse
from resilience.config.shown import as_shown, as_yaml, described, listed, redactor_of, without_secrets
from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions, digest

WAYS = {
    "a block": "environment:\n        API_TOKEN: |\n          hunter2\n          hunter2",
    "a folded block": "environment:\n        MY_SECRET: >-\n          hunter2",
    "the next line": 'environment:\n        "AUTH_TOKEN":\n          hunter2',
    "two lines in quotes": "environment:\n        DB_PASSWORD: 'one\n          hunter2'",
    "an anchor": "environment:\n        PASSWD: &a hunter2",
    "an alias": "folder: &a hunter2\n      environment: {PASSWD: *a}",
    "a tag": "environment:\n        TOKEN: !!str hunter2",
    "a flow table": 'environment: {PASSWORD: "hunter2", X: y,\n        ACCESS_KEY:\n          "hunter2"}',
    "a complex key": "environment:\n        ? TOKEN\n        : hunter2",
    "a list": "command: [bot, --password, hunter2, --token=hunter2]",
    "a list with words": "command: [bot, '--password=correct horse hunter2', 'DB_PASSWORD=a hunter2', /token=a hunter2]",
    "a list over lines": "command:\n        - bot\n        - --api-key\n        - hunter2",
    "a comment": "port: 80 # token: hunter2",
    "a command in a comment": "port: 80 # was: [bot, '--password', 'hunter2', --token hunter2]",
    "a name of the user's": "environment: {MINE: hunter2}",
}
NAMES = "  redaction: {names: [mine]}\n"


def written(way: str, secret: str = "hunter2") -> str:
    command = "" if "command:" in WAYS[way] else "      command: [bot]\n"
    return f"error_handling:\n  processes:\n    bot:\n{command}      {WAYS[way].replace('hunter2', secret)}\n{NAMES}"


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_shown_nowhere_however_it_is_written(way: str, tmp_path: Path) -> None:
    """In the text, line by line, in what changed, and in the settings in force."""
    versions = Versions(tmp_path)
    text, other = written(way), written(way, "hunter99")
    for number, one in ((1, text), (2, other)):
        versions.add(ConfigVersion(number=number, sha256=digest(one), author="x", replaces=number - 1 or None), one)
    settings = parse(text)
    if way != "an alias":  # there the very same text is also the folder of a process, which the settings in force must say
        shown = as_shown(settings, 1)
        assert "hunter" not in f"{shown}{as_yaml(shown['settings'])}"
        assert "hunter" not in str(described(versions, 2, settings, None))
    seen = without_secrets(text, redactor_of(settings))
    assert "hunter" not in seen
    assert "[redacted]" in seen
    assert "bot" in seen


def test_a_version_is_shown_without_what_it_calls_a_secret_itself(tmp_path: Path) -> None:
    """The names of secrets that are in force now may be others."""
    versions, text = Versions(tmp_path), written("a name of the user's")
    versions.add(ConfigVersion(number=1, sha256=digest(text), author="x"), text)
    assert "hunter2" not in str(described(versions, 1, parse(""), None))


def test_a_comment_about_an_option_stays_as_far_as_it_can_be_no_secret() -> None:
    comment = "# --token --verbose, --password env:NAME, -p 80, --port 80; see the --api-key, --token\n"
    assert without_secrets(comment, redactor_of()) == comment


def test_a_name_of_a_secret_that_went_together_with_it_is_known_of_all_the_same(tmp_path: Path) -> None:
    versions, text, after = Versions(tmp_path), written("a name of the user's"), "error_handling: {}\n"
    versions.add(ConfigVersion(number=1, sha256=digest(text), author="x"), text)
    versions.add(ConfigVersion(number=2, sha256=digest(after), author="x", replaces=1), after)
    shown = described(versions, 2, parse(after), None)
    assert "-      environment: {MINE: [redacted]}" in shown["diff"]
    assert "hunter2" not in str(shown)


def test_what_is_called_a_secret_later_is_taken_out_of_earlier_versions(tmp_path: Path) -> None:
    """Somebody sees a secret on the page, and names it."""
    versions, named = Versions(tmp_path), written("a name of the user's", "hunter99")
    old, new = (written("a name of the user's", one).replace(NAMES, "") for one in ("hunter2", "hunter99"))
    changed = changed_settings(parse(old), parse(new), redactor_of())
    assert changed == ("processes.bot.environment.MINE: hunter2 → hunter99",)
    versions.add(ConfigVersion(number=1, sha256=digest(new), author="x", changed=(*changed, "dashboard.port: 1 → 2")), new)
    [one] = listed(versions, parse(named), None)
    assert one["changed"] == ["processes.bot.environment.MINE: [redacted] → another one", "dashboard.port: 1 → 2"]
    assert "hunter" not in str(described(versions, 1, parse(named), None))


def test_of_a_text_that_is_no_yaml_the_lines_are_looked_at() -> None:
    assert without_secrets("\ufeffa: [\npassword: hunter2\n\x1b", redactor_of()) == "a: [\npassword: [redacted]\n\ufffd"
