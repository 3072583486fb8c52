"""The wire between an agent and the tray: reports and heartbeats go up, the state comes down. Standard library only.

Two daemon threads of the agent's process; nothing here is ever waited for by a call, and a tray that is not there is
no error: reports stay in the spool, the last state known stays in force.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from resilience.agent.spool import Spool
from resilience.agent.wire import UnreachableError, Wire
from resilience.clock import Clock

_PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0)
_HEARTBEAT_S: Final = 5.0
"""Until WinClaw has said how often."""
_WAIT_S: Final = 25
_UNFIT: Final = (400, 413, 422)
_OWN: Final = frozenset({"loops", "audit", "orders"})
"""News of what this very process has done."""
_log = logging.getLogger("winclaw.agent")


class Link:
    """One agent's connection to the tray of this machine.

    Args:
        agent: the agent's name. folder: WINCLAW_HOME.
        on_state: called with each answer that brings a new state, on a thread of the link.
        news: what a heartbeat tells beside being one. untold: given that back, where nobody took it.
        look: called now and then; it gives the seconds after which it wants to be called again, at the latest.
        is_quiet: say nothing before there is something to tell; of a forked child that only works nobody needs to know.
    """

    def __init__(
        self,
        agent: str,
        folder: Path,
        spool: Spool,
        clock: Clock,
        on_state: Callable[[dict[str, Any]], None],
        news: Callable[[], dict[str, Any]],
        untold: Callable[[dict[str, Any]], None],
        look: Callable[[], float | None],
        *,
        is_quiet: bool = False,
    ) -> None:
        self._agent, self._spool, self._clock = agent, spool, clock
        self._on_state, self._news, self._untold, self._look = on_state, news, untold, look
        self._heartbeat_s, self._is_quiet = _HEARTBEAT_S, is_quiet
        self._settings_id = ""
        self.is_connected = False
        """Whether WinClaw answered when it was asked last."""
        self._beat_soon = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._delivered = threading.Condition()
        self._up = Wire(folder)
        self._down = Wire(folder, timeout_s=_WAIT_S + 10)
        self._threads = [
            threading.Thread(target=target, name=f"winclaw-{what}", daemon=True)
            for what, target in (("report", self._send_up), ("state", self._listen))
        ]

    def start(self) -> None:
        """Starts both threads."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Says that something waits in the spool."""
        if self._is_quiet:
            self.beat_soon()
        self._wake.set()

    def beat_soon(self) -> None:
        """Says that there is news for a heartbeat."""
        self._is_quiet, self._beat_soon = False, True
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until the spool is empty, at most ``timeout_s``; returns whether it is."""
        self._wake.set()
        with self._delivered:
            return self._delivered.wait_for(lambda: not self._spool.waiting, timeout_s)

    def stop(self) -> None:
        """Says goodbye if the tray is there, and ends the threads."""
        self._stopping.set()
        self._wake.set()
        self._down.end()
        for thread in self._threads:
            thread.join(2)

    def leave_behind(self) -> None:
        """In a forked child: lets go of the connections, which are the parent's."""
        self._up.close()
        self._down.close()

    def _send_up(self) -> None:
        failures, beat_s = 0, -self._heartbeat_s
        while not self._stopping.is_set():
            look_s = self._heartbeat_s
            try:
                if (soon_s := self._look()) is not None:
                    look_s = max(soon_s, 0.05)
                if self._beat_soon or self._clock.monotonic() - beat_s >= self._heartbeat_s:
                    self._beat_soon = False
                    self._beat(leaving=False)
                    beat_s = self._clock.monotonic()
                    self._spool.adopt()
                self._deliver()
                failures, pause_s = 0, min(self._heartbeat_s, look_s)
            except UnreachableError:
                self._beat_soon = True  # the first thing that a WinClaw that comes back is to hear
                pause_s = _pause_s(failures)
                failures += 1
            except Exception:  # a defect of ours must not end reporting
                _log.exception("an unexpected fault while reporting to WinClaw")
                pause_s = _PAUSES_S[-1]
            if failures:
                self._stopping.wait(min(pause_s, look_s))
            else:
                self._wake.wait(pause_s)
                self._wake.clear()
        with contextlib.suppress(UnreachableError):
            self._deliver()
            self._beat(leaving=True)
        self._up.close()

    def _beat(self, *, leaving: bool) -> None:
        news, is_settled = self._news(), False
        if self._is_quiet and news.keys().isdisjoint(_OWN):
            self._untold(news)
            return
        self._is_quiet = False
        try:
            bare = {"agent": self._agent, "pid": os.getpid(), "leaving": leaving}
            status, answer = self._up.ask("POST", "/api/v1/heartbeats", {**bare, **news})
            is_unfit = status in _UNFIT
            is_settled = status == 200 or is_unfit  # what it does not take now it will never take
            if status != 200:
                _log.warning("WinClaw refused a heartbeat%s: %s", ", so its news are lost" * is_unfit, answer.get("detail"))
            if is_unfit and news:
                self._up.ask("POST", "/api/v1/heartbeats", bare)  # or this agent would be taken for lost
        finally:
            if not is_settled:
                self._untold(news)

    def _deliver(self) -> None:
        while lines := self._spool.peek():
            self._deliver_one_batch(lines)
            self._spool.acknowledge(lines)
        with self._delivered:
            self._delivered.notify_all()

    def _deliver_one_batch(self, lines: list[bytes]) -> None:
        status, answer = self._up.ask("POST", "/api/v1/errors", b"[" + b",".join(lines) + b"]")
        if status in _UNFIT:  # one of them is bad: find it, deliver the others
            if len(lines) > 1:
                middle = len(lines) // 2
                self._deliver_one_batch(lines[:middle])
                self._deliver_one_batch(lines[middle:])
            else:
                _log.warning("WinClaw refused a report, kept in refused.jsonl: %s", answer.get("detail"))
                self._spool.refuse(lines[0])
        elif status != 200:
            raise UnreachableError(f"HTTP status {status}")

    def _listen(self) -> None:
        failures, version = 0, -1
        path = f"/api/v1/agents/{quote(self._agent, safe='')}/orders"
        while not self._stopping.is_set():
            try:
                known = f"settings={self._settings_id}&version={version}"
                status, answer = self._down.ask("GET", f"{path}?wait={_WAIT_S}&{known}")
                if status != 200:
                    raise UnreachableError(f"HTTP status {status}")
                failures, self.is_connected = 0, True
                self._heartbeat_s = float(answer["policy"]["heartbeat_s"])
                if answer["state"]["version"] != version:
                    self._on_state(answer)
                    version = answer["state"]["version"]  # only now, so that what was not taken over is asked for again
                    self._settings_id = str(answer["policy"].get("settings_id", ""))
            except UnreachableError:
                self.is_connected = False
                self._stopping.wait(_pause_s(failures))
                failures += 1
            except Exception:
                _log.exception("an unexpected fault while listening to WinClaw")
                self._stopping.wait(_PAUSES_S[-1])
        self._down.close()


def _pause_s(failures: int) -> float:
    """How long to leave a WinClaw alone that did not answer, after so many failures before."""
    return _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
