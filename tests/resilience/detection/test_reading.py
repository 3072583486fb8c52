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


def read(text: str | bytes) -> list[Finding]:
    reader = OutputReader()
    data = text if isinstance(text, bytes) else text.encode()
    return [*reader.feed(data), *reader.flush()]


def structured(fields: dict[str, object]) -> list[Finding]:
    return read(json.dumps(fields) + "\n")


def brief(text: str | bytes) -> list[tuple[str, str, str]]:
    return [(one.type, one.message, one.severity) for one in read(text)]


TRACEBACK = '''Traceback (most recent call last):
  File "agent.py", line 3, in <module>
    main()
    ~~~~^^
  File "agent.py", line 2, in main
    raise openai.RateLimitError("slow down")
openai.RateLimitError: slow down
'''
CHAINED = '''Traceback (most recent call last):
  File "a.py", line 2, in <module>
    connect()
ConnectionRefusedError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.py", line 4, in <module>
    raise RuntimeError("no gateway") from error
RuntimeError: no gateway
ready
'''
NODE = '''node:internal/process/promises:288
            triggerUncaughtException(err, true /* fromPromise */);
            ^

Error: connect ECONNREFUSED 127.0.0.1:11434
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16) {
  errno: -111,
  code: 'ECONNREFUSED',
  syscall: 'connect',
  address: '127.0.0.1',
  port: 11434
}

Node.js v22.1.0
'''
NODE_CAUSE = '''TypeError: fetch failed
    at node:internal/deps/undici/undici:12618:11
    at async main (file:///agent.mjs:2:3) {
  [cause]: Error: getaddrinfo ENOTFOUND api.example.com
      at GetAddrInfoReqWrap.onlookup (node:dns:107:26) {
    errno: -3008,
    code: 'ENOTFOUND',
  }
}
'''
JAVA = '''Exception in thread "main" java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)
\tat Main.main(Main.java:5)
Caused by: java.io.IOException: broken
\t... 3 more
'''
DOTNET = '''Unhandled exception. System.TimeoutException: The operation has timed out.
   at Agent.Program.Main(String[] args) in Program.cs:line 5
'''


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


def test_a_finding_is_reported_with_where_it_was_read() -> None:
    cause = Cause(type="KeyError", message="'x'")
    finding = Finding("ValueError", "no x", "FATAL", 77, "the stack", {"code": "E"}, cause)
    assert as_report(finding, "agent", "key") == Report(
        type="ValueError", message="no x", component="agent", operation="output", severity="FATAL", key="key", stack="the stack",
        cause=cause, metadata={"code": "E", "read_at": 77},
    )  # fmt: skip


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
