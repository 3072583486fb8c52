"""The real program under its guardian: either is killed, or both, while supervised processes run; these never notice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from resilience.processes.identity import carriers, end_all, end_carriers
from resilience.processes.records import owner_of
from tests.program import Program
from tests.test_processes import COUNTER, configure, counted, events, running, until


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    one = Program(tmp_path / "home", port=27000, guarded=True)
    one.folder.mkdir()
    configure(one, counter={"command": [sys.executable, "-c", COUNTER]})
    try:
        one.start()
        yield one
    finally:
        end_all(lambda: [process for process in psutil.process_iter() if belongs_to(one, process)])
        one.wait()
        for token in carriers(f"{owner_of(one.folder)}:"):
            end_carriers(token)


def belongs_to(program: Program, process: psutil.Process, word: str = "tray") -> bool:
    """Whether this is a guardian or a WinClaw of this home, with ``word`` on its command line."""
    try:
        return word in process.cmdline() and process.environ().get("WINCLAW_HOME") == str(program.folder)
    except (psutil.Error, OSError):
        return False


def guardians(program: Program) -> list[int]:
    """Whoever watches over the WinClaw of this home as a later guardian."""
    return [process.pid for process in psutil.process_iter() if belongs_to(program, process, "--guard")]


def next_one(program: Program, pid: int | None) -> int:
    """The number of the WinClaw that answers in place of ``pid``."""
    until(lambda: program.pid not in (None, pid) and program.answers())
    assert program.pid is not None
    return program.pid


def starts(program: Program) -> list[dict[str, Any]]:
    return [one for one in program.ask("GET", "/api/v1/events?since=0&limit=500")["events"] if one["type"] == "app.started"]


def kill(pid: int | None) -> None:
    psutil.Process(pid).kill()


def test_kill_9_of_winclaw_brings_it_back_and_its_processes_never_notice(program: Program) -> None:
    counter, app = running(program, "counter")["pid"], program.pid
    kill(app)
    next_one(program, app)
    one = running(program, "counter")
    assert (one["pid"], one["adopted"]) == (counter, True)
    assert events(program, "counter").count("process.started") == 1
    numbers = counted(program, "counter")
    assert numbers == list(range(len(numbers)))
    again = starts(program)[-1]
    assert (again["crashed"], again["because"].startswith("it ")) == (True, True)
    assert 0 <= again["away_s"] < 60


def test_kill_9_of_the_guardian_is_noticed_by_winclaw_alone_which_gets_another(program: Program) -> None:
    counter, app = running(program, "counter")["pid"], program.pid
    program.process.kill()
    [second] = until(lambda: guardians(program))
    assert (program.pid, program.answers()) == (app, True)
    kill(app)  # and the other one does its work
    app = next_one(program, app)
    kill(second)
    until(lambda: guardians(program) not in ([], [second]))
    assert running(program, "counter")["pid"] == counter
    assert program.pid == app
    assert len(starts(program)) == 2


def test_kill_9_of_both_leaves_the_processes_and_the_next_start_takes_them_over(program: Program) -> None:
    counter, app = running(program, "counter")["pid"], program.pid
    psutil.Process(app).suspend()  # else it might give itself another guardian, which would start it again
    program.process.kill()
    kill(app)
    program.wait()
    before = len(counted(program, "counter"))
    until(lambda: len(counted(program, "counter")) > before + 10)
    program.start()
    one = running(program, "counter")
    assert (one["pid"], one["adopted"]) == (counter, True)
    assert starts(program)[-1]["crashed"]
    numbers = counted(program, "counter")
    assert numbers == list(range(len(numbers)))


@pytest.mark.skipif(sys.platform == "win32", reason="there, another program cannot ask it to stop")
def test_quitting_through_the_guardian_ends_everything_politely(program: Program) -> None:
    counter = running(program, "counter")["pid"]
    assert program.stop() == 0
    assert not psutil.pid_exists(counter)
    assert program.pid is None
    assert guardians(program) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there, another program cannot ask it to stop")
def test_quitting_after_the_guardian_was_replaced_ends_the_other_one_too(program: Program) -> None:
    app = program.pid
    program.process.kill()
    [second] = until(lambda: guardians(program))
    psutil.Process(app).terminate()
    psutil.wait_procs([psutil.Process(second)] if psutil.pid_exists(second) else [], timeout=30)
    assert guardians(program) == []
    assert program.pid is None
