"""What the steps of a recovery do (§9.1): one after the other, each proven as far as it can be before the next begins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from resilience.clock import Clock
from resilience.core.asking import ask_processes
from resilience.core.core import Core
from resilience.core.orders import RESTORE
from resilience.core.presence import AgentKey
from resilience.core.services import ServiceCircuit
from resilience.core.state import State
from resilience.healing.policy import HealingActionType
from resilience.healing.verification import what_is_wrong
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.processes.supervisor import Supervisor
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.plans import Doing, NothingToRecoverError, Step, resetters, restorers

_COMMIT_S: Final = 10.0
_NEW_RUN_S: Final = 30.0
"""How long the next run of a process may take to begin, once the one before it has had its time to end."""
_AGENT_S: Final = 30.0
"""How long to wait for an agent that can restore a component, while its process starts."""
_VERIFY_S: Final = 60.0
_SETTLE_S: Final = 3.0
_OVER: Final = (ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FAILED)


class _Restart(NamedTuple):
    """A process that was started again: how all stood before, which run that was, under which pid, and when the next came."""

    before: State
    run: int
    pid: int | None
    up_s: float


class Steps:
    """Does the steps of one recovery, on that recovery's thread.

    Args:
        stopping: set when WinClaw ends, and nothing is waited for any more.
    """

    def __init__(
        self,
        core: Core,
        supervisor: Supervisor,
        checkpoints: CheckpointManager,
        reload: Callable[[], str],
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._core, self._supervisor, self._checkpoints = core, supervisor, checkpoints
        self._reload, self._clock, self._stopping = reload, clock, stopping
        self._looked_s = 0.0  # when the first target was looked at; 0: none was
        self._restarts: dict[str, _Restart] = {}
        self._restored: dict[str, int] = {}  # of each process, the run whose agents were restored

    def do(self, step: Step) -> str:
        """Does one step, and says what it did.

        Raises:
            Whatever keeps it from being done; the message is for people.
        """
        match step.do:
            case Doing.SAVE:
                return self._save()
            case Doing.RELOAD_CONFIG:
                return self._reload()
            case Doing.RESTART:
                return self._restart(step.target)
            case Doing.RESET_CONNECTIONS:
                return self._reset_connections(step.target)
            case Doing.RESTORE:
                return self._restore(step)
            case Doing.VERIFY:
                return self._verify(step.target)

    def _save(self) -> str:
        view = self._core.view()
        kept = {name: view[name] for name in ("level", "cause", "pinned", "isolated")}
        services = {one["name"]: one["circuit"] for one in view["services"]}
        processes = {one["name"]: one["state"] for one in view["processes"]}
        saved = self._checkpoints.create_checkpoint(
            "system", "winclaw", {**kept, "services": services, "processes": processes}
        )
        return f"saved as {saved.id}"

    def _restart(self, name: str) -> str:
        """Has a process started again; returns when the next run has begun, for which the one before has to end."""
        before = self._core.state
        known = before.processes.get(name)
        run, pid = (known.run, known.pid) if known is not None else (0, None)
        self._supervisor.command(name, "restart", actor="recovery", origin=name).result(_COMMIT_S)
        end_s = self._clock.monotonic() + before.settings.processes[name].stop_timeout_s + _NEW_RUN_S
        while (now := (state := self._core.state).processes.get(name)) is None or now.run <= run:
            left_s = end_s - self._clock.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                raise TimeoutError(f"{name} has not been started again yet{_stands(now)}")
            self._core.wait_for_change(state.version, min(left_s, 1.0))
        self._restarts[name] = _Restart(before, run, pid, self._clock.monotonic())
        return f"the process {name} is started again"

    def _reset_connections(self, target: str) -> str:
        def able(state: State) -> tuple[AgentKey, ...] | None:
            return self._outliving(state, target, resetters(state, target))

        agents = self._waited_for(able, target)
        if not agents and self._restart_of(target) is not None:
            return "its agent was started again, and connects anew"
        return self._ask(HealingActionType.RESET_CONNECTIONS.value, target, agents, {})

    def _restore(self, step: Step) -> str:
        agents = self._waited_for(lambda state: self._restorers(state, step.target) or None, step.target)
        process = self._core.state.settings.process_of(step.target)
        known = self._core.state.processes.get(process)
        said = self._ask(RESTORE, step.target, agents, {"checkpoint": step.checkpoint})
        if known is not None:
            self._restored[process] = known.run
        late = self._heard_late(step.target, agents)
        return f"{said}; {self._ask(RESTORE, step.target, late, {'checkpoint': step.checkpoint})}" if late else said

    def _heard_late(self, target: str, asked: tuple[AgentKey, ...]) -> tuple[AgentKey, ...]:
        """Who else can restore it, and is heard only now after a restart; one that is not heard again has ended with it."""
        if self._restart_of(target) is None:
            return ()

        def others(state: State) -> tuple[AgentKey, ...] | None:
            return self._outliving(state, target, tuple(key for key in restorers(state, target) if key not in asked))

        try:
            return self._waited_for(others, target)
        except NothingToRecoverError:
            return ()

    def _restorers(self, state: State, target: str) -> tuple[AgentKey, ...] | None:
        """Who is to restore it; None: that shows later. Where one who could has ended with a restart, another has to come."""
        able, restart = restorers(state, target), self._restart_of(target)
        if restart is None:
            return able
        there = tuple(key for key in able if _outlives(state, key, restart, state.settings.process_of(target)))
        could = restorers(restart.before, target)
        return there if any(key not in could for key in there) or all(key in there for key in could) else None

    def _outliving(self, state: State, target: str, able: tuple[AgentKey, ...]) -> tuple[AgentKey, ...] | None:
        """Those of ``able`` that have not ended with a restart of the target's process; None: that shows later."""
        restart = self._restart_of(target)
        if restart is None:
            return able
        outlives = {key: _outlives(state, key, restart, state.settings.process_of(target)) for key in able}
        return None if None in outlives.values() else tuple(key for key, does in outlives.items() if does)

    def _restart_of(self, target: str) -> _Restart | None:
        return self._restarts.get(self._core.state.settings.process_of(target))

    def _waited_for(self, find: Callable[[State], tuple[AgentKey, ...] | None], target: str) -> tuple[AgentKey, ...]:
        """What ``find`` finds, as soon as it does; a process that was started again has its time to get ready, too."""
        state = self._core.state
        name = state.settings.process_of(target)
        process, patience_s = state.processes.get(name), _AGENT_S
        if name in self._restarts and process is not None and not process.ready:
            patience_s += state.settings.processes[name].ready_within_s
        end_s = self._clock.monotonic() + patience_s
        while (found := find(state)) is None:
            left_s = end_s - self._clock.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                raise NothingToRecoverError(f"no agent came within {patience_s:g} s that can restore {target}")
            state = self._core.wait_for_change(state.version, min(left_s, 0.25))
        return found

    def _ask(
        self, action: str, component: str, agents: tuple[AgentKey, ...], parameters: Mapping[str, float | str]
    ) -> str:
        if not agents:
            raise NothingToRecoverError("the agent that could do it has gone")
        answers = ask_processes(self._core, self._clock, action, component, agents, parameters, self._stopping.is_set)
        names = [name for name, _ in agents]
        told = {key: key[0] if names.count(key[0]) == 1 else f"{key[0]} ({key[1]})" for key in agents}
        said = "; ".join(f"{told[key]}: {what}" for key, (_, what) in answers.items())
        outcomes = [done for done, _ in answers.values()]
        if False in outcomes or True not in outcomes:  # what has gone is not asked any more, but it proves nothing
            raise RuntimeError(said)
        return said

    def _verify(self, target: str) -> str:
        """Waits until the target is well and stays so for a while, or the time for that is over, which all targets share."""
        began_s = self._clock.monotonic()
        self._looked_s = self._looked_s or began_s
        end_s = max(self._looked_s + _VERIFY_S, began_s) + _SETTLE_S
        well_s: float | None = None
        while True:
            state, now_s = self._core.state, self._clock.monotonic()
            wrong = self._what_is_wrong(state, target)
            well_s = None if wrong else well_s if well_s is not None else now_s
            if well_s is not None and now_s - well_s >= _SETTLE_S:
                return f"well after {well_s - began_s:.1f} s, and for {_SETTLE_S:g} s since"
            if now_s >= end_s or self._stopping.is_set():
                raise TimeoutError(f"not known to be well after {now_s - began_s:.0f} s: {wrong or 'it does not stay so'}")
            self._core.wait_for_change(state.version, 0.25)

    def _what_is_wrong(self, state: State, target: str) -> str:
        """What is not well, or not proven to be; empty: nothing."""
        name = state.settings.process_of(target)
        restart, process = self._restarts.get(name), state.processes.get(name)
        if restart is not None and (process is None or process.state in _OVER):
            return f"{name} does not run{_stands(process)}"
        if process is not None and self._restored.get(name, process.run) != process.run:
            return f"{name} was started again after it had been restored{_stands(process)}"
        run = restart.run if restart is not None else None
        circuit = state.services.circuits.get(target)
        return what_is_wrong(state, None, target, target, run) or _unproven(circuit, self._clock.now())


def _unproven(circuit: ServiceCircuit | None, now: datetime) -> str:
    """Why a service cannot be said to be well, by its circuit; empty: it is closed, or there is none."""
    if circuit is None or circuit.state == "CLOSED":
        return ""
    if circuit.state == "ISOLATED":
        return f"it is isolated, which only a person ends: {circuit.because}"
    if circuit.state == "OPEN" and circuit.until is not None and circuit.until > now:
        return f"its circuit is open until {circuit.until:%H:%M:%S} UTC, because {circuit.because}"
    return f"its circuit is not closed, because nobody has used the service with success since: {circuit.because}"


def _outlives(state: State, key: AgentKey, restart: _Restart, name: str) -> bool | None:
    """Whether an agent that is there has not ended with a restart of the process ``name``; None: that shows later.

    One that came since has not. Of another it is known when it is heard again while the next run is ready.
    """
    process = state.processes.get(name)
    if key[1] is not None and key[1] == restart.pid and (process is None or process.pid != restart.pid):
        return False
    known, one = restart.before.agents.get(key), state.agents[key]
    if known is None or not known.alive:
        return True
    return True if process is not None and process.ready and one.beat_s > restart.up_s else None


def _stands(process: ProcessStatus | None) -> str:
    """Where a process stands, as the end of a sentence."""
    if process is None:
        return ": it is no longer supervised"
    return f": it is {process.state.value}{', ' if process.why else ''}{process.why}"
