"""What the supervisor tells the core: where each process stands, what became of it, and its crashes as errors."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from resilience.clock import Clock
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import ProcessTold
from resilience.detection.metrics import TreeUse
from resilience.events import EventType, Report
from resilience.journal.journal import JournalError
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import (
    Ended,
    Happening,
    NotStarted,
    ProcessState,
    Ready,
    Silent,
    Started,
    Supervised,
    is_failure,
)

_MAX_UNTOLD: Final = 1000
_Word = Callable[[], Future[Any]]


class Telling:
    """Hands the core what happens, in order; what it takes no more of just now, later. Belongs to one thread."""

    def __init__(self, core: Core, clock: Clock) -> None:
        self._core, self._clock = core, clock
        self._untold: deque[_Word] = deque(maxlen=_MAX_UNTOLD)
        self._under_way: deque[tuple[_Word, Future[Any]]] = deque()
        self._crashes: list[_Word] = []
        self._told: dict[str, tuple[object, ProcessStatus]] = {}

    def announce(self, kind: EventType, name: str, **body: Any) -> None:
        """Announces an event of the process ``name``."""
        self._untold.append(partial(self._core.announce, kind, name, **body))

    def became(self, name: str, before: Supervised, one: Supervised, what: Happening | None) -> None:
        """Announces what has become of a process: ``before`` was made ``one`` by what happened, or by a look (None)."""
        match what:
            case Started(pid, adopted):
                kind = EventType.PROCESS_ADOPTED if adopted else EventType.PROCESS_STARTED
                self.announce(kind, name, pid=pid, run=one.run, because=before.why)
            case Ready() if one.state is ProcessState.RUNNING and one.policy.asked is not None:
                after_s = one.since_s - one.started_s if before.silent_s is None else self._clock.monotonic() - before.silent_s
                self.announce(EventType.PROCESS_READY, name, pid=one.pid, seconds=round(after_s, 3), because=before.why)
            case Silent():
                self.announce(EventType.PROCESS_SILENT, name, pid=one.pid, because=one.why)
            case Ended() | NotStarted():
                self._ended(name, before, one, what)
            case _ if one.state is ProcessState.STOPPING is not before.state:
                self.announce(EventType.PROCESS_STOPPING, name, pid=one.pid, because=one.why)
            case _:
                pass

    def stands(self, name: str, one: Supervised, *, blocked: str, use: TreeUse | None) -> None:
        """Tells where a process stands, if that has changed.

        Args:
            blocked: what is in its way that only a person can move; empty if nothing is.
            use: what it uses of the machine, if that was measured.
        """
        moments, (known, before) = (one.since_s, one.due_s), self._told.get(name, (None, None))
        since, next_at = (before.since, before.next_at) if before is not None and known == moments else self._wall(one)
        status = ProcessStatus(
            name=name, state=one.state, since=since, pid=one.pid, run=one.run, restarts=max(one.run - one.first_run, 0),
            adopted=one.adopted, why=one.why, next_at=next_at, command=one.policy.command,
            needs_you=one.why if one.state is ProcessState.FAILED else blocked, ready=one.is_ready,
            memory_mb=None if use is None else round(use.memory_mb, 1),
            cpu_percent=None if use is None else round(use.cpu_percent, 1),
        )  # fmt: skip
        self._told[name] = moments, status
        if status != before:
            self._untold.append(partial(self._core.tell, ProcessTold(name, status)))

    def gone(self, name: str) -> None:
        """Tells that a process is no longer configured."""
        self._told.pop(name, None)
        self._untold.append(partial(self._core.tell, ProcessTold(name, None)))

    def flush(self) -> None:
        """Hands over what has not been taken yet, and again what the disk has refused: it has happened all the same.

        Crashes go behind where their processes stand: whoever heals errors has to see that this one is answered already.
        """
        self._untold.extend(self._crashes)
        self._crashes.clear()
        refused = [word for word, told in self._under_way if told.done() and isinstance(told.exception(), JournalError)]
        if refused:
            if all(told.done() for _, told in self._under_way):  # until then nobody knows what else there is to tell again
                self._under_way.clear()
                self._untold.extendleft(reversed(refused))
            return  # the disk gets a moment
        while self._under_way and self._under_way[0][1].done():
            self._under_way.popleft()
        with contextlib.suppress(CoreBusyError):
            while self._untold and len(self._under_way) < _MAX_UNTOLD:
                self._under_way.append((self._untold[0], self._untold[0]()))
                self._untold.popleft()

    def _ended(self, name: str, before: Supervised, one: Supervised, what: Ended | NotStarted) -> None:
        if one == before:  # said of an earlier run
            return
        body = {"pid": before.pid, "because": one.why, "code": what.code if isinstance(what, Ended) else None}
        if before.state is ProcessState.STOPPING and before.then != "failure":
            self.announce(EventType.PROCESS_STOPPED, name, **body)
            return
        pause_s = None if one.due_s is None else round(max(one.due_s - one.since_s, 0.0), 3)
        self.announce(EventType.PROCESS_EXITED, name, **body, again_in_s=pause_s)
        if is_failure(before, what) or one.state is ProcessState.FAILED:  # to be given up is an error, however well it ended
            self._crashes.append(partial(self._core.report, (_as_report(name, one, what),)))
        if one.state is ProcessState.FAILED:
            self.announce(EventType.PROCESS_FAILED, name, because=one.why)

    def _wall(self, one: Supervised) -> tuple[datetime, datetime | None]:
        """When its state began, and when it is started again, by the wall clock of now."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        waits_s = one.due_s - now_s if one.state is ProcessState.WAITING and one.due_s is not None else None
        return now + timedelta(seconds=one.since_s - now_s), None if waits_s is None else now + timedelta(seconds=waits_s)


def _as_report(name: str, one: Supervised, what: Ended | NotStarted) -> Report:
    facts: dict[str, Any] = {"run": one.run, "ends_in_a_row": one.past.ends}
    if isinstance(what, Ended) and what.code is not None:
        facts["exit"] = what.code
    severity: Literal["CRITICAL", "ERROR"] = "CRITICAL" if one.state is ProcessState.FAILED else "ERROR"
    message = f"{name}{one.why.removeprefix('it')}" if one.why.startswith("it ") else one.why
    return Report(
        type="ProcessError", message=message, component=name, operation="run", severity=severity, metadata=facts,
        key=secrets.token_hex(16),
    )  # fmt: skip
