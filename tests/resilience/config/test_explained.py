"""Each setting is shown with its value, its default, where it comes from and what it means, and without secrets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from resilience.config.explained import NEW, Explained, explained, places, sections
from resilience.config.file import parse
from resilience.config.settings import Retry, Settings, Tray
from resilience.config.shown import redactor_of
from resilience.policies import RetryBudget

TEXT = """\
# mine
error_handling:
  retry:
    budget: {burst: 7}
    strategies:
      network:
        max_retries: 5
      slow: {base_delay: 9}
  circuit_breaker:
    default: {failure_threshold: 4}
    services:
      mine: {success_threshold: 1}
  degradation:
    rules:
      - name: llm_failure
        condition: "gpt-5.2.unhealthy"
        target_level: MINIMAL
  classification: {http_status_mapping: {418: INFO}}
  processes:
    bot:
      command: [bot, --password, hunter2]
      environment: {API_TOKEN: hunter2, HOME: env:HOME}
  alerting:
    channels:
      webhook: {enabled: true, url: env:HOOK, secret: keyring:hook}
"""


def rows(text: str = TEXT, **more: object) -> dict[str, Explained]:
    settings = parse(text)
    return {one.path: one for one in explained(settings, text, redactor_of(settings), ["HOOK"], **more)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "value", "default", "differs", "source", "line"),
    [
        ("retry.budget.burst", "7", "20", True, "configuration", 4),
        ("retry.budget.percent", None, None, None, None, None),
        ("retry.budget.per_call", "0.2", "0.2", False, "default", None),
        ("retry.strategies.network.max_retries", "5", "5", False, "configuration", 7),
        ("retry.strategies.slow.base_delay", "9", "1", True, "configuration", 8),
        ("retry.strategies", "6 entries", "5 entries", True, "configuration", 5),
        ("circuit_breaker.services.mine.failure_threshold", "4", "4", False, "default", None),
        ("circuit_breaker.services.mine.success_threshold", "1", "3", True, "configuration", 12),
        ("degradation.rules.0.target_level", "MINIMAL", "DEGRADED_LLM", True, "configuration", 17),
        ("degradation.rules", "1 entry", "4 entries", True, "configuration", 14),
        ("classification.http_status_mapping.418", "INFO", "", False, "configuration", 18),
        ("classification.http_status_mapping.404", "WARNING", "WARNING", False, "default", None),
        ("services.ollama.probe", "none", "none", False, "default", None),
    ],
)
def test_a_setting_has_its_value_its_default_and_the_line_that_sets_it(
    path: str, value: str | None, default: str, differs: bool, source: str, line: int | None
) -> None:
    one = rows().get(path)
    if value is None:
        assert one is None
    else:
        assert one is not None
        assert (one.value, one.default, one.differs, one.source, one.line) == (value, default, differs, source, line)


def test_a_setting_of_an_entry_is_known_by_its_table_its_entry_and_its_key() -> None:
    one = rows()["degradation.rules.0.condition"]
    assert (one.section, one.table, one.entry, one.key) == ("degradation", "degradation.rules", "llm_failure", "condition")
    assert (one.meaning, one.unit) == ("when it holds, e.g. `gpt-5.2.unhealthy`", "")
    assert rows()["retry.strategies.slow.max_delay"].unit == "s"


def test_of_a_reference_its_name_is_told_and_whether_there_is_such_a_variable() -> None:
    found = rows()
    url, secret = found["alerting.channels.webhook.url"], found["alerting.channels.webhook.secret"]
    assert (url.value, url.source, url.name, url.found, url.line) == ("env:HOOK", "environment", "HOOK", True, 25)
    assert (secret.value, secret.source, secret.name, secret.found) == ("keyring:hook", "keyring", "hook", None)
    home = found["processes.bot.environment.HOME"]
    assert (home.source, home.found) == ("environment", False)


def test_a_secret_is_told_nowhere() -> None:
    found = rows()
    assert found["processes.bot.environment.API_TOKEN"].value == "[redacted]"
    assert found["processes.bot.command"].value == "[bot, --password, [redacted]]"
    assert "hunter2" not in repr(found)


def test_what_a_new_entry_begins_with_is_told_of_every_table_that_can_have_one() -> None:
    found = rows()
    assert found[f"services.{NEW}.retry"].value == "auto"
    assert found[f"services.{NEW}.probe.timeout_s"].value == "1.5"
    assert found[f"degradation.rules.{NEW}.name"].value == "", "it has to be given"
    assert f"circuit_breaker.services.{NEW}.mode" not in found, "that is what circuit_breaker.default says"


def test_what_holds_from_the_next_start_on_is_marked() -> None:
    text = "error_handling: {tray: {toasts: false}, retry: {budget: {burst: 1}}}"
    found = rows(text, started=Settings(), later=("tray",))
    assert [path for path, one in found.items() if one.waits] == ["tray.toasts"]
    now = replace(Settings(), tray=Tray(toasts=False), retry=Retry(budget=RetryBudget(burst=1)))
    assert not any(one.waits for one in rows(text, started=now, later=("tray",)).values())


def test_every_setting_and_section_says_what_it_means() -> None:
    settings = Settings()
    silent = [one.path for one in explained(settings, "", redactor_of(settings)) if not one.meaning]
    assert silent == []
    assert sections()["circuit_breaker"] == "When calls to a failing service are stopped."
    assert sections()["outbox"] == "Messages that agents send."
    assert [*sections()] == [*Settings.__struct_fields__]


def test_a_line_is_known_through_an_alias_and_no_text_has_none() -> None:
    text = "error_handling:\n  bulkhead:\n    default: &one {max_queue: 3}\n    services: {a: *one}\n"
    assert places(text)["bulkhead", "services", "a", "max_queue"] == 3
    assert places("") == {}
