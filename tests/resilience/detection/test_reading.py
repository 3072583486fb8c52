"""What is read from the output of other people's programs."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import SystemClock
from resilience.core.intake import record_of
from resilience.detection.lines import Finding
from resilience.detection.reading import OutputReader, as_report
from resilience.events import Cause, Report
from resilience.redaction import Redactor
from tests.resilience.detection.outputs import CHAINED, DOTNET, JAVA, NODE, NODE_CAUSE, TRACEBACK, brief, read


def structured(fields: dict[str, object]) -> list[Finding]:
    return read(json.dumps(fields) + "\n")


def test_a_finding_is_reported_with_where_it_was_read() -> None:
    cause = Cause(type="KeyError", message="'x'")
    finding = Finding("ValueError", "no x", "FATAL", 77, "the stack", {"code": "E"}, cause)
    assert as_report(finding, "agent", "key") == Report(
        type="ValueError", message="no x", component="agent", operation="output", severity="FATAL", key="key", stack="the stack",
        cause=cause, metadata={"code": "E", "read_at": 77},
    )  # fmt: skip


LINES = [
    ("2026-11-24 10:00:00 ERROR gateway: cannot reach the model", ("LogError", "gateway: cannot reach the model", "ERROR")),
    ("ERROR:root:it broke", ("LogError", "root:it broke", "ERROR")),
    ("[ERROR] it broke", ("LogError", "it broke", "ERROR")),
    ("[2026-11-24T10:00:00Z error] it broke", None),
    ("time=2026-11-24T10:00:00Z level=error msg=broken", ("LogError", "msg=broken", "ERROR")),
    ("error: unknown option '--x'", ("LogError", "unknown option '--x'", "ERROR")),
    ("error[E0308]: mismatched types", ("LogError", "mismatched types", "ERROR")),
    ("fatal error: all goroutines are asleep - deadlock!", ("LogError", "all goroutines are asleep - deadlock!", "FATAL")),
    ("panic: runtime error: index out of range [5]", ("LogError", "runtime error: index out of range [5]", "FATAL")),
    ("CRITICAL disk is full", ("LogError", "disk is full", "CRITICAL")),
    ("ERROR TypeError: x is not a function", ("TypeError", "x is not a function", "ERROR")),
    (
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        ("MemoryError", "ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "FATAL"),
    ),
    ("\x1b[31mERROR\x1b[0m red", ("LogError", "red", "ERROR")),
    ("0 errors, 0 warnings", None),
    ("INFO error_count=0", None),
    ("2026-11-24 INFO no ERROR so far", None),
    ("WARNING ERROR might follow", None),
    ("ERROR_COUNT 5", None),
    ("ERRORS: 0", None),
    ("ERROR: 0", None),
    ("all well, no error", None),
    ("it raised ValueError: but was caught", None),
    ("", None),
]


@pytest.mark.parametrize(("line", "found"), LINES)
def test_lines_that_say_so(line: str, found: tuple[str, str, str] | None) -> None:
    assert brief(f"{line}\n") == ([found] if found else [])


JSON_LINES = [
    ('{"level":50,"time":1,"msg":"no model"}', ("LogError", "no model", "ERROR"), {}),
    ('{"level":60,"msg":"gone"}', ("LogError", "gone", "FATAL"), {}),
    ('{"level":30,"msg":"error in a message"}', None, {}),
    ('{"level":"error","message":"no model"}', ("LogError", "no model", "ERROR"), {}),
    ('{"severity":"CRITICAL","event":"no model"}', ("LogError", "no model", "CRITICAL"), {}),
    (
        '{"level":50,"msg":"call failed","err":{"type":"APIError","message":"too many","stack":"APIError: too many\\n    at x","statusCode":429}}',
        ("APIError", "call failed: too many", "ERROR"), {"status": 429},
    ),
    ('{"level":"error","msg":"x","error":"TimeoutError: late"}', ("TimeoutError", "x: late", "ERROR"), {}),
    ('{"level":"error","msg":"x","code":"ECONNRESET"}', ("LogError", "x", "ERROR"), {"code": "ECONNRESET"}),
    ('{"level":"warn","msg":"x"}', None, {}),
    ('{"no":"level"}', None, {}),
    ('{"level":true,"msg":"x"}', None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "found", "facts"), JSON_LINES)
def test_structured_logs(line: str, found: tuple[str, str, str] | None, facts: dict[str, object]) -> None:
    assert brief(f"{line}\n") == ([found] if found else [])
    if found:
        assert read(f"{line}\n")[0].facts == facts


@pytest.mark.parametrize("stack", [TRACEBACK, CHAINED.removesuffix("ready\n"), NODE_CAUSE, "Error: boom\n    at f (a.js:1:2)"])
@pytest.mark.parametrize("key", ["exc_info", "exception", "traceback", "stack", "stack_trace", "error", "err"])
def test_a_stack_in_a_structured_log_is_the_error_that_it_is_when_written_out(key: str, stack: str) -> None:
    """How it is logged must not make it another error."""
    [plain] = read(f"{stack}\n")
    [one] = structured({"level": "error", "message": "the call failed", key: stack})
    assert (one.type, one.message, one.severity, one.cause) == (
        plain.type, plain.message, "ERROR", plain.cause)  # fmt: skip
    assert one.stack == stack
    assert one.facts == {**plain.facts, "logged": "the call failed"}


def test_the_loggers_own_name_for_an_error_goes_before_that_of_its_stack() -> None:
    """A class of JavaScript that sets no name stands as Error in its stack."""
    stack = "Error: too many\n    at f (a.js:1:2)"
    [one] = structured({"level": 50, "msg": "x", "err": {"type": "RateLimitError", "message": "too many", "stack": stack}})
    assert (one.type, one.message, one.stack, one.cause) == ("RateLimitError", "x: too many", stack, None)


def test_a_stack_that_names_nothing_leaves_the_line_as_it_is() -> None:
    [one] = structured({"level": 60, "msg": "x", "code": "E1", "stack": "ERROR somewhere\nand elsewhere"})
    assert one == Finding("LogError", "x", "FATAL", 0, "ERROR somewhere\nand elsewhere", {"code": "E1"})


def test_the_facts_of_a_structured_line_go_before_those_in_its_stack() -> None:
    stack = "Error: gone\n    at f (a.js:1:2) {\n  code: 'E2',\n  status: 503\n}"
    [one] = structured({"level": 60, "msg": "x", "code": "E1", "stack": stack})
    assert one == Finding("Error", "gone", "FATAL", 0, stack, {"code": "E1", "status": 503, "logged": "x"})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TRACEBACK, "agentic.llm.rate_limit"),
        (NODE, "transient.network"),
        ("Traceback (most recent call last):\n  File 'x'\nMemoryError\n", "transient.resource.memory"),
        ("FATAL ERROR: JavaScript heap out of memory\n", "transient.resource.memory"),
    ],
)
def test_what_is_read_is_judged_by_the_taxonomy(text: str, kind: str) -> None:
    clock = SystemClock()
    report = as_report(read(text)[0], "agent", "key")
    record = record_of(report, ErrorClassifier(clock=clock), Redactor(), clock.now())
    assert record.kind == kind


ALL = "\n".join([TRACEBACK, "noise", CHAINED, NODE, "more", NODE_CAUSE, JAVA, DOTNET, *(line for line, _ in LINES)]) + "\n"


@given(st.lists(st.integers(0, len(ALL.encode())), max_size=30))
@settings(max_examples=200)
def test_how_it_is_cut_makes_no_difference(cuts: list[int]) -> None:
    data, reader, found, at = ALL.encode(), OutputReader(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += reader.feed(data[at:cut])
        at = cut
    assert [*found, *reader.flush()] == read(ALL)


@given(st.integers(0, len(ALL.encode())))
def test_reading_on_from_where_it_settled_loses_nothing_and_doubles_only_what_was_open(cut: int) -> None:
    """After a restart the reader begins where everything before was given out; the rest has the same offsets."""
    data, first = ALL.encode(), OutputReader()
    before = first.feed(data[:cut])
    second = OutputReader(first.settled)
    rest = [*second.feed(data[first.settled :]), *second.flush()]
    assert [*before, *rest] == read(ALL)


@given(st.binary(max_size=5000))
def test_rubbish_is_taken(data: bytes) -> None:
    judge(data)


SHARDS = ["Traceback (most recent call last):\n", "  File 'x'\n", "ValueError: x\n", "ERROR ", "Error: y\n", "    at z {\n", "code: '",
          '{"level":50,"msg":', '"x"}', "\n", "\x00", "\x1b[31m", "é", "\ud7ff", "[cause]: Error\n", "  | ", "  + Exception Group Traceback "
          "(most recent call last):\n", "\n\nDuring handling of the above exception, another exception occurred:\n\n"]  # fmt: skip


@given(st.lists(st.sampled_from(SHARDS), max_size=40))
@settings(max_examples=300)
def test_shards_of_errors_are_taken(shards: list[str]) -> None:
    judge("".join(shards).encode())


def judge(data: bytes) -> None:
    """Whatever is read can be reported, judged and stored."""
    clock = SystemClock()
    for one in read(data):
        report = as_report(one, "agent", "key")
        msgspec.json.decode(msgspec.json.encode(report), type=Report)
        record_of(report, ErrorClassifier(clock=clock), Redactor(), clock.now())


def test_a_line_without_end_needs_no_memory() -> None:
    reader = OutputReader()
    for _ in range(200):
        assert reader.feed(b"x" * 1_000_000) == []
    assert len(reader._rest) <= 64 * 1024
    assert [one.offset for one in [*reader.feed(b"\nERROR: after it\n"), *reader.flush()]] == [200_000_001]


def work(text: str) -> int:
    """How many steps Python takes to read ``text``: a count, not a time."""
    steps = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        read(text)
    finally:
        sys.setprofile(None)
    return steps


def test_twice_as_much_is_twice_the_work() -> None:
    assert work(ALL * 20) < 2.2 * work(ALL * 10)


def program(code: str) -> list[Finding]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return read(done.stderr)


def test_what_python_really_writes() -> None:
    [one] = program("def f():\n    1 / 0\ntry:\n    f()\nexcept Exception as e:\n    raise ValueError('two\\nlines') from e")
    assert (one.type, one.message) == ("ValueError", "two")
    assert one.cause is not None
    assert one.cause.type == "ZeroDivisionError"
    [one] = program("raise ExceptionGroup('both', [ValueError(1), TypeError(2)])")
    assert (one.type, one.message) == ("ExceptionGroup", "both (2 sub-exceptions)")
    [one] = program("import logging; logging.basicConfig()\ntry:\n    {}['x']\nexcept KeyError:\n    logging.exception('no x')")
    assert (one.type, one.message, one.facts) == ("KeyError", "'x'", {"logged": "root:no x"})
    [one] = program("import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()")
    assert one.type == "ZeroDivisionError"
