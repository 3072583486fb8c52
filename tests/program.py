"""The real program in a process of its own, for tests that kill it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from resilience.agent.wire import Wire
from resilience.home import ENDPOINT, read_json

REPOSITORY = Path(__file__).parent.parent


class Program:
    """``winclaw run --headless`` on ``folder``; ``start`` returns when it answers.

    ``process`` is what was started: WinClaw itself, or with ``guarded`` its guardian.
    """

    def __init__(self, folder: Path, port: int = 21000, *, guarded: bool = False) -> None:
        self.folder, self._port, self._guarded = folder, port, guarded
        self.said = ""

    def start(self) -> Program:
        guard = [] if self._guarded else ["--no-guard"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tray", "run", "--headless", "--no-browser", "--port", str(self._port), *guard],
            env=self.environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.process.poll() is not None:
                self._reader.join(5)
                raise AssertionError(f"the program ended with {self.process.returncode}: {self.said}")
            if self.pid is not None and self._is_of(self.pid) and self.answers():
                return self
            threading.Event().wait(0.02)
        raise AssertionError(f"the program did not answer within 30 s: {self.said}")

    @property
    def pid(self) -> int | None:
        """The number of the WinClaw that agents are told of; None if there is none."""
        found = read_json(self.folder / ENDPOINT)
        return None if found is None else int(found["pid"])

    def _is_of(self, pid: int) -> bool:
        """Whether it is the one started here, and not one that died before."""
        try:
            return pid == self.process.pid or (self._guarded and psutil.Process(pid).ppid() == self.process.pid)
        except psutil.Error:
            return False

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "WINCLAW_HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        """Whether somebody answers where agents are told to go."""
        found = read_json(self.folder / ENDPOINT)
        if found is None:
            return False
        try:
            with urllib.request.urlopen(f"{found['url']}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def line(self, part: str) -> str:
        """The line of its output with ``part`` in it, as soon as it has come."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            for line in self.said.splitlines(keepends=True):
                if part in line and line.endswith("\n"):
                    return line.rstrip("\n")
            threading.Event().wait(0.02)
        raise AssertionError(f"it never said {part!r}: {self.said}")

    def ask(self, method: str, path: str, body: Any = None, *, operator: bool = False) -> dict[str, Any]:
        """One request to the program's API; it must succeed."""
        wire = Wire(self.folder, operator=operator)
        status, answer = wire.ask(method, path, body)
        wire.close()
        assert status == 200, answer
        return answer

    def command(self, *arguments: str, code: int = 0) -> str:
        """What ``winclaw ARGUMENTS`` says; it must end with exit status ``code``.

        It says it into files: Wine's desktop, which the first program that asks for it starts, would hold a pipe open for ever.
        """
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [sys.executable, "-m", "tray", *arguments], env=self.environment, cwd=REPOSITORY, stdout=out, stderr=err,
                check=False, timeout=60, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            said = out.read() + err.read()
        assert done.returncode == code, said
        return said

    def kill(self) -> None:
        """Ends it without a word, as the Task Manager or a power cut does."""
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """Asks it to stop; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Waits for its end; returns the exit status."""
        status = self.process.wait(20)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status
