"""What differs between two configurations, as people are told it."""

from __future__ import annotations

import difflib

import pytest

from resilience.config.difference import changed_settings, line_difference
from resilience.config.file import parse
from resilience.redaction import Redactor

CLEAN = Redactor(("mine",))


def changed(before: str, after: str) -> tuple[str, ...]:
    return changed_settings(*(parse(f"error_handling: {{{text}}}") for text in (before, after)), CLEAN)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "", ()),
        ("", "circuit_breaker: {default: {failure_threshold: 3}}", ("circuit_breaker.default.failure_threshold: 5 → 3",)),
        ("", "tray: {toasts: false}", ("tray.toasts: true → false",)),
        ("", "retry: {strategies: {network: {base_delay: 0.25}}}", ("retry.strategies.network.base_delay: 1 → 0.25",)),
        ("", "logging: {max_file_mb: 10.0000001}", ("logging.max_file_mb: 10 → 10.0000001",)),
        ("processes: {a: {command: [x]}}", "processes: {b: {command: [x]}}", ("processes.a: removed", "processes.b: added")),
        ("processes: {a: {command: [x, y]}}", "processes: {a: {command: [x, z]}}", ("processes.a.command: [x, y] → [x, z]",)),
        ("processes: {a: {command: [x]}}", "processes: {a: {command: [x], port: 80}}", ("processes.a.port: none → 80",)),
        ("services: {s: {description: a}}", 'services: {s: {description: ""}}', ('services.s.description: a → ""',)),
        (
            "degradation: {rules: []}", "degradation: {rules: [{name: r, condition: gpt-5.2.unhealthy, target_level: MINIMAL}]}",
            ("degradation.rules.r: added",),
        ),
        (
            "processes: {a: {command: [x], environment: {API_KEY: env:A, B: c}}}",
            "processes: {a: {command: [x], environment: {API_KEY: env:B, B: d}}}",
            ("processes.a.environment.API_KEY: [redacted] → another one", "processes.a.environment.B: c → d"),
        ),
        (
            "processes: {a: {command: [x, --mine=hidden]}}", "processes: {a: {command: [x]}}",
            ("processes.a.command: [x, --mine=[redacted]] → [x]",),
        ),
        (
            "processes: {a: {command: [x, --mine=hidden]}}", "processes: {a: {command: [x, --mine=other]}}",
            ("processes.a.command: [x, --mine=[redacted]] → another one",),
        ),
    ],
)  # fmt: skip
def test_each_setting_with_its_old_and_new_value(before: str, after: str, said: tuple[str, ...]) -> None:
    assert changed(before, after) == said


def test_rules_are_told_by_name_and_that_their_order_is_another() -> None:
    one, two = (f"{{name: {name}, condition: gpt-5.2.unhealthy, target_level: MINIMAL}}" for name in "ab")
    worse = two.replace("MINIMAL", "SAFE_MODE")
    assert changed(f"degradation: {{rules: [{one}, {two}]}}", f"degradation: {{rules: [{one}, {worse}]}}") == (
        "degradation.rules.b.target_level: MINIMAL → SAFE_MODE",
    )
    assert changed(f"degradation: {{rules: [{one}, {two}]}}", f"degradation: {{rules: [{two}, {one}]}}") == (
        "degradation.rules: another order",
    )


def test_very_many_and_very_long_ones_are_cut() -> None:
    many = ", ".join(f"p{number:03}: {{command: [x]}}" for number in range(100))
    said = changed("", f"processes: {{{many}}}")
    assert (len(said), said[-1]) == (81, "and 20 more")
    [long] = changed(f"services: {{s: {{description: {'a' * 200}}}}}", f"services: {{s: {{description: {'b' * 200}}}}}")
    assert len(long) <= 160
    assert long == f"services.s.description: {'a' * 59}… → {'b' * 59}…"


def test_what_fools_a_reader_is_not_in_it() -> None:
    [said] = changed("services: {s: {description: a}}", "services: {s: {description: '<b> \t x'}}")
    assert said == "services.s.description: a → <b> x"


def test_lines_are_compared_without_secrets() -> None:
    token = "sk-" + "a" * 30
    before, after = f"\ufeffa\r\nb # {token}\r\nc\r\n", f"a\nb # {token}\nd\n\x1b[2J\u202e\n"
    assert line_difference(before, after, CLEAN.text) == ["@@ -1,3 +1,4 @@", " a", " b # [redacted]", "-c", "+d", "+\ufffd[2J\ufffd"]
    assert line_difference("x\n", "x\n", CLEAN.text) == []


def test_hunks_are_where_they_are_though_what_is_alike_before_them_is_passed_over() -> None:
    old = [f"line {number}" for number in range(50)]
    new = [*old[:30], "another", *old[31:40], *old[41:]]
    said = line_difference("\n".join(old), "\n".join(new), CLEAN.text)
    assert said == [*difflib.unified_diff(old, new, lineterm="")][2:]
    assert said[0] == "@@ -28,7 +28,7 @@"


def test_texts_that_differ_very_much_are_not_matched_line_by_line() -> None:
    old, new = ("\n".join(["same", *(f"{word} {number}" for number in range(3001))]) for word in ("a", "b"))
    said = line_difference(old, new, CLEAN.text)
    assert said[0] == "@@ from line 2 on, 3001 lines became 3001: too many to be compared one by one @@"
    assert (said[1], said[81], len(said)) == ("-a 0", "+b 0", 161)


def test_lines_that_come_or_go_at_the_end_are_a_difference() -> None:
    assert line_difference("a\n", "a\nb\n", str) == ["@@ -1 +1,2 @@", " a", "+b"]
    assert line_difference("a\nb\n", "a\n", str) == ["@@ -1,2 +1 @@", " a", "-b"]
