"""A core and a supervisor over real processes, each of which waits for what its test tells it."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.core.inputs import Configuration
from resilience.core.state import State
from resilience.detection.prober import Prober
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.processes.identity import carriers
from resilience.processes.output import OUTPUT
from resilience.processes.policy import Process
from resilience.processes.records import owner_of
from resilience.processes.status import ProcessStatus
from resilience.processes.supervisor import Supervisor
from resilience.redaction import Redactor

DEADLINE_S = 30


def python(code: str) -> tuple[str, ...]:
    """The command that runs ``code``; told who it is by a line that the tests look for."""
    return (sys.executable, "-u", "-c", code)


SLEEPER = python("import time; print('up'); time.sleep(1000)")
TREE = python(
    "import subprocess, sys, time\n"
    "code = 'import time; time.sleep(1000)'\n"
    "children = [subprocess.Popen([sys.executable, '-c', code]), subprocess.Popen([sys.executable, '-c', code], **APART)]\n"
    "print(*(one.pid for one in children), flush=True)\n"
    "time.sleep(1000)".replace(
        "**APART", "creationflags=512" if sys.platform == "win32" else "start_new_session=True"
    )
)


def until(met: Callable[[], Any], what: str = "") -> Any:
    """Waits until ``met()`` is true, and gives what it gave."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := met():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {DEADLINE_S} s: {what or met}")


class House:
    """One life of WinClaw as far as processes are concerned; ``again()`` is the next one, on the same folder."""

    def __init__(self, folder: Path, processes: dict[str, Process]) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.settings = Settings(processes=processes)
        journal = Journal(folder / "journal.db", self.clock.now())
        self.core = Core(
            journal, History(journal.path), ErrorClassifier(clock=self.clock), Redactor(), self.clock, settings=self.settings
        )
        self.core.start()
        self.prober = Prober(self.clock)
        self.supervisor = Supervisor(folder, self.core, self.prober, Redactor(), self.clock)
        self._gone = False

    def start(self) -> House:
        self.supervisor.start()
        return self

    def status(self, name: str) -> ProcessStatus | None:
        return self.core.state.processes.get(name)

    def becomes(self, name: str, state: str, run: int = 0) -> ProcessStatus:
        """Waits until the process ``name`` is in ``state``, in this run or a later one."""
        def look(now: State) -> ProcessStatus | None:
            one = now.processes.get(name)
            return one if one is not None and one.state.value == state and one.run >= run else None

        version, end = -1, time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            now = self.core.wait_for_change(version, 1)
            if (found := look(now)) is not None:
                return found
            version = now.version
        raise AssertionError(f"{name} is not {state}: {self.core.state.processes.get(name)}")

    def configure(self, **processes: Process) -> None:
        self.core.tell(Configuration(replace(self.settings, processes=processes))).result(10)

    def ask(self, name: str, command: Any) -> None:
        self.supervisor.command(name, command, actor="test", origin="here").result(10)

    def events(self, name: str = "") -> list[str]:
        """The types of the events that were announced, of one process or of all."""
        found = self.core.history.events(0, 1000)
        return [one.type for one in found if one.type.startswith("process.") and name in ("", one.component)]

    def crash(self) -> None:
        """Ends the supervisor as kill -9 would: it does nothing any more, and its processes go on."""
        self.supervisor._unsubscribe()
        heard, self.supervisor._messages = self.supervisor._messages, queue.SimpleQueue()
        self.supervisor._table.clear()
        self.supervisor._quitting = True
        heard.put(None)
        self.supervisor._thread.join(DEADLINE_S)
        self._end()

    def stop(self) -> None:
        if not self._gone:
            self.supervisor.stop()
            self._end()

    def _end(self) -> None:
        self._gone = True
        self.prober.stop()
        self.core.stop()
        self.core.history.close()

    def again(self, **processes: Process) -> House:
        return House(self.folder, processes or dict(self.settings.processes))


Houses = Callable[..., House]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(**processes: Process) -> House:
        made.append(House(tmp_path, processes))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    for some in carriers(f"{owner_of(tmp_path)}:").values():
        for process in some:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(some, timeout=5)


def is_alive(pid: int | None) -> bool:
    """Whether a process of this number runs."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def process(command: tuple[str, ...] = SLEEPER, **policy: Any) -> Process:
    """A policy that is quick, so that the tests are."""
    patience_s = 0.3 if sys.platform == "win32" else 5  # the Windows of the bench delivers no Ctrl-Break
    return Process(**{"command": command, "backoff_s": 0.01, "max_backoff_s": 0.05, "stop_timeout_s": patience_s, **policy})


def environment_of(pid: int | None) -> dict[str, str]:
    return psutil.Process(pid or os.getpid()).environ()


def output(winclaw: House, name: str) -> str:
    path = winclaw.folder / "processes" / name / OUTPUT
    return path.read_text() if path.exists() else ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
