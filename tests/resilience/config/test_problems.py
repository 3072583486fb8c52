"""All that is wrong with a configuration file is told: where it stands, and how to mend it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import yaml

from resilience.config.file import ConfigError, ConfigProblem, parse
from resilience.errors import InvalidConfigError
from tests.resilience.config.reading import DOCUMENT, only_problem, problems


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
