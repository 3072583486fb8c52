"""What one line says of an error by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resilience.detection.lines import Finding, clean, error_in, named_error

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"plain\n", "plain"), (b"TEX\n", "TEX"), (b"plain\r\n", "plain"), (b"a\tb", "a\tb"), (b"a\x00b\x08c\x0bd\x1fe\x7ff", "abcdef"),
        (b"\xff\xc3\xa9", "\ufffd\u00e9"),
        (b"\x1b[1;31mred\x1b[0m", "red"), (b"\x1b]0;title\x07text", "text"), (b"\x1b]8;;http://x\x1b\\link", "link"),
        (b"\x1bMup", "up"), (b"cut \x1b[", "cut "),
    ],
)  # fmt: skip
def test_a_line_is_text_without_what_only_terminals_understand(line: bytes, text: str) -> None:
    assert clean(line) == text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("TypeError: x is not a function", Finding("TypeError", "x is not a function", "ERROR")),
        ("Uncaught TypeError: x", Finding("TypeError", "x", "ERROR")),
        ("Caused by: java.io.IOException: broken", Finding("java.io.IOException", "broken", "ERROR")),
        ("in thread main] KeyError", Finding("KeyError", "", "ERROR")),
        ("TypeError [ERR_INVALID_ARG]: x", Finding("TypeError", "x", "ERROR", facts={"code": "ERR_INVALID_ARG"})),
        ("Error: connect", Finding("Error", "connect", "ERROR")),
        ("Uncaught Error [ECONNRESET]: gone", Finding("Error", "gone", "ERROR", facts={"code": "ECONNRESET"})),
        ("Error connecting", None), ("a TypeError was caught", None), ("typeError: x", None), ("", None),
        (f"Error: {LONG}", Finding("Error", LONG[:2000], "ERROR")),
        (f"TypeError: {LONG}", Finding("TypeError", LONG[: 2000 - len("TypeError: ")], "ERROR")),
        (".".join(["p" * 60] * 4) + ".TypeError: x", Finding((".".join(["p" * 60] * 4))[:200], "x", "ERROR")),
        (" " * 1990 + "TypeError: x", Finding("TypeError", "", "ERROR")), (" " * 1992 + "TypeError: x", None),
    ],
)
def test_a_line_names_an_error_in_the_ways_of_several_languages(line: str, said: Finding | None) -> None:
    assert named_error(line) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR TypeError [E1]: x", Finding("TypeError", "x", "ERROR", facts={"code": "E1"})),
        ("CRITICAL KeyError", Finding("KeyError", "KeyError", "CRITICAL")),
        ("FATAL ERROR: heap out of memory", Finding("MemoryError", "ERROR: heap out of memory", "FATAL")),
        ("ERROR", Finding("LogError", "ERROR", "ERROR")),
        ("[ERROR]", Finding("LogError", "[ERROR]", "ERROR")),
        (f"ERROR {LONG}", Finding("LogError", LONG[:2000], "ERROR")),
        (f"ERROR heap out of memory {LONG}", Finding("MemoryError", f"heap out of memory {LONG}"[:2000], "FATAL")),
        ("x" * 114 + " ERROR late", Finding("LogError", "late", "ERROR")),
        ("x" * 115 + " ERROR late", None),
        ('ERROR "quoted"', Finding("LogError", 'quoted"', "ERROR")),
        ("<err> | -> x", Finding("LogError", "x", "ERROR")),
        ('lvl: "fatal" XX', Finding("LogError", "XX", "FATAL")),
        ("Xtra ERROR: Xtra", Finding("LogError", "Xtra", "ERROR")),
    ],
)
def test_a_line_says_how_bad_it_is_near_its_beginning(line: str, said: Finding | None) -> None:
    assert error_in(line) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{ERROR} }', Finding("LogError", "} }", "ERROR")),
        ('{"level":50} ERROR it is no JSON', Finding("LogError", "it is no JSON", "ERROR")),
        ('{not json, but an ERROR: x}', Finding("LogError", "x}", "ERROR")),
        ('[{"level":50}] ERROR x', Finding("LogError", "x", "ERROR")),
        ("[" * 5000 + "ERROR", None),
        ("{" + '"a":{' * 5000 + "}", None),
        ('{"msg":"an ERROR","level":30}', None),
        ('  {"level":50,"msg":"x"}', None),
    ],
)
def test_what_only_looks_like_a_structured_log_is_read_as_a_line(line: str, said: Finding | None) -> None:
    assert error_in(line) == said


def told(**fields: Any) -> Finding | None:
    return error_in(json.dumps(fields) + "  ")


@pytest.mark.parametrize(
    ("key", "value", "severity"),
    [
        *((key, "error", "ERROR") for key in ("level", "severity", "lvl", "levelname", "log.level", "@level")),
        ("level", "ERR", "ERROR"), ("level", "Severe", "ERROR"), ("level", "crit", "CRITICAL"), ("level", "alert", "CRITICAL"),
        ("level", "fatal", "FATAL"), ("level", "panic", "FATAL"), ("level", "emerg", "FATAL"),
        ("level", 50, "ERROR"), ("level", 51, "ERROR"), ("level", 59.5, "ERROR"), ("level", 60, "FATAL"), ("level", 49, None),
        ("level", 70, None), ("level", "notice", None), ("level", 5, None), ("level", None, None), ("level", [50], None),
    ],
)  # fmt: skip
def test_a_structured_logs_severity_is_known_by_its_word_or_number(key: str, value: Any, severity: str | None) -> None:
    """Pino's numbers go in tens, and what lies between belongs to the lower one."""
    said = told(**{key: value}, msg="x")
    assert said == (None if severity is None else Finding("LogError", "x", severity))  # type: ignore[arg-type]


def test_the_first_level_that_is_given_counts() -> None:
    assert told(level="info", severity="error", msg="x") is None
    assert told(level="error", severity="info", msg="x") is not None


@pytest.mark.parametrize("key", ["msg", "message", "event", "text"])
def test_a_structured_logs_message_has_several_names(key: str) -> None:
    assert told(level=50, **{key: "no model"}) == Finding("LogError", "no model", "ERROR")


def test_without_a_message_the_line_itself_is_the_message() -> None:
    for fields in ({}, {"msg": ""}, {"msg": 7}):
        line = json.dumps({"level": 50, **fields})
        assert error_in(line) == Finding("LogError", line, "ERROR")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        *(({key: {"type": "APIError", "message": "too many"}}, Finding("APIError", "x: too many", "ERROR"))
          for key in ("err", "error", "exception", "exc_info")),
        *(({key: "APIError: too many"}, Finding("APIError", "x: too many", "ERROR", stack=stack))
          for key, stack in (("err", ""), ("error", ""), ("exception", "APIError: too many"), ("exc_info", "APIError: too many"))),
        ({"err": None, "error": {"name": "APIError"}}, Finding("APIError", "x", "ERROR")),
        ({"err": {"type": "First", "name": "Second"}}, Finding("First", "x", "ERROR")),
        ({"err": {"type": "APIError"}, "error_type": "Other"}, Finding("APIError", "x", "ERROR")),
        *(({key: "APIError"}, Finding("APIError", "x", "ERROR")) for key in ("error_type", "exc_type", "exception_class")),
        *(({"err": {key: "APIError: y\n  at z"}}, Finding("LogError", "x", "ERROR", stack="APIError: y\n  at z"))
          for key in ("stack", "stacktrace")),
        *(({key: "APIError: y\n  at XX"}, Finding("LogError", "x", "ERROR", stack="APIError: y\n  at XX"))
          for key in ("stack", "stack_trace", "traceback", "exception", "exc_info", "err", "error")),
        ({"err": "APIError: y\x00\n  at z"}, Finding("LogError", "x", "ERROR", stack="APIError: y\n  at z")),
        ({"err": "one\ntwo", "stack": "three\nfour"}, Finding("LogError", "x", "ERROR", stack="three\nfour")),
        ({"err": "KeyError: k", "stack": "three\nfour"}, Finding("KeyError", "x: k", "ERROR", stack="three\nfour")),
        ({"stack": "APIError: y"}, Finding("APIError", "x", "ERROR", stack="APIError: y")),
        ({"stack": "at z\nAPIError: y"}, Finding("LogError", "x", "ERROR", stack="at z\nAPIError: y")),
        ({"err": {"message": "the x is broken"}, "msg": "sorry, the x is broken"}, Finding("LogError", "sorry, the x is broken", "ERROR")),
        ({"err": {"message": "a\x00b"}}, Finding("LogError", "x: ab", "ERROR")),
        ({"err": {"type": 7, "name": "APIError", "message": ["no"]}}, Finding("APIError", "x", "ERROR")),
        ({"err": "no name at all"}, Finding("LogError", "x", "ERROR")),
        ({"err": 7}, Finding("LogError", "x", "ERROR")),
        ({"msg": LONG}, Finding("LogError", LONG[:2000], "ERROR")),
        ({"err": {"type": LONG}}, Finding(LONG[:200], "x", "ERROR")),
        ({"stack": LONG * 30}, Finding("LogError", "x", "ERROR", stack=(LONG * 30)[:100_000])),
    ],
)  # fmt: skip
def test_the_error_in_a_structured_log_is_named_by_the_loggers_many_keys(fields: dict[str, Any], said: Finding) -> None:
    """An object's own words go before its line's, the line's message before the error's, which is not said twice.

    What a stack of many lines names is for the reader of stacks.
    """
    assert told(**{"level": 50, "msg": "x", **fields}) == said


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"code": "E1", "errno": -111, "status": 503}, {"code": "E1", "errno": -111, "status": 503}),
        ({"statusCode": 429}, {"status": 429}),
        ({"err": {"code": "E1", "errno": -111, "status": 503}}, {"code": "E1", "errno": -111, "status": 503}),
        ({"err": {"code": "E1"}, "code": "E2"}, {"code": "E1"}),
        ({"code": ["E1"], "status": None, "errno": 1.5}, {}),
    ],
)
def test_the_facts_in_a_structured_log_are_its_errors_or_its_own(fields: dict[str, Any], facts: dict[str, Any]) -> None:
    assert told(level=50, msg="x", **fields) == Finding("LogError", "x", "ERROR", facts=facts)
