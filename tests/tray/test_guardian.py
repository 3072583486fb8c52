"""The guardian over real programs that stand in for WinClaw; ``tests/test_guardian.py`` has the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resilience.clock import SystemClock
from tray.guardian import CANNOT_START, QUIET_LOOKS, Guardian, guarded, own_command

# Each run writes down with what it was started, is up, and then does what its test says.
APP = """
import os, pathlib, signal, sys, time
home = pathlib.Path({home!r})
with (home / "runs").open("a") as runs:
    print(*sys.argv[1:], file=runs)
run = len((home / "runs").read_text().splitlines())
def up():
    (home / "endpoint.json").write_text("x")
    (home / "alive").write_text(str(run))
def beat():
    while not (home / "go").exists():
        (home / "alive").write_text(str(run)); time.sleep(0.01)
def hang(): time.sleep(1000)
def leave(code=0):
    (home / "endpoint.json").unlink(); sys.exit(code)
{body}
"""
LOOK_S = 0.05


class Guarding:
    def __init__(self, folder: Path, body: str) -> None:
        self.folder = folder
        self.command = [sys.executable, "-c", APP.format(home=str(folder), body=body)]
        self.guardian = Guardian(folder, self.command, SystemClock(), LOOK_S)

    @property
    def runs(self) -> list[str]:
        """With what each run was started."""
        try:
            return (self.folder / "runs").read_text().splitlines()
        except FileNotFoundError:
            return []

    def until_runs(self, count: int) -> None:
        until(lambda: len(self.runs) >= count and (self.folder / "endpoint.json").exists())

    def let_go(self) -> None:
        """Has what beats go on with what comes next, as soon as the guardian has seen it."""
        until(lambda: self.guardian.is_up)
        (self.folder / "go").touch()


def until(met: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if met():
            return
        pause.wait(0.01)
    raise AssertionError("not within 30 s")


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Does something on another thread while the guardian runs on this one."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("code", [0, CANNOT_START])
def test_who_was_quit_or_cannot_run_at_all_is_not_started_again(tmp_path: Path, code: int) -> None:
    """Exit status 0 is a person's wish, and 4 a reason that another start would only meet again."""
    guarding = Guarding(tmp_path, f"sys.exit({code})")
    assert guarding.guardian.run() == code
    assert guarding.runs == [""]


def test_who_died_is_started_again_and_told_why(tmp_path: Path) -> None:
    guarding = Guarding(tmp_path, "up(); sys.exit(7 if run < 2 else 0)")
    assert guarding.guardian.run() == 0
    assert guarding.runs == ["", "--after it ended with exit status 7"]


def test_who_fell_while_going_was_quit_all_the_same(tmp_path: Path) -> None:
    """Its endpoint is gone once it has begun to leave; that something then went wrong brings it not back."""
    guarding = Guarding(tmp_path, "up(); beat(); leave(1)")
    with meanwhile(guarding.let_go):
        assert guarding.guardian.run() == 1
    assert len(guarding.runs) == 1


def test_who_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    guarding = Guarding(tmp_path, "up(); hang() if run < 2 else sys.exit(0)")
    assert guarding.guardian.run() == 0
    assert guarding.runs == ["", f"--after it gave no sign of life for {QUIET_LOOKS * LOOK_S:.0f} s"]


def test_who_is_leaving_may_take_its_time(tmp_path: Path) -> None:
    """No sign of life is owed any more: processes are being asked to end, which can take minutes."""
    body = f"up(); beat(); (home / 'endpoint.json').unlink(); time.sleep({LOOK_S * QUIET_LOOKS * 2})"
    guarding = Guarding(tmp_path, body)
    with meanwhile(guarding.let_go):
        assert guarding.guardian.run() == 0
    assert guarding.runs == [""]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links take special rights there")
def test_a_program_that_is_gone_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """While an update replaces it, it cannot be started; that is a failure like another, tried again with a pause."""
    guarding = Guarding(tmp_path, "sys.exit(0)")
    missing = tmp_path / "python"
    guardian = Guardian(tmp_path, [str(missing), *guarding.command[1:]], SystemClock(), LOOK_S)
    appears = threading.Timer(0.3, missing.symlink_to, [sys.executable])
    appears.start()
    assert guardian.run() == 0
    appears.join()


@pytest.mark.skipif(sys.platform == "win32", reason="there, Ctrl-C reaches WinClaw itself")
def test_asked_to_stop_it_asks_winclaw_and_waits_for_it(tmp_path: Path) -> None:
    guarding = Guarding(tmp_path, "signal.signal(signal.SIGTERM, lambda *_: leave()); up(); beat()")

    def stop() -> None:
        guarding.until_runs(1)
        guarding.guardian.stop()

    with meanwhile(stop):
        assert guarding.guardian.run() == 0
    assert not (tmp_path / "endpoint.json").exists()
    assert len(guarding.runs) == 1


def test_asked_to_stop_during_a_pause_it_ends_at_once(tmp_path: Path) -> None:
    guarding = Guarding(tmp_path, "up(); sys.exit(1)")  # again, and again with pauses that double

    def stop() -> None:
        guarding.until_runs(3)
        guarding.guardian.stop()

    with meanwhile(stop):
        assert guarding.guardian.run() == 0
    assert len(guarding.runs) == 3


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Guarding, subprocess.Popen[bytes]]]:
    """An app that runs already, with no guardian over it."""
    guarding = Guarding(tmp_path, "up(); beat() if run < 2 else leave()")
    with subprocess.Popen(guarding.command) as app:
        guarding.until_runs(1)
        yield guarding, app
        app.kill()


def test_one_that_comes_later_watches_what_runs_already(running: tuple[Guarding, subprocess.Popen[bytes]]) -> None:
    """It starts no double, and another one only when that has died."""
    guarding, app = running

    def kill() -> None:
        until(lambda: guarding.guardian.is_up)
        app.kill()

    with meanwhile(kill):
        assert guarding.guardian.run(watched=app.pid) == 0
    assert guarding.runs[0] == ""
    assert len(guarding.runs) == 2
    assert guarding.runs[1].startswith("--after it ")


def test_one_that_comes_later_goes_when_its_winclaw_is_quit(running: tuple[Guarding, subprocess.Popen[bytes]]) -> None:
    guarding, app = running

    def quit_it() -> None:
        until(lambda: guarding.guardian.is_up)
        (guarding.folder / "endpoint.json").unlink()
        app.kill()  # nobody tells a stranger its exit status

    with meanwhile(quit_it):
        guarding.guardian.run(watched=app.pid)
    assert len(guarding.runs) == 1


def test_a_guardian_that_was_killed_is_replaced(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    another = [sys.executable, "-c", f"import sys; open({str(seen)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as first:
        with guarded(first.pid, another):
            assert not seen.exists()
            first.kill()
            until(lambda: seen.exists() and seen.read_text().endswith("\n"))
        assert seen.read_text() == f"--guard {os.getpid()}\n"


def test_a_program_runs_itself_also_when_it_is_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyInstaller has made takes no ``-m``."""
    assert own_command("run") == [sys.executable, "-m", "tray", "run"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert own_command("run") == [sys.executable, "run"]
