"""The supervisor: one thread that starts processes, is told of their ends, and starts them again.

``supervision`` decides; this carries it out and tells the core. A process that ends is answered before anything is
written, and nothing here waits: each running process has a thread that waits for its end.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from resilience import home
from resilience.clock import Clock
from resilience.core.core import Core
from resilience.degradation.levels import DegradationLevel
from resilience.detection.metrics import TreeUse
from resilience.detection.prober import Prober
from resilience.events import EventType
from resilience.isolation.isolated import stopped
from resilience.processes import records
from resilience.processes.output import OUTPUT, Piece, piece_after, tail_of
from resilience.processes.policy import Process, start_order
from resilience.processes.ports import Ways
from resilience.processes.records import ProcessRecord
from resilience.processes.runs import Runs
from resilience.processes.spawning import Running, why_not
from resilience.processes.supervision import (
    Ask,
    Command,
    Do,
    Happening,
    Next,
    NotStarted,
    ProcessState,
    Ready,
    Started,
    Supervised,
    Unwell,
    after,
    first,
    look,
    with_policy,
)
from resilience.processes.takeover import left_behind
from resilience.processes.telling import Telling
from resilience.redaction import Redactor

_LOOK_AGAIN_S: Final = 1.0
_GRACE_S: Final = 5.0
_log = logging.getLogger("winclaw.processes")


class Supervisor:
    """Keeps the configured processes alive; what is configured and what the level allows, it asks the core.

    Args:
        folder: WINCLAW_HOME; each process has a folder of its own below.
    """

    def __init__(self, folder: Path, core: Core, prober: Prober, redactor: Redactor, clock: Clock) -> None:
        self._core, self._redactor, self._clock = core, redactor, clock
        self._folder = folder / home.PROCESSES
        self._owner = records.owner_of(folder)
        self._table: dict[str, Supervised] = {}
        self._blocked: dict[str, str] = {}
        self._telling, self._ways = Telling(core, clock), Ways()
        self._configured: Mapping[str, Process] = {}
        self._seen: object = None
        self._quitting = False
        self._uses: Mapping[str, TreeUse] = {}
        self._messages: queue.SimpleQueue[tuple[str, Happening] | None] = queue.SimpleQueue()
        self._runs = Runs(folder, self._owner, prober, lambda name, what: self._messages.put((name, what)))
        self._thread = threading.Thread(target=self._main, name="processes", daemon=True)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Takes over what an earlier WinClaw has left running, then starts the thread, which starts the rest."""
        home.make_private_folder(self._folder)
        self._take_over_all(self._core.state.settings.processes)
        self._unsubscribe = self._core.subscribe(self._heard)
        self._thread.start()

    def command(self, name: str, command: Command, *, actor: str, origin: str) -> Future[list[int]]:
        """Starts, stops or restarts a process for a person, as soon as that is in the audit log.

        Args:
            actor, origin: who, and from where. The future is done when the command is on disk.

        Raises:
            KeyError: there is no such process. CoreBusyError: too much is waiting for the journal.
        """
        if name not in self._core.state.settings.processes:
            raise KeyError(name)
        written = self._core.announce(EventType.COMMAND, name, asked=command, actor=actor, origin=origin)

        def act(done: Future[list[int]]) -> None:
            if done.exception() is None:
                self._messages.put((name, Ask(command, actor)))

        written.add_done_callback(act)
        return written

    def output(self, name: str) -> str:
        """The last of what a process has written, as text, without secrets.

        Raises:
            KeyError: there is no such process.
        """
        return self._redactor.text(tail_of(self._output_of(name)))

    def output_after(self, name: str, mark: str = "") -> Piece:
        """What a process has written since ``mark`` was given, as text, without secrets; without one, the last of it.

        Raises:
            KeyError: there is no such process.
        """
        return piece_after(self._output_of(name), mark, self._redactor.text)

    def _output_of(self, name: str) -> Path:
        if name not in self._core.state.settings.processes:
            raise KeyError(name)
        return self._folder / name / OUTPUT

    def running(self) -> dict[str, tuple[int, int]]:
        """The processes that run now, by name: number of the run, and number in the system."""
        return {name: (one.run, one.pid) for name, one in list(self._table.items()) if one.is_alive and one.pid is not None}

    @property
    def uses(self) -> Mapping[str, TreeUse]:
        """What each running process used when it was last measured."""
        running = self.running()
        return {name: use for name, use in self._uses.items() if name in running}

    def measured(self, uses: Mapping[str, TreeUse]) -> None:
        """Takes in what the running processes use of the machine; never waits."""
        self._uses = uses
        self._messages.put(None)

    def too_large(self, name: str, run: int, why: str) -> None:
        """Has a process started again that uses more than it may; never waits."""
        self._messages.put((name, Unwell(run, why, hopeless=False)))

    def stop(self) -> None:
        """Ends what is configured to end with WinClaw, politely and in order, and then the thread."""
        self._unsubscribe()
        self._quitting = True
        self._messages.put(None)
        if self._thread.is_alive():
            patience_s = sum(one.policy.stop_timeout_s for one in list(self._table.values()) if one.is_alive)
            self._thread.join(patience_s + _GRACE_S)

    # From here on: the thread, but for what start() does before there is one.

    def _heard(self, _: object, state: Any) -> None:
        seen = (state.standing.level, state.settings.processes, state.isolations)
        if seen != self._seen:
            self._seen = seen
            self._messages.put(None)

    def _main(self) -> None:
        while True:
            try:
                self._look()
                for name, one in self._table.items():
                    use = self._uses.get(name) if one.is_alive else None
                    self._telling.stands(name, one, blocked=self._blocked.get(name, ""), use=use)
                self._telling.flush()
                if self._quitting and not self._has_to_stop():
                    return
                self._take(self._messages.get(timeout=self._pause_s()))
                while True:
                    self._take(self._messages.get_nowait())
            except queue.Empty:
                continue
            except Exception:  # a defect of ours: the processes go on, and so does their supervision
                _log.exception("the supervisor failed in one turn")
                self._clock.sleep(_LOOK_AGAIN_S)

    def _take(self, message: tuple[str, Happening] | None) -> None:
        if message is not None and message[0] in self._table:
            self._happens(*message)

    def _look(self) -> None:
        self._configure(self._core.state.settings.processes)
        now_s = self._clock.monotonic()
        state = self._core.state
        safe_mode, isolated = state.standing.level is DegradationLevel.SAFE_MODE, stopped(state.isolations)
        for name in start_order({name: one.policy.depends_on for name, one in self._table.items()}):
            one = self._table[name]
            forbidden = self._forbidden(name, one, safe_mode) or isolated.get(name, "")
            self._blocked.pop(name, None)
            waits_for = self._waits_for(name, one, now_s) if one.state is ProcessState.WAITING and not forbidden else ""
            self._step(name, look(one, now_s, forbidden=forbidden, waits_for=waits_for))
        for name in [name for name, one in self._table.items() if name not in self._configured and not one.is_alive]:
            self._forget(name)

    def _forbidden(self, name: str, one: Supervised, safe_mode: bool) -> str:
        """Why a process must not run now; a process on which others depend goes after them."""
        if self._quitting and (one.policy.on_quit == "stop" or not one.is_alive):
            needed = any(
                name in other.policy.depends_on and other.is_alive and other.policy.on_quit == "stop"
                for other in self._table.values()
            )
            return "" if needed else "WinClaw was quit"
        return "Safe Mode is on" if safe_mode and one.policy.in_safe_mode == "stop" else ""

    def _waits_for(self, name: str, one: Supervised, now_s: float) -> str:
        for needed in one.policy.depends_on:
            other = self._table.get(needed)
            if other is None or not (other.is_ready or other.state is ProcessState.EXITED):
                return needed
        if one.policy.port is None or (one.due_s is not None and now_s < one.due_s):
            return ""
        held, cleared = self._ways.clear(one.policy.port, f"{self._owner}:{name}:", now_s)
        if cleared is not None:
            self._telling.announce(EventType.PROCESS_CLEARED, name, port=one.policy.port, pid=cleared)
        if held:
            self._blocked[name] = held
        return held

    def _happens(self, name: str, what: Happening) -> None:
        self._step(name, after(self._table[name], what, self._clock.monotonic()), what)

    def _step(self, name: str, outcome: Next, what: Happening | None = None) -> None:
        before, (one, do) = self._table[name], outcome
        self._table[name] = one
        if before.is_alive and not one.is_alive:
            self._runs.over(name)
        if one is not before:
            self._telling.became(name, before, one, what)
        is_over = one.state in (ProcessState.STOPPED, ProcessState.FAILED, ProcessState.EXITED)
        if do in (Do.STOP, Do.KILL) or (is_over and one.state is not before.state):
            self._runs.keep(name, one)
        match do:
            case Do.START:
                self._start(name)
            case Do.STOP:
                self._runs.ask_to_stop(name, one.policy.stop_signal)
            case Do.KILL:
                self._runs.kill(name)

    def _start(self, name: str) -> None:
        one = self._table[name]
        try:
            running = self._runs.start(name, one.policy)
        except Exception as error:  # whatever it was, it must not keep the others from being looked after
            _log.warning("the process %s could not be started", name, exc_info=True)
            self._happens(name, NotStarted(why_not(one.policy, error)))
        else:
            self._begun(name, running, Started(running.identity.pid))

    def _begun(self, name: str, running: Running, what: Started) -> None:
        self._happens(name, what)
        self._runs.watch(name, self._table[name].run, running)
        self._runs.keep(name, self._table[name])
        self._ask(name)

    def _ask(self, name: str) -> None:
        """Has the present run asked from now on whether it answers; what cannot be asked is ready as soon as it runs."""
        one = self._table[name]
        if not self._runs.ask(name, one.run, one.policy.asked):
            self._happens(name, Ready(one.run))

    def _pause_s(self) -> float:
        """Until something is due; waiting for another process or a port is looked at now and then."""
        now_s = self._clock.monotonic()
        due = [one.due_s - now_s for one in self._table.values() if one.due_s is not None]
        due += [one.silent_s + one.policy.hung_after_s - now_s for one in self._table.values() if one.silent_s is not None]
        return max(0.0, min([*due, _LOOK_AGAIN_S]))

    def _has_to_stop(self) -> bool:
        return any(one.is_alive and one.policy.on_quit == "stop" for one in self._table.values())

    # What is configured, and what an earlier WinClaw has left.

    def _configure(self, configured: Mapping[str, Process]) -> None:
        if configured is self._configured or self._quitting:
            return
        before = self._configured
        for name, policy in configured.items():
            if name not in self._table:
                self._add(name, policy, records.load(self._folder / name))
                continue
            if name not in before:  # it was taken out, and is back before it had ended
                self._happens(name, Ask("start", "the configuration"))
            asked = self._table[name].policy.asked
            self._step(name, with_policy(self._table[name], policy, self._clock.monotonic()))
            if asked != policy.asked and self._table[name].is_alive:
                self._ask(name)
        for name in before.keys() - configured.keys():
            self._happens(name, Ask("stop", "the configuration"))
        self._configured = configured  # last, so that what has failed is tried again

    def _add(self, name: str, policy: Process, record: ProcessRecord) -> None:
        now_s = self._clock.monotonic()
        self._table[name] = first(policy, run=record.run, stopped=record.stopped, failed=record.failed, now_s=now_s)

    def _forget(self, name: str) -> None:
        self._blocked.pop(name, None)
        del self._table[name]
        (self._folder / name / records.RECORD).unlink(missing_ok=True)
        self._telling.gone(name)

    def _take_over_all(self, configured: Mapping[str, Process]) -> None:
        """Adds what is configured as an earlier WinClaw has left it; what nobody wants any more is stopped."""
        left = left_behind(self._folder, self._owner, configured)
        self._configured = {name: configured.get(name) or Process(command=("?",)) for name in left}
        for name, (record, running) in left.items():
            self._add(name, self._configured[name], record)
            if running is not None:
                self._adopt(name, running, record)
            elif record.identity is not None and self._table[name].state is ProcessState.WAITING:
                self._table[name] = replace(self._table[name], why="it ended while WinClaw was not running")
        self._configure(configured)

    def _adopt(self, name: str, running: Running, record: ProcessRecord) -> None:
        now_s = self._clock.monotonic()
        age_s = max(self._clock.now().timestamp() - running.identity.started, 0.0)
        self._begun(name, running, Started(running.identity.pid, adopted=True))
        self._table[name] = replace(self._table[name], started_s=now_s - age_s)
        if record.stopped:
            self._happens(name, Ask("stop", "you, before WinClaw was restarted"))
