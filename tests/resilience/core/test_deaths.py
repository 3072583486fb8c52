"""What becomes of a life that ended without a goodbye, as values."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.config.settings import Settings
from resilience.core.causes import happened
from resilience.core.deaths import (
    LINES,
    Death,
    Life,
    died_at,
    is_death,
    last_lines,
    most_telling,
    named,
    report_of,
)
from resilience.core.intake import MAX_METADATA_BYTES, check, record_of
from resilience.core.records import Records
from resilience.events import EventType, Report
from resilience.redaction import Redactor
from resilience.testing import FakeClock

T0 = datetime(2026, 1, 1, 12, 30, 15, 120, UTC)
FIRST, SECOND = Life(T0, 7), Life(T0 + timedelta(minutes=1), 8)
SEGFAULT = """Fatal Python error: Segmentation fault

Thread 0x01 (most recent call first):
  File "queue.py", line 1 in get

Current thread 0x02 (most recent call first):
  File "bad.py", line 2 in touch
"""


def line(message: str, **more: Any) -> bytes:
    return json.dumps({"at": "2026-01-01T12:31:00.000000Z", "type": "log", "component": "x", "severity": "ERROR", "message": message} | more).encode() + b"\n"


def begins(life: Life) -> bytes:
    return line("WinClaw begins", life=life.name)


def messages(lines: list[dict[str, Any]]) -> list[str]:
    return [one["message"] for one in lines]


def told(wrote: str = "", because: str = "", away_s: float | None = None, lines: tuple[dict[str, Any], ...] = ()) -> Report:
    return report_of(Death(FIRST, wrote, lines, T0), because, away_s)


def test_a_life_is_found_again_by_its_name() -> None:
    assert FIRST.name == "20260101T123015.000120Z-7"
    assert named(FIRST.name) == FIRST
    assert [named(name) for name in ("", "7", "20260139T123015.000120Z-7", f"{FIRST.name}.txt", f"x{FIRST.name}")] == [None] * 5


# The end of the log.


def test_each_life_has_its_own_lines() -> None:
    log = [line("older"), begins(FIRST), line("one"), begins(SECOND), line("two"), line("three")]
    found = last_lines([FIRST, SECOND], log)
    assert messages(found[FIRST]) == ["WinClaw begins", "one"]
    assert messages(found[SECOND]) == ["WinClaw begins", "two", "three"]


def test_what_stands_before_any_beginning_is_of_the_oldest() -> None:
    """The log was turned over since it began, or is longer than what is read of it."""
    found = last_lines([FIRST, SECOND], [line("one"), begins(SECOND), line("two")])
    assert (messages(found[FIRST]), messages(found[SECOND])) == (["one"], ["WinClaw begins", "two"])


def test_a_life_that_said_goodbye_keeps_its_lines_to_itself() -> None:
    """Between two deaths there can be one that could not run, and said so."""
    other = Life(T0 + timedelta(seconds=1), 9)
    found = last_lines([FIRST], [begins(FIRST), line("one"), begins(other), line("it cannot run")])
    assert messages(found[FIRST]) == ["WinClaw begins", "one"]


def test_the_last_lines_are_kept_and_what_is_none_is_passed_over() -> None:
    log = [begins(FIRST), *(line(str(number)) for number in range(LINES + 5)), b'{"half', b"[1]\n", b"\xff\n", line("last")]
    kept = messages(last_lines([FIRST], log)[FIRST])
    assert (len(kept), kept[0], kept[-1]) == (LINES, "6", "last")
    assert last_lines([], log) == {}


def test_a_line_of_an_agent_cannot_begin_a_life() -> None:
    """Only the log's own lines are asked; what agents report is an event."""
    found = last_lines([FIRST], [begins(FIRST), line("mine", type="error", life=SECOND.name), line("mine", life=7), line("mine, too")])
    assert messages(found[FIRST])[1:] == ["mine", "mine", "mine, too"]


# When it died.


def test_it_died_when_there_was_last_something_of_it() -> None:
    at = [T0 + timedelta(seconds=number) for number in range(10)]
    lines = [{"at": at[3].isoformat()}, {"at": "never"}, {"at": at[2].replace(tzinfo=None).isoformat()}, {}]
    assert died_at(FIRST, [], [], at[9]) == T0
    assert died_at(FIRST, lines, [], at[9]) == at[3]
    assert died_at(FIRST, lines, [at[5]], at[9]) == at[5]
    assert died_at(FIRST, lines, [at[5]], at[5]) == at[5]
    assert died_at(FIRST, lines, [at[5]], at[4]) == at[3], "what the next one has left"
    assert died_at(FIRST, [], [], T0 - timedelta(hours=1)) == T0, "a clock that was set back"


# What is told.


@pytest.mark.parametrize(
    ("because", "wrote", "message"),
    [
        ("it was killed by SIGKILL", "", "WinClaw was killed by SIGKILL"),
        ("it was killed by SIGSEGV", SEGFAULT, "WinClaw was killed by SIGSEGV: Segmentation fault"),
        ("it ended with exit status 0xC0000005", "Windows fatal exception: access violation\r\n\r\nx", "WinClaw ended with exit status 0xC0000005: access violation"),
        ("it ended with exit status 1", "Traceback (most recent call last):\n  x\nValueError: no\n", "WinClaw ended with exit status 1: ValueError: no"),
        ("it ended with exit status 1", "Traceback (most recent call last):\n  x\n", "WinClaw ended with exit status 1"),
        ("it gave no sign of life for 60 s", "Timeout (0:00:40)!\nThread 0x1\n", "WinClaw gave no sign of life for 60 s"),
        ("the guardian does not know", "", "the guardian does not know"),
        ("", "", "WinClaw ended without a goodbye: a crash, a power cut, or somebody ended it"),
    ],
)  # fmt: skip
def test_the_message_says_why(because: str, wrote: str, message: str) -> None:
    assert told(wrote, because).message == message


def test_it_is_an_error_of_winclaw_itself_stored_once_for_each_life() -> None:
    report = told(SEGFAULT, "it was killed by SIGSEGV", 12.34)
    assert (report.type, report.component, report.operation, report.severity) == ("ProcessError", "winclaw", "live", "CRITICAL")
    assert (report.at, report.stack, report.key) == (T0, SEGFAULT.strip(), f"life:{FIRST.name}")
    assert report.metadata == {"pid": 7, "began": T0.isoformat(), "away_s": 12.3}
    assert told().metadata == {"pid": 7, "began": T0.isoformat()}


def test_the_lines_are_told_in_words_with_what_they_say_beside_their_message() -> None:
    lines = (
        {"at": "1", "type": "log", "component": "winclaw.core", "severity": "ERROR", "message": "it failed", "stack": "Traceback\nValueError"},
        {"at": "2", "type": "circuit.opened", "component": "gpt", "id": 3, "because": "down"},
        {"at": "3", "type": "app.stopped", "component": "winclaw"},
    )  # fmt: skip
    assert told(lines=lines).metadata["log"] == (
        '1 ERROR winclaw.core: it failed\nTraceback\nValueError\n2 circuit.opened gpt: {"because":"down"}\n3 app.stopped winclaw: '
    )


def test_of_a_line_that_lacks_something_the_rest_is_told_and_no_nought_that_no_report_takes() -> None:
    said = {"type": "log", "severity": "ERROR", "message": "a\0b"}
    assert told(lines=(said,)).metadata["log"] == " ERROR : ab"


def test_however_much_it_said_the_report_can_be_taken() -> None:
    lines = tuple({"at": str(number), "type": "log", "message": '"\N{CRAB}\0' * 5000, "stack": "\\" * 90_000} for number in range(LINES))
    report = told("x" * 300_000, "it " + "y" * 20_000, lines=lines)
    check(report, T0, timedelta(days=1))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    log = report.metadata["log"]
    assert MAX_METADATA_BYTES * 0.6 < len(msgspec.json.encode(log)) < MAX_METADATA_BYTES * 0.9
    assert log.split("\n")[-2].startswith(f"{LINES - 1} None : "), "the last lines are those that tell"


def test_of_a_long_dump_the_thread_at_fault_comes_first() -> None:
    hang = "Timeout (0:00:40)!\nThread 0x9 (most recent call first):\n  File old.py\n\n"
    assert most_telling(f" {hang}{SEGFAULT}") == f"{hang}{SEGFAULT}".strip(), "all of it, where there is room"
    short = most_telling(hang + SEGFAULT, 150)
    assert short.startswith("Fatal Python error: Segmentation fault\n\nCurrent thread 0x02")
    assert len(short) == 150
    assert most_telling("a" * 10 + "ValueError: no", 14) == "ValueError: no", "of a traceback the end tells"


# Who hears of it.


def happened_after(report: Report, **started: Any) -> list[Any]:
    clock = FakeClock(T0)
    record = record_of(report, ErrorClassifier(clock=clock), Redactor(), T0)
    said = Records(Redactor(), clock).event(EventType.APP_STARTED, "winclaw", crashed=True, away_s=3.0, because="", **started)
    return [cause for cause, _ in happened([record, said], Settings())]


def test_one_death_is_one_alert_which_leads_to_the_error() -> None:
    [cause] = happened_after(told(), error=17)
    assert (cause.about, cause.page) == ("winclaw:down", "/errors/17")
    [without] = happened_after(told())
    assert without.page == "/"


def test_other_errors_of_winclaw_are_alerts_of_their_own() -> None:
    assert is_death("winclaw", "life:x")
    assert [is_death("agent", "life:x"), is_death("winclaw", "x"), is_death("winclaw", None)] == [False] * 3
    other = Report(type="ProcessError", message="m", component="winclaw", operation="live", key="k")
    assert len(happened_after(other)) == 2
