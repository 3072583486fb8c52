"""A real core with an engine of recovery, for its tests; agents answer as they would over the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.inputs import ProcessTold
from resilience.core.state import State
from resilience.events import CircuitReport, Heartbeat, OrderAnswer
from resilience.journal.journal import Journal
from resilience.processes.policy import Process
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.engine import RecoveryEngine
from resilience.recovery.plans import Recovery, RecoveryLevel
from tests.resilience.core.cores import core_on, end

OPERATION, SESSION, COMPONENT, SYSTEM, DISASTER = RecoveryLevel
MISSING = "chk_00000099_0123456789abcdef"
DEADLINE_S = 20


class Workshop:
    """A core with an engine, and a supervisor that does as the test says."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.commands: list[tuple[str, str]] = []
        self.reloaded = 0
        self.restarted: Callable[[str], None] = lambda _: None
        settings = Settings(processes={"gateway": Process(command=("gateway",), stop_timeout_s=0.0)})
        self.core = core_on(Journal(folder / "journal.db", self.clock.now()), self.clock, settings)
        self.saved = CheckpointManager(folder / "checkpoints", clock=self.clock)
        self.engine = RecoveryEngine(self.core, self, self.saved, self.reload, self.clock)  # type: ignore[arg-type]
        self.agents: list[threading.Thread] = []
        self.ending = threading.Event()

    def reload(self) -> str:
        self.reloaded += 1
        return "the file is in force"

    def command(self, name: str, command: str, *, actor: str, origin: str) -> Any:
        """What the supervisor is asked for."""
        self.commands.append((name, command))
        self.restarted(name)
        return self.core.tell(ProcessTold(name, self.core.state.processes.get(name)))

    def runs(self, name: str, run: int, *, ready: bool = True, state: ProcessState = ProcessState.RUNNING) -> None:
        status = ProcessStatus(name=name, state=state, since=self.clock.now(), pid=run, run=run, ready=ready, why="it ended")
        self.core.tell(ProcessTold(name, status)).result(10)

    def beat(self, name: str, pid: int, *healers: str, **news: Any) -> None:
        """What an agent tells."""
        self.core.beat(Heartbeat(agent=name, pid=pid, healers=healers, **news)).result(10)

    def agent(self, name: str, *healers: str, obey: Callable[[Any], str] = lambda _: "done", pid: int = 1000) -> None:
        """An agent that is there, and answers each order; what ``obey`` raises is a failure."""
        self.beat(name, pid, *healers)

        def answer() -> None:
            seen: set[str] = set()
            while not self.ending.is_set():
                state = self.core.state
                mine = [one for one in state.orders.values() if name in one.agents and (name, pid) in (one.processes or [(name, pid)])]
                for order in [one for one in mine if one.id not in seen]:
                    seen.add(order.id)
                    try:
                        told = OrderAnswer(id=order.id, done=True, what=obey(order))
                    except Exception as error:
                        told = OrderAnswer(id=order.id, done=False, what=str(error))
                    self.beat(name, pid, *healers, orders=(told,))
                self.core.wait_for_change(self.core.state.version, 0.05)

        self.agents.append(threading.Thread(target=answer, daemon=True))
        self.agents[-1].start()

    def recover(self, level: RecoveryLevel, target: str = "", **chosen: Any) -> Recovery:
        """The recovery when it has ended."""
        begun = self.engine.begin(level, target, actor="dashboard", origin="127.0.0.1", **chosen)
        return self.ended(begun.id)

    def ended(self, number: int) -> Recovery:
        return self.until(lambda state: not state.recoveries[number].is_open).recoveries[number]

    def until(self, is_so: Callable[[State], bool]) -> State:
        """The state as soon as it is so."""
        until_s = self.clock.monotonic() + DEADLINE_S
        state = self.core.state
        while not is_so(state):
            assert self.clock.monotonic() < until_s, state.recoveries
            state = self.core.wait_for_change(state.version, 1.0)
        return state

    def circuit(self, state: str, change: int = 1) -> None:
        """What an agent that resets connections tells of the circuit of gpt."""
        report = CircuitReport(service="gpt", state=state, change=change, because="3 failed", retry_after_s=0.0)  # type: ignore[arg-type]
        self.beat("bot", 1000, "reset_connections:gpt", circuits=(report,))

    def damage(self, checkpoint_id: str) -> None:
        [path] = self.saved.folder.rglob(f"{checkpoint_id}*")
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def end(self) -> None:
        self.ending.set()
        self.engine.stop()
        for thread in self.agents:
            thread.join(5)
        end([self.core])
