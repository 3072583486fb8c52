"""From the text of a configuration file to settings; and the file that a first run makes."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest
import yaml

from resilience.config.file import ConfigError, load, parse, write_default
from resilience.config.settings import Settings
from tests.resilience.config.reading import DOCUMENT

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
DOCUMENTATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
DEFAULT_TEXT = (ROOT / "resilience" / "config" / "default.yaml").read_text(encoding="utf-8")


def test_the_documents_example_loads_unchanged() -> None:
    read = parse(DOCUMENT)
    assert read.circuit_breaker == Settings().circuit_breaker
    assert read.retry == Settings().retry
    assert [rule.name for rule in read.degradation.rules] == ["llm_failure", "multiple_external_down"]
    assert read.alerting.channels.email.recipients == ("admin@example.com",)
    assert read.alerting.channels.sms.phone_numbers == ("+1234567890",)
    assert read.checkpoint.levels == ("operation", "session", "component", "system")


def test_the_file_of_a_first_run_says_exactly_the_defaults() -> None:
    assert parse(DEFAULT_TEXT) == Settings()


def test_the_file_of_a_first_run_mails_nobody() -> None:
    channels = parse(DEFAULT_TEXT).alerting.channels
    assert [one.enabled for one in (channels.email, channels.sms, channels.webhook)] == [False] * 3
    assert "admin@example.com" not in DEFAULT_TEXT


def test_the_file_of_a_first_run_shows_every_section() -> None:
    assert set(yaml.safe_load(DEFAULT_TEXT)["error_handling"]) == set(Settings.__struct_fields__)


def test_the_examples_in_the_file_of_a_first_run_work_when_uncommented() -> None:
    uncommented = re.sub(r"(?m)^( *)#  ", r"\1  ", DEFAULT_TEXT)
    lists, tables = ("rules", "maintenance"), ("services", "loops", "processes", "probes", "zones", "others")
    for name, empty in (*((name, "[]") for name in lists), *((name, "{}") for name in tables)):
        uncommented = uncommented.replace(f"{name}: {empty}", f"{name}:")
    read = parse(uncommented)
    assert [rule.name for rule in read.classification.rules] == ["out of credit"]
    assert read.services["my_search"].feature == "allow_network_access"
    assert read.loops["my_loop"].tier == "core"
    assert read.processes["gateway"].depends_on == ("ollama",)
    assert read.zones["my_tools"].components == ("my_search", "my_calendar")
    assert read.alerting.maintenance[0].hours == "02:00-04:00"
    assert read.alerting.channels.others["phone"].url == "env:WINCLAW_NTFY_URL"
    assert read.detection.probes["data_disk"].min_free_mb == 2000


@pytest.mark.parametrize(
    "block",
    [block for page in sorted(DOCS.glob("*.md")) for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)],
)
def test_the_examples_of_the_documentation_load(block: str) -> None:
    parse(block)


def test_the_refusal_that_the_documentation_shows_is_real() -> None:
    """Its line numbers belong to this text."""
    text = (
        "error_handling:\n  dashboard:\n    prot: 9000\n  retry:\n    strategies:\n"
        "      network:\n        max_retries: many\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) in DOCUMENTATION


@pytest.mark.parametrize(
    "text",
    ["", " \n", "# nothing\n", "---\n", "error_handling:\n", "error_handling: {}\n", b"\xef\xbb\xbf", "\ufeff", "null"],
)
def test_a_file_that_says_nothing_means_all_defaults(text: str | bytes) -> None:
    assert parse(text) == Settings()


def test_a_section_with_nothing_in_it_means_its_defaults() -> None:
    assert parse("error_handling: {retry: , services: , dashboard: }") == Settings()


def test_windows_line_ends_and_a_byte_order_mark_are_fine() -> None:
    assert parse(b"\xef\xbb\xbf" + DOCUMENT.replace("\n", "\r\n").encode()) == parse(DOCUMENT)


def test_entries_of_a_table_change_the_default_entry_or_are_added() -> None:
    read = parse("error_handling: {retry: {strategies: {network: {max_retries: 9}, mine: {jitter: off}}}}")
    strategies, defaults = read.retry.strategies, Settings().retry.strategies
    assert (strategies["network"].max_retries, strategies["network"].max_delay) == (9, 32.0)
    assert (strategies["mine"].jitter, strategies["mine"].max_retries) == (False, 3)
    assert strategies["database"] == defaults["database"]


def test_the_circuit_of_a_new_service_starts_from_the_default_as_given() -> None:
    """Whatever the order in the file; a service of the document keeps its own policy (§3.3)."""
    circuits = parse(
        """
        error_handling:
          circuit_breaker:
            services:
              mine: {failure_threshold: 2}
              gmail_api: {failure_threshold: 7}
            default: {timeout_seconds: 90}
        """
    ).circuit_breaker.services
    assert (circuits["mine"].failure_threshold, circuits["mine"].timeout_seconds) == (2, 90.0)
    assert (circuits["gmail_api"].failure_threshold, circuits["gmail_api"].timeout_seconds) == (7, 30.0)


def test_lists_replace_the_default_list() -> None:
    assert parse("error_handling: {degradation: {rules: []}}").degradation.rules == ()


def test_anchors_and_aliases_work() -> None:
    read = parse(
        """
        error_handling:
          circuit_breaker:
            services:
              a: &patient {failure_threshold: 9}
              b: *patient
        """
    )
    assert read.circuit_breaker.services["a"] == read.circuit_breaker.services["b"]


# Files


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="winclaw run") as caught:
        load(tmp_path / "none.yaml")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.file == str(tmp_path / "none.yaml")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_the_first_run_makes_a_file_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_default(path)
    assert load(path) == Settings()
    assert path.read_text(encoding="utf-8") == DEFAULT_TEXT
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights elsewhere; home.py sets and tests them")
def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    write_default(tmp_path / "config.yaml")
    assert stat.S_IMODE((tmp_path / "config.yaml").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("error_handling: {}\n", encoding="utf-8")
    write_default(path)
    assert path.read_text(encoding="utf-8") == "error_handling: {}\n"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.symlink_to(tmp_path / "elsewhere.yaml")
    write_default(path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
