"""The program and its agents are killed without warning, at any moment, under load: nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import resilience
from resilience.agent.wire import UnreachableError, Wire
from tests.disks import small_disk
from tests.program import REPOSITORY, Program

REPORT = {"type": "TimeoutError", "message": "late", "component": "gpt-5.2", "operation": "ask"}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    one = Program(tmp_path / "home")
    yield one
    if hasattr(one, "process") and one.process.poll() is None:
        one.kill()


def stored_keys(folder: Path) -> list[str]:
    conn = sqlite3.connect(folder / "journal.db")
    try:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")
        return [key for (key,) in conn.execute("SELECT key FROM errors ORDER BY id")]
    finally:
        conn.close()


class Load(threading.Thread):
    """Posts batches as fast as they are taken, and notes what was acknowledged."""

    def __init__(self, folder: Path, kill_after: int, reached: threading.Event) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, int] = {}
        self._wire, self._kill_after, self._reached = Wire(folder), kill_after, reached

    def run(self) -> None:
        with contextlib.suppress(UnreachableError):
            while True:
                keys = [uuid.uuid4().hex for _ in range(20)]
                status, answer = self._wire.ask("POST", "/api/v1/errors", _batch(keys))
                if status != 200:
                    return
                self.acknowledged.update(zip(keys, answer["ids"], strict=True))
                if len(self.acknowledged) >= self._kill_after:
                    self._reached.set()


def _batch(keys: list[str]) -> bytes:
    import json

    return json.dumps([{**REPORT, "key": key} for key in keys]).encode()


@pytest.mark.parametrize("kill_after", [1, 40, 300, 1000])
def test_kill_9_under_load_loses_no_acknowledged_event(program: Program, kill_after: int) -> None:
    """Four callers at once; the program dies as soon as one of them has so many acknowledgements."""
    program.start()
    reached = threading.Event()
    callers = [Load(program.folder, kill_after, reached) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert reached.wait(60)
    program.kill()
    for caller in callers:
        caller.join(30)
    acknowledged: dict[str, int] = {}
    for caller in callers:
        acknowledged.update(caller.acknowledged)
    assert len(acknowledged) >= kill_after
    program.start()
    program.stop()
    conn = sqlite3.connect(program.folder / "journal.db")
    found = dict(conn.execute("SELECT key, id FROM errors").fetchall())
    conn.close()
    assert acknowledged.items() <= found.items()
    stored = stored_keys(program.folder)
    assert len(stored) == len(set(stored))


def test_everything_reported_arrives_once_though_app_and_agent_are_killed(program: Program, tmp_path: Path) -> None:
    """The agent dies in the middle of reporting, the app dies three times; the next app has it all, each once."""
    program.start()
    agent = subprocess.Popen(
        [sys.executable, "-m", "tests.sample_agent", str(tmp_path / "workshop"), "--steady", "500", "60"],
        env=program.environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert agent.stdout is not None
    reported = 0
    for kill_at in (100, 300, 600):
        while reported < kill_at:
            reported = int(agent.stdout.readline())
        program.kill()
        program.start()
    while reported < 800:
        reported = int(agent.stdout.readline())
    program.kill()
    agent.kill()
    reported = max([reported, *(int(line) for line in agent.stdout.read().split())])
    agent.stdout.close()
    agent.wait()
    program.start()
    # The agent never comes back: what it left on disk is brought in by the app itself.
    until = threading.Event()
    for _ in range(600):
        if not list((program.folder / "spool").glob("*.spool")):
            break
        until.wait(0.05)
    assert program.stop() == 0
    conn = sqlite3.connect(program.folder / "journal.db")
    numbers = [int(message.split()[1]) for (message,) in conn.execute("SELECT message FROM errors WHERE operation = 'steady' ORDER BY id")]
    conn.close()
    assert len(numbers) == len(set(numbers))
    assert set(range(reported + 1)) <= set(numbers)


def test_safe_mode_survives_kill_9_from_the_moment_it_is_answered(program: Program) -> None:
    program.start()
    program.ask("POST", "/api/v1/level", {"level": "safe-mode"}, operator=True)
    program.kill()
    program.start()
    state = program.ask("GET", "/api/v1/state")
    assert (state["level"], state["pinned"]) == ("SAFE_MODE", True)


def test_an_open_circuit_survives_kill_9_from_the_moment_it_is_answered(program: Program) -> None:
    program.start()
    opened = {"service": "gpt-5.2", "state": "OPEN", "change": 1, "because": "3 calls in a row failed", "retry_after_s": 3600}
    program.ask("POST", "/api/v1/heartbeats", {"agent": "a", "pid": 1, "circuits": [opened]})
    program.ask("POST", "/api/v1/circuits/gmail_api/isolate", {}, operator=True)
    program.kill()
    program.start()
    services = {one["name"]: one for one in program.ask("GET", "/api/v1/state")["services"]}
    assert (services["gpt-5.2"]["circuit"], services["gpt-5.2"]["because"]) == ("OPEN", "3 calls in a row failed")
    assert services["gmail_api"]["circuit"] == "ISOLATED"
    late = resilience.connect("late", folder=program.folder)
    breaker = late.resilience.circuits.get_or_create("gpt-5.2")
    told = threading.Event()
    breaker.listen(lambda _: told.set())
    if not breaker.is_open:
        assert told.wait(20)
    with pytest.raises(resilience.CircuitBreakerOpenError, match=r"3 calls in a row failed \(seen by a\)"):
        late.protect("gpt-5.2")(lambda: 1)()
    late.close()


def test_an_agent_works_alone_and_delivers_when_the_app_comes(program: Program) -> None:
    agent = resilience.connect("early-bird", folder=program.folder)
    agent.report(TimeoutError("before anybody listens"), "gpt-5.2", "ask")
    assert agent.state["level"] == "FULL"
    program.start()
    assert agent.flush(20)
    agent.close()
    errors = program.ask("GET", "/api/v1/errors")["errors"]
    assert [error["message"] for error in errors] == ["before anybody listens"]


def test_a_corrupt_journal_is_set_aside_a_new_one_begun_and_it_is_said(program: Program) -> None:
    program.start()
    program.ask("POST", "/api/v1/errors", {**REPORT, "key": "k"})
    program.kill()
    for ending in ("-wal", "-shm"):
        program.folder.joinpath(f"journal.db{ending}").unlink(missing_ok=True)
    program.folder.joinpath("journal.db").write_bytes(os.urandom(50_000))
    program.start()
    state = program.ask("GET", "/api/v1/state")
    assert "damaged" in state["notices"][0]["what"]
    assert "journal.set_aside" in [event["type"] for event in program.ask("GET", "/api/v1/events?since=0")["events"]]
    assert len(list(program.folder.glob("journal.damaged-*.db"))) == 1
    program.ask("POST", "/api/v1/errors", {**REPORT, "key": "k"})
    program.stop()
    assert "damaged" in program.said


def fill(file: Path) -> None:
    """Leaves no room beside ``file``."""
    with pytest.raises(OSError, match="No space left"), file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 1000)


@pytest.mark.parametrize("ends", ["kill", "stop"])
def test_on_a_full_disk_it_starts_from_what_it_knew_and_agents_find_it(tmp_path: Path, ends: str) -> None:
    """After a crash, and after it was quit: then there is no room for where to find it, until there is some."""
    with small_disk(tmp_path / "small", 4_000) as folder:
        program = Program(folder)
        program.start()
        program.ask("POST", "/api/v1/level", {"level": "safe-mode"}, operator=True)
        getattr(program, ends)()
        program.said = ""
        filling = folder / "filling"
        fill(filling)
        if ends == "stop":
            makes_room = threading.Timer(8, filling.unlink)
            makes_room.start()
        program.start()
        state = program.ask("GET", "/api/v1/state")
        assert state["level"] == "SAFE_MODE"
        if ends == "kill":
            assert "journal" in [one["name"] for one in state["notices"]]
            filling.unlink()
        program.ask("POST", "/api/v1/errors", {**REPORT, "key": "k"})
        assert program.stop() == 0
        assert stored_keys(folder)[-1] == "k"


def test_quitting_on_a_full_disk_is_no_crash(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 4_000) as folder:
        program = Program(folder)
        program.start()
        fill(folder / "filling")
        program.said = ""
        assert program.stop() == 0, program.said
        (folder / "filling").unlink()
        program.start()
        started = [one for one in program.ask("GET", "/api/v1/events?since=0")["events"] if one["type"] == "app.started"]
        assert [one["crashed"] for one in started] == [False, False]
        assert program.stop() == 0
