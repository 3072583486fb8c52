"""The guardian: a parent that starts WinClaw again when it dies or hangs, until its user quits it.

It follows the rules by which WinClaw keeps other programs alive (``processes.supervision``), and does as little as that
takes, so that there is little in it that could fail. Should it be killed all the same, WinClaw gives itself another one.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from resilience import home
from resilience.clock import Clock
from resilience.processes.policy import Process
from resilience.processes.spawning import wait_for_end
from resilience.processes.supervision import (
    Do,
    Ended,
    Next,
    NotStarted,
    ProcessState,
    Ready,
    Started,
    Supervised,
    Unwell,
    after,
    look,
)

CANNOT_START: Final = 4
"""The exit status of a WinClaw that has said why it cannot run; starting it again would change nothing."""
LOOK_S: Final = 5.0
QUIET_LOOKS: Final = 12
"""Looks in a row without a sign of life, after which WinClaw hangs. Looks, for a clock runs on while the machine sleeps."""
_ANOTHER_AFTER_S: Final = 10.0
_POLICY: Final = Process(
    command=("winclaw",), restart="on-failure", max_restarts=1000, within_s=1.0, backoff_s=1.0, max_backoff_s=60.0,
    healthy_after_s=300.0, ready_within_s=300.0, stop_timeout_s=3600.0,
)  # fmt: skip
_SILENT: Final[dict[str, Any]] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
if sys.platform == "win32":
    _OF_ITS_OWN: Final[dict[str, Any]] = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    _OF_ITS_OWN: Final[dict[str, Any]] = {"start_new_session": True}
_log = logging.getLogger("winclaw.guardian")


def own_command(*arguments: str) -> list[str]:
    """The command line that runs this very program with other arguments."""
    return [sys.executable, *([] if hasattr(sys, "frozen") else ["-m", "tray"]), *arguments]


class Guardian:
    """Runs WinClaw, and runs it again.

    Args:
        folder: WINCLAW_HOME. command: what starts WinClaw; a later start gets ``--after WHY`` behind it.
        look_s: seconds between two looks for a sign of life.
    """

    def __init__(self, folder: Path, command: Sequence[str], clock: Clock, look_s: float = LOOK_S) -> None:
        self._command, self._clock, self._look_s = command, clock, look_s
        self._alive, self._endpoint = folder / home.ALIVE, folder / home.ENDPOINT
        self._one = Supervised(policy=_POLICY)
        self._news: SimpleQueue[Ended | None] = SimpleQueue()
        self._output: Mapping[str, Any] = {}
        self._forbidden = ""
        self._sign: float | None = None
        self._quiet = 0

    def run(self, watched: int | None = None) -> int:
        """Guards WinClaw until its user quits it; returns its exit status.

        Args:
            watched: the number of a WinClaw that runs already; without it, one is started.
        """
        if watched is not None:
            self._watch(watched)
        while True:
            self._do(look(self._one, self._clock.monotonic(), forbidden=self._forbidden, waits_for=""))
            if self._forbidden and not self._one.is_alive:
                return 0
            try:
                end = self._news.get(timeout=self._pause_s())
            except Empty:
                self._feel()
                continue
            if end is None:
                continue
            has_left = end.code in (0, CANNOT_START) or (self.is_up and not self._endpoint.exists())
            self._do(after(self._one, end, self._clock.monotonic()))
            if has_left:
                return end.code or 0

    def stop(self) -> None:
        """Has WinClaw end, and ``run`` return; for signal handlers, too."""
        self._forbidden = "it was asked to stop"
        self._news.put(None)

    @property
    def is_up(self) -> bool:
        """Whether it has started; from then on, where to reach it stands on disk, until it is quit."""
        return self._one.state is ProcessState.RUNNING

    def _pause_s(self) -> float:
        due_s = self._one.due_s
        return self._look_s if due_s is None else max(0.0, min(due_s - self._clock.monotonic(), self._look_s))

    def _do(self, outcome: Next) -> None:
        self._one, do = outcome
        match do:
            case Do.START:
                self._start()
            case Do.STOP:
                if sys.platform != "win32":  # there, Ctrl-C has reached it already, and nothing else would be polite
                    self._send(signal.SIGTERM)
            case Do.KILL:
                self._send(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def _start(self) -> None:
        again = ["--after", self._one.why] if self._one.run else []
        try:
            child = subprocess.Popen([*self._command, *again], **self._output)
        except OSError as error:  # while an update replaces it, for example
            self._do(after(self._one, NotStarted(f"it could not be started: {error}"), self._clock.monotonic()))
        else:
            self._runs(child.pid, child.wait)

    def _watch(self, pid: int) -> None:
        self._output = _SILENT  # there is no terminal here
        self._runs(pid, partial(wait_for_end, pid))
        self._do(after(self._one, Ready(self._one.run), self._clock.monotonic()))

    def _runs(self, pid: int, wait: Callable[[], int | None]) -> None:
        self._do(after(self._one, Started(pid), self._clock.monotonic()))
        self._sign, self._quiet = self._last_sign(), 0
        run = self._one.run
        threading.Thread(target=lambda: self._news.put(Ended(run, wait())), name="wait", daemon=True).start()

    def _feel(self) -> None:
        """Looks whether there has been a sign of life."""
        sign = self._last_sign()
        self._quiet = self._quiet + 1 if sign == self._sign else 0
        if sign != self._sign:
            self._sign = sign
            self._do(after(self._one, Ready(self._one.run), self._clock.monotonic()))
        elif self.is_up and self._quiet >= QUIET_LOOKS and self._endpoint.exists():
            why = f"it gave no sign of life for {self._quiet * self._look_s:.0f} s"
            self._do(after(self._one, Unwell(self._one.run, why, hopeless=True), self._clock.monotonic()))

    def _last_sign(self) -> float | None:
        try:
            return self._alive.stat().st_mtime
        except OSError:
            return None

    def _send(self, what: int) -> None:
        assert self._one.pid is not None
        with suppress(OSError):  # it has ended just now
            os.kill(self._one.pid, what)


@contextmanager
def guarded(guardian: int, command: Sequence[str]) -> Iterator[None]:
    """Inside, this WinClaw never stays without a guardian: one that was killed is replaced.

    Args:
        guardian: the number of the present one. command: what starts another; it gets ``--guard PID`` behind it.
    """
    leaving = threading.Event()

    def keep() -> None:
        wait_for_end(guardian)
        while not leaving.is_set():
            _log.error("the guardian was killed; another one is started")
            try:
                subprocess.Popen([*command, "--guard", str(os.getpid())], **_SILENT, **_OF_ITS_OWN).wait()
            except OSError:
                _log.exception("no other guardian could be started")
            leaving.wait(_ANOTHER_AFTER_S)

    threading.Thread(target=keep, name="guarded", daemon=True).start()
    try:
        yield
    finally:
        leaving.set()
