"""Recovers operations, sessions, components and the system (§9.1): by a plan that was shown, step by step, and verified."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from resilience.clock import Clock
from resilience.context import message_of
from resilience.core.asking import ask_agents
from resilience.core.core import Core
from resilience.core.inputs import RecoveryTold
from resilience.core.orders import RESTORE
from resilience.events import EventType
from resilience.healing.policy import HealingActionType
from resilience.healing.verification import what_is_wrong
from resilience.processes.supervisor import Supervisor
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.plans import (
    Doing,
    NothingToRecoverError,
    Recovery,
    RecoveryLevel,
    RecoveryState,
    Step,
    StepState,
    plan,
    resetters,
    restorers,
)
from resilience.recovery.policy import Checkpointing

_COMMIT_S: Final = 10.0
_AGENT_S: Final = 30.0
"""How long to wait for an agent that can restore a component, while its process starts."""
_VERIFY_S: Final = 60.0
_SETTLE_S: Final = 3.0
_log = logging.getLogger("winclaw.recovery")


class BusyError(RuntimeError):
    """Something that would get into the way of this recovery goes on; the message says what."""


class RecoveryEngine:
    """Carries recoveries out, each on a thread of its own, from ``start`` to ``stop``.

    Args:
        checkpoints: of this machine's agents. reload: reads WinClaw's configuration again, and says what has changed.
    """

    def __init__(
        self, core: Core, supervisor: Supervisor, checkpoints: CheckpointManager, reload: Callable[[], str], clock: Clock
    ) -> None:
        self._core, self._supervisor, self._clock, self._reload = core, supervisor, clock, reload
        self.checkpoints = checkpoints
        self._numbers = itertools.count(max(core.state.recoveries, default=0) + 1)
        self._beginning, self._stopping = threading.Lock(), threading.Event()
        self._runs: dict[str, int] = {}  # of each process that was started again, the run before

    def start(self) -> None:
        """Says of each recovery that an earlier WinClaw has left unfinished that it was interrupted."""
        for one in list(self._core.state.recoveries.values()):
            if one.is_open:
                why = "WinClaw ended in the midst of it. Begin it again, if it is still needed."
                self._end(one, RecoveryState.INTERRUPTED, why)

    def stop(self) -> None:
        """Ends; a recovery that is under way ends as interrupted, here or at the next start."""
        self._stopping.set()

    def policy(self) -> Checkpointing:
        """What the configuration says of checkpoints, which from now on holds for those that are made here, too."""
        self.checkpoints.policy = self._core.state.settings.checkpoint
        return self.checkpoints.policy

    def plan(self, level: RecoveryLevel, target: str, checkpoint_id: str = "") -> tuple[Step, ...]:
        """What a recovery would do now.

        Args:
            checkpoint_id: what to restore from; else the newest that there is.

        Raises:
            NothingToRecoverError: there is nothing to be done, and why.
        """
        saved = self.checkpoints.checkpoints()
        if checkpoint_id:
            saved = [one for one in saved if one.id == checkpoint_id]
        return plan(level, target, self._core.state, saved)

    def begin(
        self, level: RecoveryLevel, target: str, checkpoint_id: str = "", *, actor: str, origin: str
    ) -> Recovery:
        """Begins a recovery, once the command is in the audit log; returns it as it begins.

        Args:
            actor, origin: who asked for it, and from where. The others as for ``plan``.

        Raises:
            NothingToRecoverError: there is nothing to be done. BusyError: another one goes on that would get into its way.
            CoreBusyError, JournalError, TimeoutError: the command could not be stored.
        """
        if level is RecoveryLevel.DISASTER:
            how = "quit it, then winclaw restore FILE.zip"
            raise NothingToRecoverError(f"everything is restored while WinClaw does not run: {how}")
        with self._beginning:
            for one in self._core.state.recoveries.values():
                if one.is_open and (one.target == target or RecoveryLevel.SYSTEM in (one.level, level)):
                    raise BusyError(f"recovery {one.id}, of {one.target or 'the system'}, goes on; wait for its end")
            steps = self.plan(level, target, checkpoint_id)
            said = self._core.announce(EventType.COMMAND, target or "system", asked="recover", actor=actor, origin=origin)
            said.result(_COMMIT_S)
            begun = self._tell(
                Recovery(id=next(self._numbers), level=level, target=target, actor=actor, at=self._clock.now(), steps=steps)
            )
        threading.Thread(target=self._run, args=[begun], name=f"recover-{begun.id}", daemon=True).start()
        return begun

    # The recovery's own thread.

    def _run(self, one: Recovery) -> None:
        try:
            for number in range(len(one.steps)):
                if self._stopping.is_set():
                    return  # the next start says that it was interrupted
                one = self._step(one, number)
            self._end(one, *self._outcome(one))
        except Exception as error:  # the core takes nothing any more
            _log.exception("recovery %d of %s stopped", one.id, one.target)
            if not self._stopping.is_set():
                self._end(one, RecoveryState.FAILED, f"It could not go on: {message_of(error)}")

    def _step(self, one: Recovery, number: int) -> Recovery:
        step = one.steps[number]
        if one.level is not RecoveryLevel.SYSTEM and any(past.state is StepState.FAILED for past in one.steps):
            return self._told(one, number, StepState.SKIPPED, "a step before it failed")
        one = self._told(one, number, StepState.RUNNING, "")
        try:
            result = self._do(step)
        except Exception as error:
            _log.warning("a step of recovery %d failed: %s", one.id, step.what, exc_info=True)
            return self._told(one, number, StepState.FAILED, message_of(error))
        return self._told(one, number, StepState.DONE, result)

    def _do(self, step: Step) -> str:
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
                agents = resetters(self._core.state, step.target)
                return self._ask(HealingActionType.RESET_CONNECTIONS.value, step.target, agents, {})
            case Doing.RESTORE:
                return self._restore(step)
            case Doing.VERIFY:
                return self._verify(step.target)

    def _save(self) -> str:
        self.policy()
        view = self._core.view()
        kept = {name: view[name] for name in ("level", "cause", "pinned", "isolated")}
        services = {one["name"]: one["circuit"] for one in view["services"]}
        processes = {one["name"]: one["state"] for one in view["processes"]}
        saved = self.checkpoints.create_checkpoint("system", "winclaw", {**kept, "services": services, "processes": processes})
        return f"saved as {saved.id}"

    def _restart(self, name: str) -> str:
        status = self._core.state.processes.get(name)
        self._runs[name] = status.run if status is not None else 0
        self._supervisor.command(name, "restart", actor="recovery", origin=name).result(_COMMIT_S)
        return f"the process {name} is started again"

    def _restore(self, step: Step) -> str:
        end_s = self._clock.monotonic() + _AGENT_S
        state = self._core.state
        while not (agents := restorers(state, step.target)):
            left_s = end_s - self._clock.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                raise NothingToRecoverError(f"no agent came within {_AGENT_S:g} s that can restore {step.target}")
            state = self._core.wait_for_change(state.version, min(left_s, 1.0))
        return self._ask(RESTORE, step.target, agents, {"checkpoint": step.checkpoint})

    def _ask(self, action: str, component: str, agents: tuple[str, ...], parameters: dict[str, float | str]) -> str:
        if not agents:
            raise NothingToRecoverError("the agent that could do it has gone")
        answers = ask_agents(self._core, self._clock, action, component, agents, parameters)
        said = "; ".join(f"{name}: {what}" for name, (_, what) in answers.items())
        if not all(done for done, _ in answers.values()):
            raise RuntimeError(said)
        return said

    def _verify(self, target: str) -> str:
        """Waits until the target is well and stays so for a while, or the time for that is over."""
        before = self._runs.pop(self._core.state.settings.process_of(target), None)
        began_s = self._clock.monotonic()
        well_s: float | None = None
        while True:
            state, now_s = self._core.state, self._clock.monotonic()
            wrong = what_is_wrong(state, None, target, target, before) or self._refuses(target)
            well_s = None if wrong else well_s if well_s is not None else now_s
            if well_s is not None and now_s - well_s >= _SETTLE_S:
                return f"well after {well_s - began_s:.1f} s, and for {_SETTLE_S:g} s since"
            if now_s - began_s >= _VERIFY_S + _SETTLE_S or self._stopping.is_set():
                raise TimeoutError(f"not well after {now_s - began_s:.0f} s: {wrong or 'it does not stay so'}")
            self._core.wait_for_change(state.version, 0.25)

    def _refuses(self, target: str) -> str:
        """What is wrong with the circuit of a service: it is open, and nothing may try it yet. Empty: nothing."""
        circuit = self._core.state.services.circuits.get(target)
        if circuit is None or circuit.state != "OPEN" or circuit.until is None or circuit.until <= self._clock.now():
            return ""
        return f"its circuit is open until {circuit.until:%H:%M:%S} UTC, because {circuit.because}"

    def _outcome(self, one: Recovery) -> tuple[RecoveryState, str]:
        """How it went, in words; of the level nothing is claimed but what the rules say."""
        failed = [step for step in one.steps if step.state is StepState.FAILED]
        if failed:
            return RecoveryState.FAILED, f"{failed[0].what.rstrip('.')}: {failed[0].result}."
        if one.level is not RecoveryLevel.SYSTEM:
            return RecoveryState.RECOVERED, f"{one.target} is recovered."
        standing = self._core.state.standing
        said = f"the level is {standing.level.title}: {standing.cause}"
        return RecoveryState.RECOVERED, f"Everything that was unwell is well; {said}"

    def _told(self, one: Recovery, number: int, state: StepState, result: str) -> Recovery:
        step = replace(one.steps[number], state=state, result=result)
        return self._tell(replace(one, steps=(*one.steps[:number], step, *one.steps[number + 1 :])))

    def _end(self, one: Recovery, state: RecoveryState, result: str) -> None:
        self._tell(replace(one, state=state, ended=self._clock.now(), result=result))

    def _tell(self, one: Recovery) -> Recovery:
        self._core.tell(RecoveryTold(one)).result(_COMMIT_S)
        return one
