"""Recovers operations, sessions, components and the system (§9.1): by a plan that was shown, step by step, and verified."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from msgspec.structs import replace

from resilience.clock import Clock
from resilience.context import message_of
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import RecoveryTold
from resilience.core.state import State
from resilience.events import EventType
from resilience.healing.diagnosis import troubles
from resilience.journal.journal import JournalError
from resilience.processes.supervisor import Supervisor
from resilience.recovery.checkpoint import CheckpointDamagedError, CheckpointError, CheckpointHead
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.choosing import chosen, require_used
from resilience.recovery.plans import (
    NothingToRecoverError,
    Recovery,
    RecoveryLevel,
    RecoveryState,
    Step,
    StepState,
    digest_of,
    names_at,
    plan,
)
from resilience.recovery.policy import Checkpointing
from resilience.recovery.steps import Steps

_COMMIT_S: Final = 10.0
_AGAIN_S: Final = 0.25
_END_S: Final = 1.0
_UNTOLD: Final = "It could not be stored in time that it begins, so nothing was done. Begin it again, if it is still needed."
_OF_WINCLAW: Final = frozenset({"winclaw", "config"})
_log = logging.getLogger("winclaw.recovery")


class BusyError(RuntimeError):
    """Something that would get into the way of this recovery goes on; the message says what."""


class PlanChangedError(RuntimeError):
    """What would be done is no longer what was shown; ``steps`` are what it would be now."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__("what would be done is no longer what was shown; look at the plan again")
        self.steps = steps


class _InterruptedError(Exception):
    """WinClaw ends, and the recovery with it."""


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
        self._threads: dict[int, threading.Thread] = {}

    def start(self) -> None:
        """Says of each recovery that an earlier WinClaw has left unfinished that it was interrupted."""
        for one in list(self._core.state.recoveries.values()):
            if one.is_open:
                self._tell(_interrupted(one, self._clock))

    def stop(self) -> None:
        """Ends; a recovery that is under way ends as interrupted, here or at the next start. Waits a second for it."""
        self._stopping.set()
        end_s = self._clock.monotonic() + _END_S
        for thread in list(self._threads.values()):
            thread.join(max(end_s - self._clock.monotonic(), 0.0))

    def policy(self) -> Checkpointing:
        """What the configuration says of checkpoints, which from now on holds for those that are made here, too."""
        self.checkpoints.policy = self._core.state.settings.checkpoint
        return self.checkpoints.policy

    def plan(self, level: RecoveryLevel, target: str, checkpoint_id: str = "") -> tuple[Step, ...]:
        """What a recovery would do now. Each checkpoint in it is proven; in the place of a damaged one is the one before it.

        Args:
            checkpoint_id: what to restore from; else the newest that there is.

        Raises:
            NothingToRecoverError: there is nothing to be done, or not what was asked for, and why.
        """
        state = self._core.state
        saved = chosen(level, target, checkpoint_id, self._saved(level, target, checkpoint_id, state))
        while True:
            steps = plan(level, target, state, saved)
            require_used(checkpoint_id, target, steps)
            bad = self._damaged(steps)
            if not bad:
                return steps
            saved = [one for one in saved if one.id not in bad]

    def _saved(self, level: RecoveryLevel, target: str, checkpoint_id: str, state: State) -> list[CheckpointHead]:
        """The checkpoints that a plan may need: of each component the newest first, whatever the clock said when it was made.

        Raises:
            NothingToRecoverError: the one that was asked for is damaged, or cannot be read.
        """
        if not checkpoint_id:
            names = [one.component for one in troubles(state)] if level is RecoveryLevel.SYSTEM else names_at(level, target)
            return [head for name in dict.fromkeys(names) for head in self.checkpoints.checkpoints(name)]
        try:
            found = self.checkpoints.load_checkpoint(checkpoint_id)
        except CheckpointError as error:
            raise NothingToRecoverError(str(error)) from error
        return [found] if found is not None else []

    def begin(
        self, level: RecoveryLevel, target: str, checkpoint_id: str = "", *, actor: str, origin: str, shown: str = ""
    ) -> Recovery:
        """Begins a recovery, once the command is in the audit log; returns it as it begins.

        Args:
            actor, origin: who asked for it, and from where. The others as for ``plan``.
            shown: the digest of the plan that was shown; empty: none was.

        Raises:
            NothingToRecoverError: there is nothing to be done. BusyError: another one goes on that would get into its way.
            PlanChangedError: another plan was shown.
            CoreBusyError, JournalError, TimeoutError: the command could not be stored.
        """
        if level is RecoveryLevel.DISASTER:
            how = "quit it, then winclaw restore FILE.zip"
            raise NothingToRecoverError(f"everything is restored while WinClaw does not run: {how}")
        with self._beginning:
            self._require_free(level, target, ())
            steps = self.plan(level, target, checkpoint_id)
            self._require_free(level, target, steps)
            if shown and shown != digest_of(steps):
                raise PlanChangedError(steps)
            said = self._core.announce(EventType.COMMAND, target or "system", asked="recover", actor=actor, origin=origin)
            said.result(_COMMIT_S)
            begun = Recovery(id=next(self._numbers), level=level, target=target, actor=actor, at=self._clock.now(), steps=steps)
            try:
                self._tell(begun)
            except TimeoutError:  # it is taken, and will be stored, though nobody carries it out
                self._core.tell(RecoveryTold(replace(begun, state=RecoveryState.FAILED, ended=self._clock.now(), result=_UNTOLD)))
                raise
            thread = threading.Thread(target=self._run, args=[begun], name=f"recover-{begun.id}", daemon=True)
            self._threads = {number: one for number, one in self._threads.items() if one.is_alive()} | {begun.id: thread}
            thread.start()
        return begun

    def _require_free(self, level: RecoveryLevel, target: str, steps: Sequence[Step]) -> None:
        """Proves that no recovery goes on that touches the same, or everything.

        Raises:
            BusyError: one does.
        """
        wanted = {*names_at(level, target), *(one.target for one in steps)} - _OF_WINCLAW
        for number, thread in self._threads.items():
            one = self._core.state.recoveries.get(number)
            if one is None or not one.is_open or not thread.is_alive():
                continue
            touched = {*names_at(one.level, one.target), *(step.target for step in one.steps)}
            if RecoveryLevel.SYSTEM in (one.level, level) or wanted & touched:
                raise BusyError(f"recovery {one.id}, of {one.target or 'the system'}, goes on; wait for its end")

    def _damaged(self, steps: Sequence[Step]) -> set[str]:
        """Those checkpoints of a plan that prove damaged, or have just gone.

        Raises:
            NothingToRecoverError: one cannot be read.
        """
        bad = set[str]()
        for one in [step.checkpoint for step in steps if step.checkpoint]:
            try:
                found = self.checkpoints.load_checkpoint(one)
            except CheckpointDamagedError:
                found = None
            except CheckpointError as error:
                raise NothingToRecoverError(str(error)) from error
            if found is None:
                bad.add(one)
        return bad

    # The recovery's own thread.

    def _run(self, one: Recovery) -> None:
        steps = Steps(self._core, self._supervisor, self.checkpoints, self._reload, self._clock, self._stopping)
        try:
            try:
                for number in range(len(one.steps)):
                    one = self._step(steps, one, number)
                state, result = self._outcome(one)
            except _InterruptedError:
                raise
            except Exception as error:  # a defect of ours
                _log.exception("recovery %d of %s stopped", one.id, one.target)
                state, result = RecoveryState.FAILED, f"It could not go on: {message_of(error)}"
            self._tell_surely(replace(one, state=state, ended=self._clock.now(), result=result))
        except _InterruptedError:
            try:
                self._tell(_interrupted(one, self._clock))
            except Exception:  # then the next start says so
                _log.info("recovery %d of %s was interrupted", one.id, one.target)

    def _step(self, steps: Steps, one: Recovery, number: int) -> Recovery:
        if self._stopping.is_set():
            raise _InterruptedError
        step = one.steps[number]
        if one.level is not RecoveryLevel.SYSTEM and any(past.state is StepState.FAILED for past in one.steps):
            return self._told(one, number, StepState.SKIPPED, "a step before it failed")
        one = self._told(one, number, StepState.RUNNING, "")
        try:
            self.policy()
            result = steps.do(step)
        except Exception as error:
            if self._stopping.is_set():
                raise _InterruptedError from error
            _log.warning("a step of recovery %d failed: %s", one.id, step.what, exc_info=True)
            return self._told(one, number, StepState.FAILED, message_of(error))
        return self._told(one, number, StepState.DONE, result)

    def _outcome(self, one: Recovery) -> tuple[RecoveryState, str]:
        """How it went, in words; of the level nothing is claimed but what the rules say."""
        failed = [step for step in one.steps if step.state is StepState.FAILED]
        if failed:
            return RecoveryState.FAILED, f"{failed[0].what.rstrip('.')}: {failed[0].result}."
        if one.level is not RecoveryLevel.SYSTEM:
            return RecoveryState.RECOVERED, f"{one.target} is recovered."
        state = self._core.state
        if unwell := [f"{trouble.component}, {trouble.what}" for trouble in troubles(state)]:
            return RecoveryState.FAILED, f"All was done, but not all is well: {'; '.join(unwell)}."
        said = f"the level is {state.standing.level.title}: {state.standing.cause}"
        apart = [circuit.name for circuit in state.services.circuits.values() if circuit.state == "ISOLATED"]
        left = f"; isolated, which only a person ends: {', '.join(apart)}" if apart else ""
        return RecoveryState.RECOVERED, f"Everything that was unwell is well; {said}{left}"

    def _told(self, one: Recovery, number: int, state: StepState, result: str) -> Recovery:
        step = replace(one.steps[number], state=state, result=result)
        return self._tell_surely(replace(one, steps=(*one.steps[:number], step, *one.steps[number + 1 :])))

    def _tell_surely(self, one: Recovery) -> Recovery:
        """Tells the core, as often as it takes: what is not told would go on for ever.

        Raises:
            _InterruptedError: WinClaw ends before it was told.
        """
        told: Future[list[int]] | None = None
        while True:
            try:
                told = told or self._core.tell(RecoveryTold(one))
                told.result(_AGAIN_S)
            except TimeoutError:  # it is taken, and not stored yet
                pass
            except (CoreBusyError, JournalError) as error:
                _log.warning("recovery %d could not be told of yet: %s", one.id, error)
                told = None
            else:
                return one
            if self._stopping.wait(0.0 if told is not None else _AGAIN_S):
                raise _InterruptedError

    def _tell(self, one: Recovery) -> Recovery:
        self._core.tell(RecoveryTold(one)).result(_COMMIT_S)
        return one


def _interrupted(one: Recovery, clock: Clock) -> Recovery:
    why = "WinClaw ended in the midst of it. Begin it again, if it is still needed."
    return replace(one, state=RecoveryState.INTERRUPTED, ended=clock.now(), result=why)
