"""Level 5 of recovery, by the real program: what was exported while it ran, under load, stands on an empty machine again."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.wire import Wire
from resilience.clock import SystemClock
from resilience.exporting import placing
from resilience.exporting.archive import Archive
from resilience.recovery.checkpoints import CheckpointManager
from resilience.transactions.file import unfinished_in
from tests.program import REPOSITORY, Program
from tests.resilience.exporting.exporting import a_machine, contents, reading, rows_of
from tray.disaster import DisasterError, read_restore

# What lives in an agent: errors, checkpoints, a message that waits, and a transaction in whose middle it is killed.
WORKS = """
import os, sys
import resilience
agent = resilience.connect("mailer")
for number in range(30):
    agent.report(ValueError(f"error {number}"), component="mail", operation="send")
agent.report(OSError("the memory is gone"), component="MemorySystem", operation="load")
agent.recovery.checkpoint_manager.create_checkpoint("component", "memory", {"notes": ["one"]})
agent.recovery.checkpoint_manager.create_checkpoint("component", "memory", {"notes": ["one", "two"], "api_key": "geheim"})
agent.outbox.send("courier", {"to": "ann"}, key="invoice-17")
@agent.compensation("delete-draft")
def undo(kept): ...
with agent.transaction("send-report") as tx:
    tx.do(lambda: {"draft": 7}, undo=undo)
    print("in the middle", flush=True)
    sys.stdin.read()
"""
# The same agent, on the restored machine: what it has to undo and to send.
GOES_ON = """
import sys
import resilience
agent = resilience.connect("mailer")
@agent.compensation("delete-draft")
def undo(kept):
    print("undone", kept, flush=True)
@agent.outbox.sender("courier")
def send(message):
    print("sent", message.key, message.payload, flush=True)
sys.stdin.read()
"""


class Agent:
    """An agent in a process of its own, on the home of ``program``; it is killed in the end."""

    def __init__(self, program: Program, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=program.environment, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=20)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.kill()


def begun(programs: list[Program], folder: Path, port: int) -> Program:
    programs.append(Program(folder, port=port))
    return programs[-1].start()


def load(program: Program, ending: threading.Event) -> None:
    wire, number = Wire(program.folder), 0
    while not ending.is_set():
        reports = [{"type": "OSError", "message": f"load {number + n}", "component": "load", "operation": "x"} for n in range(10)]
        status, _ = wire.ask("POST", "/api/v1/errors", json.dumps(reports).encode())
        assert status == 200
        number += 10
    wire.close()


def seen(program: Program) -> dict[str, Any]:
    """What the program says of what must not get lost."""
    state = program.ask("GET", "/api/v1/state", operator=True)
    alerts = program.ask("GET", "/api/v1/alerts", operator=True)["alerts"]
    versions = program.ask("GET", "/api/v1/config/versions", operator=True)["versions"]
    return {
        "level": (state["level"], state["pinned"], state["since"]), "waiting": state["waiting"]["channels"],
        "alerts": [(one["id"], one["title"], one["at"]) for one in alerts if one["title"] != "WinClaw was down"],
        "versions": [(one["version"], one["at"], one["author"], one["outcome"]) for one in versions],
    }  # fmt: skip


def test_an_export_of_a_running_winclaw_brings_an_empty_machine_to_the_same_state(tmp_path: Path, programs: list[Program]) -> None:
    program = begun(programs, tmp_path / "home", 27700)
    agent = Agent(program, WORKS)
    assert agent.line() == "in the middle"
    agent.kill()
    config = program.folder / "error_handling_config.yaml"
    config.write_text(config.read_text("utf-8") + "\n# mine\n", "utf-8")
    wait_for(lambda: len(seen(program)["versions"]) == 2)
    program.command("safe-mode", "on")
    ending = threading.Event()
    writer = threading.Thread(target=load, args=(program, ending))
    writer.start()
    try:
        said = program.command("export", str(tmp_path / "x.zip"))
    finally:
        ending.set()
        writer.join()
    assert "1 value in 1 file was left out, as secrets:" in said
    assert "a checkpoint of memory" in said
    assert "$.api_key" in said
    before = seen(program)
    assert before["level"][:2] == ("SAFE_MODE", True)
    assert before["waiting"] == {"courier": 1}
    assert before["alerts"]
    assert program.stop() == 0

    other = Program(tmp_path / "other", port=27701)
    looked = other.command("restore", str(tmp_path / "x.zip"), "--dry-run")
    assert "4. Compare what stands there" in looked
    assert not other.folder.exists()
    said = other.command("restore", str(tmp_path / "x.zip"))
    assert "journal.db" in said
    assert "DIFFERS" not in said
    assert "all that stands there is what was exported" in said

    last_id = compare_journals(program.folder / "journal.db", other.folder / "journal.db")
    for name in ("outbox", "transactions", "held.json", "error_handling_config.yaml"):
        assert of(other.folder, name) == of(program.folder, name)
    found = CheckpointManager(other.folder / "checkpoints").get_latest_checkpoint("memory")
    assert found is not None
    assert found.state == {"notes": ["one", "two"], "api_key": "[redacted]"}
    [open_one] = unfinished_in(other.folder / "transactions")
    assert (open_one.transaction, open_one.state) == ("send-report", "abandoned")

    other = begun(programs, other.folder, 27701)
    wait_for(lambda: seen(other)["waiting"])  # it answers before it has counted
    assert seen(other) == before
    events = other.ask("GET", f"/api/v1/events?since={last_id}", operator=True)["events"]
    assert [one["crashed"] for one in events if one["type"] == "app.started"][-1] is False
    errors = other.ask("GET", "/api/v1/errors?component=mail", operator=True)["errors"]
    assert sorted(one["message"] for one in errors) == sorted(f"error {number}" for number in range(30))

    other.command("safe-mode", "off", "--yes")
    agent = Agent(other, GOES_ON)
    assert sorted([agent.line(), agent.line()]) == ["sent invoice-17 {'to': 'ann'}", "undone {'draft': 7}"]
    wait_for(lambda: seen(other)["waiting"] == {})
    agent.kill()
    assert unfinished_in(other.folder / "transactions") == []
    with reading(other.folder / "outbox" / "mailer.db") as conn:
        assert conn.execute("SELECT key, state FROM messages").fetchall() == [("invoice-17", "sent")]
    assert other.stop() == 0


def of(folder: Path, name: str) -> dict[str, Any]:
    return {path: held for path, held in contents(folder).items() if path.partition("/")[0] == name}


def compare_journals(original: Path, copy: Path) -> int:
    """All that the copy holds is what the original held up to one id, which has gone on since; returns that id."""
    then, now = rows_of(copy), rows_of(original)
    last = max(row[0] for table in ("errors", "events") for row in then[table])
    for table in ("errors", "events"):
        assert then[table] == [row for row in now[table] if row[0] <= last]
    assert sum(row[7] for row in then["groups"]) == sum(row[2] for row in then["minutes"]) == len(then["errors"])
    kept = {row[0]: row[1] for row in then["state"]}
    assert kept["last_id"] == str(last)
    later = {row[0]: row[1] for row in now["state"]}
    moved_on = {name.partition(":")[0] for name in kept if kept[name] != later.get(name)}
    assert moved_on <= {"last_id", "health", "alert", "lives"}
    return int(last)


def wait_for(condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it never came")


def test_restore_refuses_a_home_that_is_used_and_a_file_that_is_none(tmp_path: Path, programs: list[Program]) -> None:
    program = begun(programs, tmp_path / "home", 27702)
    program.command("export", str(tmp_path / "x.zip"))
    assert "already" in program.command("export", str(tmp_path / "x.zip"), code=1)
    program.command("export", str(tmp_path / "x.zip"), "--force", "--with-secrets", "--with-logs")
    assert "WinClaw runs on" in program.command("restore", str(tmp_path / "x.zip"), "--force", code=1)
    assert program.stop() == 0
    assert "is not empty: there is" in program.command("restore", str(tmp_path / "x.zip"), code=1)
    (tmp_path / "y.zip").write_bytes(b"no zip")
    assert "cannot be restored: it is no zip file" in program.command("restore", str(tmp_path / "y.zip"), "--into", str(tmp_path / "new"), code=1)
    assert not (tmp_path / "new").exists()
    said = program.command("restore", str(tmp_path / "x.zip"), "--force")
    assert "what was there before is kept in" in said
    assert begun(programs, program.folder, 27702).stop() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="rights are no numbers there")
def test_a_folder_to_which_nothing_is_restored_keeps_its_rights(tmp_path: Path) -> None:
    a_machine(tmp_path / "home").export(tmp_path / "x.zip")
    folder = tmp_path / "documents"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(DisasterError, match=r"is not empty: there is letter\.txt"):
        read_restore(tmp_path / "x.zip", folder, SystemClock(), str, dry_run=False, force=False)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert read_restore(tmp_path / "x.zip", folder, SystemClock(), str, dry_run=False, force=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_a_winclaw_that_runs_it_is_exported_as_well(tmp_path: Path, programs: list[Program]) -> None:
    program = begun(programs, tmp_path / "home", 27703)
    program.kill()  # so that what it wrote last stands in the write-ahead log
    program.command("export", str(tmp_path / "x.zip"))
    other = Program(tmp_path / "other", port=27704)
    other.command("restore", str(tmp_path / "x.zip"))
    compare_journals(program.folder / "journal.db", other.folder / "journal.db")
    other = begun(programs, other.folder, 27704)
    started = other.ask("GET", "/api/v1/events?since=0&limit=100", operator=True)["events"]
    assert [one["crashed"] for one in started if one["type"] == "app.started"] == [False, False]
    assert other.stop() == 0


def test_a_restore_that_was_cut_off_is_brought_to_its_end_by_the_next_winclaw(tmp_path: Path, programs: list[Program]) -> None:
    program = begun(programs, tmp_path / "home", 27705)
    program.command("level", "minimal")
    program.command("export", str(tmp_path / "x.zip"))
    assert program.stop() == 0
    other = tmp_path / "other"
    (other / placing.READY).mkdir(parents=True)
    (other / "held.json").write_bytes(b"{}")
    with Archive(tmp_path / "x.zip") as archive:
        archive.unpack(other / placing.READY)
    assert "was cut off" in Program(other).command("export", str(tmp_path / "y.zip"), code=1)
    second = begun(programs, other, 27706)
    assert second.ask("GET", "/api/v1/state", operator=True)["level"] == "MINIMAL"
    [aside] = other.glob("before-restore-*")
    assert contents(aside) == {"held.json": b"{}"}
    assert second.stop() == 0
