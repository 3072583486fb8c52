"""Tracebacks and stacks in a program's output: where each begins and ends, and what it tells."""

from __future__ import annotations

import pytest

from resilience.detection.lines import Finding
from resilience.events import Cause
from tests.resilience.detection.outputs import CHAINED, DOTNET, JAVA, NODE, NODE_CAUSE, TRACEBACK, brief, read


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TRACEBACK, [("openai.RateLimitError", "slow down", "ERROR")]),
        (CHAINED, [("RuntimeError", "no gateway", "ERROR")]),
        (NODE, [("Error", "connect ECONNREFUSED 127.0.0.1:11434", "ERROR")]),
        (NODE_CAUSE, [("TypeError", "fetch failed", "ERROR")]),
        (JAVA, [("java.net.ConnectException", "Connection refused", "ERROR")]),
        (DOTNET, [("System.TimeoutException", "The operation has timed out.", "ERROR")]),
        ("KeyboardInterrupt\n", []),
        ("Traceback (most recent call last):\n  File 'x'\nKeyboardInterrupt\n", [("KeyboardInterrupt", "KeyboardInterrupt", "ERROR")]),
        (TRACEBACK + TRACEBACK, [("openai.RateLimitError", "slow down", "ERROR")] * 2),
        ("Traceback (most recent call last):\n  File 'x'\n", [("LogError", "a traceback without an end", "ERROR")]),
    ],
)
def test_tracebacks_and_stacks(text: str, found: list[tuple[str, str, str]]) -> None:
    assert brief(text) == found


def test_a_chain_keeps_its_causes_and_the_whole_text() -> None:
    [one] = read(CHAINED)
    assert one.cause is not None
    assert (one.cause.type, one.cause.message) == ("ConnectionRefusedError", "[Errno 111] Connection refused")
    assert one.stack == CHAINED.removesuffix("\nready\n")


def causes(one: Finding) -> list[tuple[str, str]]:
    """What led to it, the nearest first."""
    found, link = [], one.cause
    while link is not None:
        found.append((link.type, link.message))
        link = link.cause
    return found


HEAD, DURING = "Traceback (most recent call last):\n  File 'x'\n", "\nDuring handling of the above exception, another exception occurred:\n\n"


def test_of_a_long_chain_the_twenty_nearest_causes_are_kept() -> None:
    [one] = read(DURING.join(f"{HEAD}Error{number}: no {number}\n" for number in range(31)))
    assert one.type == "Error30"
    assert causes(one) == [(f"Error{number}", f"no {number}") for number in range(29, 9, -1)]
    [one] = read("TypeError: x\n    at y\n" + "".join(f"Caused by: a.Error{number}Exception: no {number}\n" for number in range(31)))
    assert causes(one) == [(f"a.Error{number}Exception", f"no {number}") for number in range(20)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"    {HEAD}    ValueError: x\n".replace("\n  File", "\n      File"), [("ValueError", "x", "ERROR")]),
        (f"    {HEAD}ValueError: x\n".replace("\n  File", "\n      File"), [("ValueError", "x", "ERROR")]),
        ("Traceback (most recent call last):\n\tFile 'x'\nValueError: x\n", [("ValueError", "x", "ERROR")]),
        (f"{HEAD}\n  File 'y'\nValueError: x\n", [("ValueError", "x", "ERROR")]),
        (f"2026-11-24 agent: {HEAD}{' ' * 18}deep()\nValueError: x\n", [("ValueError", "x", "ERROR")]),
        (f"{HEAD}!!! no end\nERROR: later\n", [("LogError", "a traceback without an end", "ERROR"), ("LogError", "later", "ERROR")]),
        (f"{HEAD}ValueError: x\nERROR: later\n", [("ValueError", "x", "ERROR"), ("LogError", "later", "ERROR")]),
        (f"{HEAD}A: x\n{DURING}{HEAD}B: y\n{HEAD}C: z\n", [("B", "y", "ERROR"), ("C", "z", "ERROR")]),
        (f"{HEAD}A: x\n\n{HEAD}B: y\n", [("A", "x", "ERROR"), ("B", "y", "ERROR")]),
        (f"{NODE}ERROR: later\n", [("Error", "connect ECONNREFUSED 127.0.0.1:11434", "ERROR"), ("LogError", "later", "ERROR")]),
        ("TypeError: x\n    at y\n  ERROR: later\n", [("TypeError", "x", "ERROR"), ("LogError", "later", "ERROR")]),
        ("TypeError: x\n    at y\n\n    at z\nERROR: later\n", [("TypeError", "x", "ERROR"), ("LogError", "later", "ERROR")]),
        ("FATAL TypeError: x\n    at y\n", [("TypeError", "x", "FATAL")]),
        ("FATAL it broke\n    at y\n", [("LogError", "it broke", "FATAL")]),
        ("TypeError: \n    at y\n", [("TypeError", "TypeError", "ERROR")]),
    ],
)  # fmt: skip
def test_a_block_ends_where_its_language_says(text: str, found: list[tuple[str, str, str]]) -> None:
    """Whatever follows is read anew; a line that only names an error counts with a stack alone."""
    assert brief(text) == found


GROUP = '''  + Exception Group Traceback (most recent call last):
  |   File "a.py", line 1, in <module>
  |     work
  | mine.Group{}
  +-+---------------- 1 ----------------
    | ValueError: 1
    +---------------- 2 ----------------
    | TypeError: 2
    +------------------------------------
'''


@pytest.mark.parametrize(("said", "message"), [(": both (2 sub-exceptions)", "both (2 sub-exceptions)"), ("", "mine.Group")])
def test_a_group_is_one_error_named_by_its_own_line(said: str, message: str) -> None:
    text = GROUP.format(said)
    found = read(f"{text}ERROR: later\n")
    assert [(one.type, one.message) for one in found] == [("mine.Group", message), ("LogError", "later")]
    assert found[0].stack == text.rstrip()


def test_the_text_of_a_block_keeps_its_indent_and_loses_the_blank_lines_behind() -> None:
    indented = "  " + TRACEBACK.replace("\n", "\n  ").rstrip()
    for text in (indented, NODE, JAVA, DOTNET, TRACEBACK):
        assert [one.stack for one in read(f"noise\n{text}\n\n \n")] == [text[text.find("Error: con") if text is NODE else 0 :].rstrip()]


def test_a_block_begins_where_its_first_line_does() -> None:
    for text in (TRACEBACK, JAVA, DOTNET, "ERROR: x\n", GROUP):
        assert [one.offset for one in read(f"noise\n{text}")] == [6]


def test_what_is_read_is_cut_to_what_a_report_may_hold() -> None:
    name, long = "N" * 300, "m" * 3000
    [one] = read(f"{HEAD}{name}: {long}\n{DURING}{HEAD}{name}: {long}\n")
    assert (one.type, one.message, causes(one)) == (name[:200], long[:2000], [(name[:200], long[:2000])])
    package = ".".join(["p" * 60] * 4)
    [one] = read(f"TypeError: x\n    at y\nCaused by: {package}.IOException: {long}\n")
    assert causes(one) == [(package[:200], long[:2000])]


@pytest.mark.parametrize(
    ("text", "facts", "cause"),
    [
        ("TypeError [ERR_X]: x\n    at y\n", {"code": "ERR_X"}, None),
        ("TypeError: x\n    at y {\n  status: 503,\n  code: '77',\n  errno: -111\n}\n", {"status": 503, "code": "77"}, None),
        ("TypeError: x\n    at y {\n  statusCode: 429\n  code: 'LATE'\n  code: 'LATER'\n}\n", {"status": 429, "code": "LATE"}, None),
        ("TypeError: x\n    at y {\n  status: 'bad'\n}\n", {"status": "bad"}, None),
        ("TypeError: x\n    at y\n    code: 'E'\n", {}, None),
        ("TypeError: x\n    at y {\n    at z\n  code: 'E'\n}\n", {"code": "E"}, None),
        (
            "TypeError: x\n    at y {\n  [cause]: Error: z\n      at z\n    status: 503,\n    code: 'E'\n",
            {}, Cause(type="Error", message="z", metadata={"code": "E"}),
        ),
        ("TypeError: x\n    at y {\n  [cause]: Error: z\n    code: 'E'\n", {}, Cause(type="Error", message="z", metadata={"code": "E"})),
        ("TypeError: x\n    at y\nCaused by: Error: z {\n    code: 'E'\n}\n", {}, Cause(type="Error", message="z", metadata={"code": "E"})),
        ("TypeError: x\n    at y {\n  [cause]: Error {\n    status: 5\n", {}, Cause(type="Error", message="")),
        (JAVA, {}, Cause(type="java.io.IOException", message="broken")),
        (DOTNET, {}, None),
    ],
)  # fmt: skip
def test_the_properties_in_the_braces_of_a_stack_are_those_of_the_error_above_them(
    text: str, facts: dict[str, object], cause: Cause | None
) -> None:
    [one] = read(text)
    assert (one.facts, one.cause) == (facts, cause)


def test_nodes_properties_are_facts() -> None:
    assert read(NODE)[0].facts == {"code": "ECONNREFUSED"}
    [one] = read(NODE_CAUSE)
    assert one.cause is not None
    assert (one.cause.type, one.cause.metadata) == ("Error", {"code": "ENOTFOUND"})


def test_a_logged_exception_is_one_error_with_the_words_of_its_log_line() -> None:
    """``logger.exception`` writes a line, and the traceback below it."""
    [one] = read(f"2026-11-24 10:00:00,123 CRITICAL agent: the plan failed\n{TRACEBACK}")
    assert (one.type, one.severity, one.facts) == ("openai.RateLimitError", "CRITICAL", {"logged": "agent: the plan failed"})
    assert one.offset == 0


def test_a_traceback_without_end_is_bounded() -> None:
    [one] = read("Traceback (most recent call last):\n" + "  File 'x'\n" * 100_000 + "ValueError: x\n")
    assert one.type == "ValueError"
    assert len(one.stack) <= 100_000
    assert one.stack.count("\n") == 399
    [one] = read("TypeError: x\n" + "    at y\n" * 100_000)
    assert one.stack.count("\n") == 399
    for line in (f"  File '{'x' * 1000}'\n", f"    at {'x' * 1000}\n"):
        begin = "TypeError: x\n" if " at " in line else "Traceback (most recent call last):\n"
        assert [len(one.stack) for one in read(begin + line * 200)] == [100_000]
