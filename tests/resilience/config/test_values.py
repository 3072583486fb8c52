"""What a single value may be, and what is said of one that it may not be."""

from __future__ import annotations

import pytest

from resilience.config.file import ConfigError, parse
from resilience.config.settings import Settings
from tests.resilience.config.reading import only_problem


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("dashboard: {port: '8765'}", "write it without quotes"),
        ("dashboard: {port: 12:30}", "write it in plain decimal digits"),
        ("dashboard: {port: 010000}", "write it in plain decimal digits"),
        ("dashboard: {port: 0x2000}", "write it in plain decimal digits"),
        ("dashboard: {port: 8765.0}", "must be a whole number"),
        ("dashboard: {port: }", "not empty (leave it out for the default)"),
        ("dashboard: {port: null}", "not empty"),
        ("dashboard: {port: true}", "not true"),
        ("dashboard: {port: [1]}", "not a list"),
        ("dashboard: {port: {a: 1}}", "not a section"),
        ("dashboard: {port: !!python/object:os.system 8765}", "python/object"),
        ("dashboard: {port: !!int [1]}", "not a list (with the tag !!int)"),
        ("dashboard: !!null [1]", "must be a section"),
        ("tray: {toasts: !!bool [1]}", "must be true or false"),
        ("redaction: {names: !!seq a}", "must be a list"),
        ("dashboard: {port: 1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1}", "from 1024 to 65535"),
        ("dashboard: {port: 99999999999999999999999999999999999}", "from 1024 to 65535"),
        ("agents: {lost_after_s: .nan}", "must be a number"),
        ("agents: {lost_after_s: .inf}", "must be a number"),
        ("agents: {lost_after_s: 1e999}", "must be a number from 0.1 to 86400"),
        ("circuit_breaker: {default: {half_open_max_calls: 0}}", "from 1 to 1000"),
        ("circuit_breaker: {default: {timeout_seconds: 0}}", "above 0 and up to 86400"),
        ("tray: {toasts: maybe}", "must be true or false"),
        ("tray: {toasts: 1}", "must be true or false"),
        ("tray: {toasts: 'true'}", "must be true or false"),
        ("redaction: {names: pin}", "must be a list"),
        ("redaction: {names: [no]}", "put it in quotes"),
        ("redaction: {names: [2026-01-01]}", "put it in quotes"),
        ("redaction: {names: ['']}", "1 to 200 characters"),
        ('redaction: {names: ["a\\0b"]}', "invisible character"),
        ('redaction: {names: ["\\uD800"]}', "invisible character"),
        ("classification: {http_status_mapping: {99: ERROR}}", "from 100 to 599"),
        ("classification: {http_status_mapping: {'500': ERROR}}", "write it without quotes"),
        ("classification: {rules: [{name: a, severity: ERROR}]}", "fits every error"),
        ("classification: {rules: [{name: a, status: 500}]}", "changes nothing"),
        ("classification: {rules: [{status: 500, severity: ERROR}]}", "'name' is missing"),
        ("classification: {rules: [{name: a, errno: refused, severity: ERROR}]}", "ECONNREFUSED"),
        ("classification: {rules: [{name: a, errno: WSAECONNRESET, severity: ERROR}]}", "a system error"),
        ("alerting: {channels: {email: {enabled: yes}}}", "nobody to tell"),
        ("alerting: {channels: {webhook: {enabled: yes}}}", "nobody to tell"),
        ("alerting: {channels: {sms: {phone_numbers: [+1234567890]}}}", "put it in quotes"),
        ("alerting: {channels: {sms: {phone_numbers: ['12']}}}", "a phone number"),
        ('alerting: {channels: {email: {recipients: ["a@b.c\\nBcc: d@e.f"]}}}', "an email address"),
        ("alerting: {channels: {webhook: {url: somewhere}}}", "env:NAME"),
        ("alerting: {channels: {webhook: {url: 'env:'}}}", "env:NAME"),
        ("retry: {strategies: {network: {base_delay: 40}}}", "shorter than base_delay"),
        ("agents: {heartbeat_s: 20}", "more than heartbeat_s"),
        ("tray: {<<: {toasts: true}}", "merging is not understood"),
        ("tray: {toasts: true, toasts: false}", "stands here twice"),
        ("services: {a: {}, a: {}}", "stands here twice"),
        ("services: {5: {}}", "put it in quotes"),
    ],
)
def test_what_is_refused_says_what_is_allowed(written: str, said: str) -> None:
    assert said in only_problem(f"error_handling: {{{written}}}")[2]


@pytest.mark.parametrize("word", ["true", "True", "yes", "on", "ON", "false", "no", "Off"])
def test_truth_has_the_words_that_people_use(word: str) -> None:
    assert parse(f"error_handling: {{tray: {{toasts: {word}}}}}").tray.toasts == (word.lower() in ("true", "yes", "on"))


@pytest.mark.parametrize(("written", "read"), [("1", 1.0), ("1.5", 1.5), ("1e2", 100.0), (".5", 0.5), ("1_0", 10.0)])
def test_numbers_count_as_written(written: str, read: float) -> None:
    assert parse(f"error_handling: {{logging: {{max_file_mb: {written}}}}}").logging.max_file_mb == read


def test_a_setting_that_may_be_empty_is_emptied_by_null() -> None:
    read = parse("error_handling: {isolation: {release_after_s: null}, services: {ollama: {feature: ~}}}")
    assert (read.isolation.release_after_s, read.services["ollama"].feature) == (None, None)
    assert Settings().isolation.release_after_s is not None


# Secrets


@pytest.mark.parametrize("url", ["env:WINCLAW_HOOK", "keyring:winclaw-hook", "https://example.com:8443/hook?x=1"])
def test_references_and_addresses_without_secrets_are_taken(url: str) -> None:
    read = parse(f"error_handling: {{alerting: {{channels: {{webhook: {{enabled: yes, url: '{url}'}}}}}}}}")
    assert read.alerting.channels.webhook.url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter22@example.com/",
        "mailto://me:hunter22@example.com",
        "mailtos://me:hunter/22@example.com",
        "twilio://AC123:hunter22@+123456789",
        "https://example.com/?token=hunter22",
        "https://example.com/?password=hunter22",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    said = only_problem(f"error_handling: {{alerting: {{channels: {{webhook: {{url: '{url}'}}}}}}}}")[2]
    assert "env:NAME or keyring:NAME" in said
    assert "hunter" not in said


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    for text in (
        "error_handling: {tray: {toasts: sk-proj-abcdefghijklmnop1234}}",
        "error_handling: {tray: {sk-proj-abcdefghijklmnop1234: 1}}",
        "error_handling: {tray: {toasts: 'https://me:hunter22@example.com'}}",
        "error_handling: {processes: {bot: {command: [bot], environment: {DOOR_CODE: 2200771}}}}",
        "error_handling: {processes: {bot: {command: [bot], environment: {PASSWORD: !vault hunter22}}}}",
        "error_handling: {processes: {bot: {command: [bot, --password, 2200771]}}}",
        "error_handling: {processes: {bot: {command: bot --password hunter22 'and hunter22'}}}",
        "error_handling: {processes: {bot: bot -v --token hunter22}}",
    ):
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert "abcdefghijklmnop" not in str(caught.value)
        assert "hunter22" not in str(caught.value)
        assert "2200771" not in str(caught.value)


@pytest.mark.parametrize("tag", ["!<%1b%5b2J>", "!<sk-proj-abcdefghijklmnop1234>", f"!<{'x' * 1000}>"])
def test_a_tag_is_shown_like_any_other_word(tag: str) -> None:
    """What stood in it went to the terminal as it was."""
    said = only_problem(f"error_handling: {{tray: {{toasts: {tag} 1}}}}")[2]
    assert "\x1b" not in said
    assert "abcdefghijklmnop" not in said
    assert len(said) < 150
