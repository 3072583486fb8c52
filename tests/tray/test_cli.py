"""The command line, as people and scripts use it: the real program, in processes of its own."""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resilience.journal.journal import JournalError
from tests.program import Program
from tray.cli import _may_pass


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    one = Program(tmp_path_factory.mktemp("cli") / "home", port=23000).start()
    yield one
    if sys.platform == "win32":  # there, a process without a window can only be killed from outside
        one.kill()
    else:
        assert one.stop() == 0
        assert not (one.folder / "endpoint.json").exists()


def test_headless_says_so_in_one_clear_line(program: Program) -> None:
    said = "No tray icon (it was asked for); the way in is: winclaw open. Stop with Ctrl-C."
    assert program.line("No tray icon") == said
    assert program.said.count(said) == 1


def test_status_in_words_and_as_json(program: Program) -> None:
    assert program.command("status").startswith("Level 1 of 5: Full.")
    assert json.loads(program.command("status", "--json"))["level"] == "FULL"


def test_status_names_the_services_that_do_not_answer(program: Program) -> None:
    circuits = [{"service": "a", "state": "CLOSED"}, {"service": "b", "state": "OPEN", "change": 1, "because": "it burns"}]
    program.ask("POST", "/api/v1/heartbeats", {"agent": "x", "circuits": [{**one, "retry_after_s": 60} for one in circuits]})
    said = program.command("status")
    assert "Services: 1 of 2 answer\n  b: circuit open, it burns\n" in said


def test_what_only_terminals_understand_does_not_reach_them(program: Program) -> None:
    circuits = [{"service": "b\x1b]0;x\x07", "state": "OPEN", "change": 1, "because": "it burns", "retry_after_s": 60}]
    program.ask("POST", "/api/v1/heartbeats", {"agent": "ag\x1b[2J\u202e\u4ee3\u7406", "circuits": circuits})
    said = program.command("status")
    shown = "\u4ee3\u7406" if "\u4ee3" in said else "??"  # as far as the console can show them
    assert f"ag?[2J?{shown}\n" in said
    assert "  b?]0;x?: circuit open" in said
    assert "\x1b" in json.loads(program.command("status", "--json"))["agents"][-1]["name"]


def test_safe_mode_on_and_off_with_a_question(program: Program) -> None:
    assert "Safe Mode" in program.command("safe-mode", "on")
    assert program.command("level") == "safe-mode\n"
    refused = program.command("safe-mode", "off", code=1)  # nobody there to answer
    assert "The level becomes Full" in refused
    assert program.command("level") == "safe-mode\n"
    assert "Level 1 of 5" in program.command("safe-mode", "off", "--yes")
    assert program.command("safe-mode", "off") == "Safe Mode is not on.\n"
    audit = [event for event in program.ask("GET", "/api/v1/events?since=0")["events"] if event["type"] == "command"]
    assert [(event["asked"], event["actor"]) for event in audit] == [("SAFE_MODE", "command line"), ("AUTO", "command line")]


def test_a_level_is_pinned_and_released(program: Program) -> None:
    assert program.command("level", "degraded-llm").startswith("Level 2 of 5: Degraded LLM.")
    assert "(pinned)" in program.command("status")
    assert program.command("level", "auto").startswith("Level 1 of 5: Full.")
    assert "'panic' is not one of" in program.command("level", "panic", code=2)


def test_open_prints_a_link_that_works_once(program: Program) -> None:
    link = program.command("open", "--print").strip()
    assert link.startswith("http://127.0.0.1:")
    assert "/login?ticket=" in link


def test_a_second_launch_leaves_the_first_alone(program: Program) -> None:
    assert "running already" in program.command("run", "--headless", "--no-browser")


def test_config_check_looks_at_the_addresses_that_the_app_would_refuse(program: Program, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    email = "{enabled: true, recipients: [a@b.example], url: 'nosuchservice://hidden'}"
    bad.write_text(f"error_handling: {{alerting: {{channels: {{email: {email}}}}}}}\n")
    said = program.command("config", "check", str(bad), code=1)
    assert "alerts cannot take it: apprise does not understand alerting.channels.email.url" in said
    assert "hidden" not in said


def test_config_check_says_where_and_what(program: Program, tmp_path: Path) -> None:
    assert program.command("config", "check").endswith("all right.\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("error_handling:\n  retry:\n    strategies:\n      network: {max_retries: many}\n")
    said = program.command("config", "check", str(bad), code=1)
    assert "line 4" in said
    assert "error_handling.retry.strategies.network.max_retries" in said


def test_without_a_running_app_it_says_how_to_start_one(tmp_path: Path) -> None:
    assert "winclaw run" in Program(tmp_path / "nobody").command("status", code=3)


def test_the_version_is_told(tmp_path: Path) -> None:
    assert "0.1.0" in Program(tmp_path).command("--version")


def test_a_channel_is_tested_and_what_came_of_it_is_said(program: Program) -> None:
    assert program.command("alerts", "test", "log") == "log: delivered, in the log.\n"
    assert "email is off; set alerting.channels.email.enabled to true" in program.command("alerts", "test", "email", code=1)
    assert "there is no channel 'smoke'; there are log" in program.command("alerts", "test", "smoke", code=1)


def test_a_channel_that_cannot_deliver_is_an_error_with_the_reason(tmp_path: Path) -> None:
    one = Program(tmp_path / "home", port=23100)
    one.folder.mkdir()
    webhook = "webhook: {enabled: true, url: http://127.0.0.1:9/}"
    others = "others: {wrong: {url: env:NO_SUCH_ADDRESS}}"
    config = f"error_handling: {{alerting: {{channels: {{{webhook}, {others}}}}}}}"
    (one.folder / "error_handling_config.yaml").write_text(config, encoding="utf-8")
    one.start()
    assert "It is tried again." in one.command("alerts", "test", "webhook", code=1)
    assert "wrong: it did not arrive, the environment has no NO_SUCH_ADDRESS" in one.command("alerts", "test", "wrong", code=1)
    one.kill()


def test_a_recovery_shows_its_plan_and_what_came_of_each_step(tmp_path: Path) -> None:
    program = Program(tmp_path / "home", port=23300).start()
    said = program.command("recover", "system", "--yes")
    assert said.startswith("1. Save how things stand, to compare with later.\n2. Read the configuration again.\n")
    assert "done: Save how things stand, to compare with later. saved as chk_" in said
    assert program.command("recover", "component", "m", "--dry-run", code=1).startswith("Nothing to recover: Nothing can be done for m")
    assert "say what is to be recovered" in program.command("recover", "component", code=1).lower()
    assert "The system is recovered as a whole" in program.command("recover", "system", "m", "--yes", code=1)
    program.kill()


def test_versions_are_shown_and_rolled_back_with_winclaw_and_without(tmp_path: Path) -> None:
    """With a question; what only terminals understand, and secrets, do not get through."""
    one = Program(tmp_path / "home", port=23200).start()
    file = one.folder / "error_handling_config.yaml"
    first = file.read_bytes()
    file.write_text("# \u202e token=hidden\nerror_handling:\n  dashboard:\n    port: 9000\n", encoding="utf-8")
    assert "error_handling.dashboard.port" not in one.command("config", "show")
    assert until(lambda: "in force" in one.command("config", "versions").partition("first run")[0])
    listed = one.command("config", "versions")
    assert "   2  " in listed.splitlines()[0]
    assert "      dashboard.port: 8765 \u2192 9000" in listed.replace("?", "\u2192")
    assert max(map(len, listed.splitlines())) < 80
    assert "port: 9000" in one.command("config", "show")
    text = one.command("config", "show", "--version", "2")
    assert "token=[redacted]" in text
    assert text.isprintable() or set(text) - {"\n"} == {char for char in text if char.isprintable()}
    assert "+    port: 9000" in one.command("config", "show", "--version", "2", "--diff")
    refused = one.command("config", "rollback", "1", code=1)
    assert "Version 1 changes, against what is in force:" in refused
    assert file.read_bytes() != first
    said = one.command("config", "rollback", "1", "--yes")
    assert "Version 1 is in force again; what error_handling_config.yaml said before is kept as" in said.replace("\n", " ")
    assert file.read_bytes() == first
    assert "No such version" in one.command("config", "rollback", "9", "--yes", code=1)
    [newest, *_] = json.loads(one.command("config", "versions", "--json"))
    assert (newest["version"], newest["author"], newest["restores"]) == (3, "command line", 1)
    audit = [event for event in one.ask("GET", "/api/v1/events?since=0&limit=500")["events"] if event["type"] == "command"]
    assert [(event["asked"], event["actor"]) for event in audit] == [("rollback version 1", "command line")]
    one.kill()
    assert "port: 8765" in one.command("config", "show")
    assert "no version 9" in one.command("config", "show", "--version", "9", code=1)
    assert "no version 9" in one.command("config", "rollback", "9", "--yes", code=1)
    assert "from the next start on" in one.command("config", "rollback", "2", "--yes").replace("\n", " ")
    assert b"port: 9000" in file.read_bytes()
    one.start()
    assert one.command("config", "versions").splitlines()[1] == "      in force"
    assert [entry["version"] for entry in json.loads(one.command("config", "versions", "--json"))] == [4, 3, 2, 1]
    one.kill()


def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds within a while."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        if holds():
            return True
    return False


def _of_sqlite(code: int) -> JournalError:
    cause = sqlite3.OperationalError("?")
    cause.sqlite_errorcode = code
    error = JournalError("?")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (OSError(errno.ENOSPC, "?"), True), (TimeoutError(), True), (TimeoutError("the journal does not answer"), True),
        (_of_sqlite(sqlite3.SQLITE_FULL), True), (_of_sqlite(sqlite3.SQLITE_BUSY), True), (_of_sqlite(sqlite3.SQLITE_IOERR_WRITE), True),
        (OSError(errno.EADDRINUSE, "?"), False), (PermissionError(errno.EACCES, "?"), False), (JournalError("newer"), False),
        (_of_sqlite(sqlite3.SQLITE_CANTOPEN), False),
    ],
)  # fmt: skip
def test_the_guardian_tries_again_what_may_pass(error: Exception, may_pass: bool) -> None:
    assert _may_pass(error) is may_pass
