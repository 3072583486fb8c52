"""From the text of a configuration file to settings, or to a list of everything that is wrong with it."""

import pickle
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilience.config.file import DEFAULT_TEXT, ConfigError, ConfigProblem, load, parse, write_default
from resilience.config.settings import Settings
from resilience.errors import InvalidConfigError

DOCUMENT = (Path(__file__).parent / "document_config.yaml").read_text(encoding="utf-8")
DOCS = Path(__file__).parents[3] / "docs"
DOCUMENTATION = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


def problems(text: str | bytes) -> list[tuple[str, int | None, str]]:
    """Path, line and message of everything wrong with ``text``."""
    with pytest.raises(ConfigError) as caught:
        parse(dedent(text) if isinstance(text, str) else text)
    return [(one.path, one.line, one.message) for one in caught.value.problems]


def only_problem(text: str | bytes) -> tuple[str, int | None, str]:
    (one,) = problems(text)
    return one


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
    for name, empty in (("rules", "[]"), ("services", "{}"), ("loops", "{}"), ("processes", "{}"), ("probes", "{}"), ("zones", "{}")):
        uncommented = uncommented.replace(f"{name}: {empty}", f"{name}:")
    read = parse(uncommented)
    assert [rule.name for rule in read.classification.rules] == ["out of credit"]
    assert read.services["my_search"].feature == "allow_network_access"
    assert read.loops["my_loop"].tier == "core"
    assert read.processes["gateway"].depends_on == ("ollama",)
    assert read.zones["my_tools"].components == ("my_search", "my_calendar")
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


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """
        error_handling:
          retry:
            strategies:
              network:
                max_retry: 5
                jitter: maybe
          dashboard: {port: 80}
          tray: [toasts]
        """
    )
    assert [(path, line) for path, line, _ in found] == [
        ("error_handling.retry.strategies.network.max_retry", 6),
        ("error_handling.retry.strategies.network.jitter", 7),
        ("error_handling.dashboard.port", 8),
        ("error_handling.tray", 9),
    ]


def test_an_error_names_file_line_column_and_path() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        parse("error_handling:\n  dashboard:\n    port: 80\n", "mine.yaml")
    assert str(caught.value) == (
        "mine.yaml cannot be used:\n"
        "  line 3, column 11: error_handling.dashboard.port: must be a whole number from 1024 to 65535, not 80"
    )


def test_an_error_survives_pickling() -> None:
    error = ConfigError([ConfigProblem("a", 1, 2, "b")], "mine.yaml")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems, again.file) == (str(error), error.problems, error.file)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("dashbord: {}", "did you mean 'dashboard'?"),
        ("Dashboard: {}", "did you mean 'dashboard'?"),
        ("tray: {toast: true}", "did you mean 'toasts'?"),
        ("tray: {xyzzy: 1}", "there are toasts"),
        ("classification: {default_severity: warning}", "did you mean 'WARNING'?"),
        ("classification: {http_status_mapping: {500: CRITCAL}}", "did you mean 'CRITICAL'?"),
        ("degradation: {rules: [{name: a, condition: gmail_api.unhealthy, target_level: safe_mode}]}", "did you mean 'SAFE_MODE'?"),
        ("classification: {rules: [{name: a, status: 500, type: RateLimtError}]}", "did you mean 'RateLimitError'?"),
        ("services: {mine: {feature: enable_gmial}}", "did you mean 'enable_gmail'?"),
        ("checkpoint: {levels: [sesion]}", "did you mean 'session'?"),
    ],
)
def test_the_nearest_known_name_is_offered(written: str, hint: str) -> None:
    assert hint in only_problem(f"error_handling: {{{written}}}")[2]


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


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("tray: {§toast: true}", "tray.toast"), ("tray: {§5: 1}", "tray.5"), ("tray: {§<<: {toasts: true}}", "tray.<<"),
        ("tray: {? §[a] : 1}", "tray.a list"), ("tray: {toasts: true, §toasts: false}", "tray.toasts"), ("tray: §5", "tray"),
        ("services: §5", "services"), ("services: {§5: {}}", "services.5"), ("services: {a: {}, §a: {}}", "services.a"),
        ("services: {a: {}, b: {feature: §enable_gmial}}", "services.b.feature"),
        ("redaction: {names: §pin}", "redaction.names"), ("redaction: {names: [pin, §no]}", "redaction.names[1]"),
        ("retry: {strategies: {network: §{base_delay: 40}}}", "retry.strategies.network.max_delay"),
        ("retry: {strategies: {network: {base_delay: 40, max_delay: §30}}}", "retry.strategies.network.max_delay"),
        ("classification: {rules: [§{name: a, severity: ERROR}]}", "classification.rules[0]"),
        ("classification: {rules: [§{status: 500, severity: ERROR}]}", "classification.rules[0]"),
        ("classification: {rules: [{name: a, status: §5, severity: ERROR}]}", "classification.rules[0].status"),
        ("classification: {rules: [{name: a, status: 500, type: §RateLimtError}]}", "classification.rules[0].type"),
        ("classification: {http_status_mapping: {§99: ERROR}}", "classification.http_status_mapping.99"),
        ("classification: {http_status_mapping: {500: §5}}", "classification.http_status_mapping.500"),
        ("processes: {p: §{autostart: true}}", "processes.p"),
        ("processes: {p: {command: [x], max_memory_mb: §x}}", "processes.p.max_memory_mb"),
        ("processes: {p: {command: [x], probe: {tcp: §x}}}", "processes.p.probe.tcp"),
        ("processes: {p: {command: [x], environment: {WINCLAW_X: §y}}}", "processes.p.environment.WINCLAW_X"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_by_its_path_and_place(written: str, path: str) -> None:
    """The mark is where an editor's cursor should go: the key where a key is wrong, else the value; where there is none, the section."""
    text = f"error_handling:\n  {{{written}}}"
    with pytest.raises(ConfigError) as caught:
        parse(text.replace("§", ""))
    [found] = caught.value.problems
    assert (found.path, found.line, found.column) == (f"error_handling.{path}", 2, text.index("§") - text.index("\n"))


def test_problems_of_one_line_are_told_from_left_to_right() -> None:
    """Not in the order in which settings are looked at."""
    found = problems("error_handling: {tray: {nope: 1, toasts: 5}, agents: {lost_after_s: x}, services: {a: {}, a: {nope: 1}}}")
    assert [path.removeprefix("error_handling.") for path, _, _ in found] == [
        "tray.nope", "tray.toasts", "agents.lost_after_s", "services.a", "services.a.nope",
    ]  # fmt: skip


def test_a_setting_that_may_be_empty_is_emptied_by_null() -> None:
    read = parse("error_handling: {isolation: {release_after_s: null}, services: {ollama: {feature: ~}}}")
    assert (read.isolation.release_after_s, read.services["ollama"].feature) == (None, None)
    assert Settings().isolation.release_after_s is not None


def test_an_entry_of_an_unknown_name_hides_none_of_its_problems() -> None:
    assert [path for path, _, _ in problems("error_handling: {services: {5: {nope: 1}, 6: {nope: 1}}}")] == [
        f"error_handling.services.{path}" for path in ("5", "5.nope", "6", "6.nope")
    ]  # fmt: skip


def test_two_rules_of_one_name_are_refused_where_the_second_stands() -> None:
    path, line, said = only_problem(
        """
        error_handling:
          degradation:
            rules:
              - {name: a, condition: gmail_api.unhealthy, target_level: MINIMAL}
              - {name: a, condition: gmail_api.healthy, target_level: MINIMAL}
        """
    )
    assert (path, line) == ("error_handling.degradation.rules[1].name", 6)
    assert "another rule 'a'" in said


def test_a_key_that_stands_twice_is_refused_where_it_stands_again() -> None:
    path, line, said = only_problem("error_handling:\n  tray:\n    toasts: true\n  dashboard:\n  tray: {}\n")
    assert (path, line) == ("error_handling.tray", 5)
    assert "line 3" in said


def test_a_contradiction_is_told_beside_an_unknown_key() -> None:
    assert len(problems("error_handling: {agents: {heartbeat_s: 20, nonsense: 1}}")) == 2


def test_a_contradiction_is_not_guessed_from_a_refused_value() -> None:
    assert len(problems("error_handling: {agents: {heartbeat_s: 20, lost_after_s: many}}")) == 1


@pytest.mark.parametrize("root", ["- a\n", "5\n", "text\n", "!!set {a}\n"])
def test_a_file_that_is_no_section_is_refused(root: str) -> None:
    path, line, said = only_problem(root)
    assert (path, line) == ("", 1)
    assert "must be a section" in said


def test_a_second_top_level_key_is_told_where_it_belongs() -> None:
    path, line, said = only_problem("error_handling: {}\nretry: {}\n")
    assert (path, line) == ("retry", 2)
    assert "belongs under error_handling:" in said


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
    ):
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert "abcdefghijklmnop" not in str(caught.value)
        assert "hunter22" not in str(caught.value)


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


@settings(max_examples=300, deadline=None, derandomize=True)
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


def leaves(node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Every plain value below ``node``, with its path as errors write it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from leaves(value, f"{path}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield from leaves(value, f"{path}[{at}]")
    elif isinstance(node, yaml.ScalarNode):
        yield path, node


_ROOT = yaml.compose(DOCUMENT, Loader=yaml.SafeLoader)
_LEAVES = dict(leaves(_ROOT, "")) if _ROOT else {}


@pytest.mark.parametrize("wrong", ["{}", "[]", "!x y"])
@pytest.mark.parametrize("path", _LEAVES)
def test_a_wrong_value_anywhere_in_the_documents_example_is_named_by_path_and_line(path: str, wrong: str) -> None:
    node = _LEAVES[path]
    start, end = node.start_mark, node.end_mark
    assert only_problem(DOCUMENT[: start.index] + wrong + DOCUMENT[end.index :])[:2] == (path, start.line + 1)


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
    assert write_default(path) is True
    assert load(path) == Settings()
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights elsewhere; home.py sets and tests them")
def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    write_default(tmp_path / "config.yaml")
    assert stat.S_IMODE((tmp_path / "config.yaml").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("error_handling: {}\n", encoding="utf-8")
    assert write_default(path) is False
    assert path.read_text(encoding="utf-8") == "error_handling: {}\n"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.symlink_to(tmp_path / "elsewhere.yaml")
    assert write_default(path) is False
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("gpt-5.2.unhealty", "'unhealty' cannot be asked; did you mean 'unhealthy'? (column 9 of the condition)"),
        ("gtp-5.2.unhealthy", "there is no service 'gtp-5.2'; did you mean 'gpt-5.2'? (column 1 of the condition)"),
        ("gmail_api.error_count", "that is a number; compare it, for example with: > 10 (column 1 of the condition)"),
        ("my_search.unhealthy", "there is no service 'my_search'; add it under services:, if your agents call it"),
    ],
)
def test_a_condition_that_cannot_be_understood_is_refused_where_it_stands(condition: str, said: str) -> None:
    path, line, found = only_problem(
        f"""
        error_handling:
          degradation:
            rules:
              - {{name: a, condition: "{condition}", target_level: MINIMAL}}
        """
    )
    assert (path, line) == ("error_handling.degradation.rules[0].condition", 5)
    assert said in found


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("agent: { command: agent }", "must be a list"),
        ("agent: { command: [] }", "names no program"),
        ("agent: { command: [a], depends_on: [b] }", "there is no process 'b'"),
        ("agent: { command: [a], depends_on: [agent] }", "they wait for each other for ever: agent → agent"),
        ("a b: { command: [a] }", "must be made of letters, digits, '.', '_' and '-'"),
        ("../etc: { command: [a] }", "must be made of letters, digits, '.', '_' and '-'"),
        ("con: { command: [a] }", "Windows cannot tell this name from another one"),
        ("a: { command: [a] }\n    A: { command: [a] }", "Windows cannot tell this name from another one"),
        ("agent: { command: [a], environment: { WINCLAW_HOME: x } }", "is WinClaw's own"),
        ('agent: { command: [a], environment: { KEY: "env:" } }', "names no variable behind env:"),
        ("agent: { command: [a], port: 70000 }", "must be a whole number from 1 to 65535"),
        ("agent: { command: [a], stop_signal: STOP }", "must be one of HUP, INT, KILL, QUIT, TERM"),
    ],
)
def test_a_process_that_cannot_be_is_refused_with_its_place(lines: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"error_handling:\n  processes:\n    {lines}\n")
    [problem] = caught.value.problems
    assert said in problem.message
    assert problem.line in (2, 3, 4)
