"""What the blocks of a transaction carry out: plans for its beginning, each step, and its end (§9)."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any, TypeVar

from resilience.clock import as_text
from resilience.transactions.asked import Asked, step_name
from resilience.transactions.driving import Call, Idle, Plan, drive, drive_async
from resilience.transactions.file import Row, TransactionBusyError, TransactionError
from resilience.transactions.ground import Ground
from resilience.transactions.steps import (
    MAX_STEPS,
    Left,
    Step,
    StepResultError,
    checked_text,
    failure,
    kept_text,
    left_of,
    replayed,
    words,
)
from resilience.transactions.undoing import Live, Undoing

R = TypeVar("R")


class Scope:
    """The steps of one block: of the transaction itself, or of a nested part of it."""

    def __init__(self) -> None:
        self.lives: list[Live] = []
        self.is_open = False


class Run:
    """One run of a transaction, which its blocks share. For the arguments see ``TransactionManager.transaction``."""

    def __init__(self, ground: Ground, name: str, key: str | None) -> None:
        self._ground, self.name, self.key = ground, checked_text("a transaction's name", name), key
        if key is not None:
            checked_text("a transaction's key", key)
        self.id = uuid.uuid4().hex
        self.is_replay = False
        self.left: tuple[Left, ...] = ()
        self._generation = -1
        self._row: Row | None = None
        self._known: dict[int, Step] = {}
        self._lives: list[Live] = []
        self._count = 0
        self._cause: BaseException | None = None
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    # What a scope's methods carry out

    def entering(self, scope: Scope) -> Plan[None]:
        """Begins the transaction: writes it down, or finds that it is committed under its key already."""
        if self._row is not None:
            raise RuntimeError(f"the transaction {self.name!r} has run; agent.transaction gives a new one for each block")
        ground = self._ground
        if ground.closed:
            raise TransactionError(f"the transactions of {ground.agent} are closed; {self.name!r} was not begun")
        row = Row(self.id, ground.agent, self.name, self.key, ground.me(), "running", True, as_text(ground.clock.now()))
        found: Row | None = row
        ground.take(row.id)
        try:
            while (found := ground.file.begin(row, ground.known_since())) is not None:
                if found.state == "committed":
                    self._replay(found)
                    break
                yield from self._finish(found)
        finally:
            if found is not None:
                ground.active.discard(row.id)
        self._row, self._generation, scope.is_open = self._row or row, ground.generation, True

    def not_entered(self, scope: Scope, error: BaseException) -> Plan[None]:
        """Ends what was begun already when its block could not be entered."""
        if self._row is not None and scope.is_open:
            yield from self.leaving(scope, None, error)

    def _replay(self, found: Row) -> None:
        loaded = self._ground.file.load(found.id)
        steps = loaded[1] if loaded is not None else []
        self.is_replay, self.id, self._row = True, found.id, found
        self._known = {step.number: step for step in steps}

    def _finish(self, found: Row) -> Plan[None]:
        """Undoes what a dead process left under this key.

        Raises:
            TransactionBusyError: somebody has it. CompensationFailedError: it cannot be undone wholly.
        """
        ground = self._ground
        behind = [(row, steps) for row, steps in ground.left_behind() if row.id == found.id]
        if not behind:
            if (now := ground.file.load(found.id)) is None or not now[0].is_open:
                return  # it ended meanwhile
            raise TransactionBusyError(f"the transaction {self.name!r} with the key {self.key!r} is under way already")
        [(row, steps)] = behind
        if left := ground.missing_for(row, steps):
            raise failure(row.name, row.id, left)
        resumed = yield from ground.resuming(row)
        if resumed is not None and resumed.left:
            raise failure(resumed.transaction, resumed.id, resumed.left)

    def doing(self, scope: Scope, asked: Asked) -> Plan[Any]:
        """Does a step; what raises is cleaned up after before it is raised."""
        self._check_mine()
        with self._lock:
            if not scope.is_open:
                raise RuntimeError(f"this block of the transaction {self.name!r} is over; no step was begun")
            if not self._idle.is_set():
                raise RuntimeError(f"a step of the transaction {self.name!r} is under way; steps go one after another")
            if self._count >= MAX_STEPS:
                raise RuntimeError(f"the transaction {self.name!r} has {MAX_STEPS} steps; no further one is begun")
            self._idle.clear()
        try:
            return (yield from self._do(scope, asked))
        finally:
            self._idle.set()

    def _do(self, scope: Scope, asked: Asked) -> Plan[Any]:
        name, number = step_name(asked.function), self._count + 1
        live = self._live(Step(number, name, key=self.next_key if asked.key is None else asked.key, state="failed"), asked)
        if self.is_replay:
            known = self._known.get(number)
            self._count = number if known is not None and known.name == name else self._count
            kept = replayed(known, number, name, str(self._row and self._row.settled_at))
            return None if kept is None else json.loads(kept)
        if self._ground.closed:
            raise TransactionError(f"the transactions of {self._ground.agent} are closed; the step {name} was not begun")
        self._count = number
        self._lives.append(live)
        scope.lives.append(live)
        self._ground.file.record(self.id, live.step._replace(state="begun"))
        live.step = live.step._replace(state="begun")
        try:
            result = yield Call(asked.function, asked.args, asked.kwargs, is_step=True)
        except GeneratorExit:
            raise
        except BaseException as error:
            if live.found is None and isinstance(error, Exception):
                live.step = live.step._replace(state="failed")
                self._ground.note(self.id, live.step)
            else:  # whoever was interrupted cannot say how far it came
                yield from self._clean_up(live, error)
            raise
        yield from self._keep(live, asked, result)
        return result

    def _live(self, step: Step, asked: Asked) -> Live:
        if asked.undo is None:
            if asked.found is not None:
                raise TypeError(f"found= of the step {step.name} says whether to undo it, so it needs undo=")
            return Live(step, None, None)
        known = self._ground.known_as(asked.undo)
        if known is not None:
            return Live(step._replace(undo=known.name, registered=True), asked.undo, asked.found or known.found)
        return Live(step._replace(undo=step_name(asked.undo)), asked.undo, asked.found)

    def _keep(self, live: Live, asked: Asked, result: Any) -> Plan[None]:
        """Writes down what the step gave; where that cannot be, the step is undone."""
        value = result
        try:
            if asked.keep is not None:
                try:
                    value = asked.keep(result)
                except BaseException as error:
                    live.doubt = f"it happened, but what to keep of it is not known, for keep= raised {words(error)}"
                    raise
            if live.undo is not None or self.key is not None or asked.keep is not None:
                kept = kept_text(value, live.step.name)
                live.step = live.step._replace(state="done", kept=kept)
                self._ground.file.record(self.id, live.step)
            else:  # nobody will ask whether it has happened
                live.step = live.step._replace(state="done")
        except BaseException as error:
            if isinstance(error, StepResultError) and not live.doubt:
                live.value, live.step = value, live.step._replace(state="done")
            yield from self._clean_up(live, error)
            raise

    def _clean_up(self, live: Live, error: BaseException) -> Plan[None]:
        undoing = Undoing(lambda step: self._ground.note(self.id, step))
        yield from undoing.one(live)
        self._cause = self._cause or undoing.cause
        if not live.step.undo:
            live.step = live.step._replace(state="failed")
            self._ground.note(self.id, live.step)
        _raise_interrupt(undoing, error)

    def leaving(self, scope: Scope, outer: Scope | None, error: BaseException | None) -> Plan[None]:
        """Ends a block: commits it, or undoes its steps. outer: the block around it; None: it is the whole.

        Raises:
            TransactionError: it could not be committed, and is undone.
        """
        if self._generation != self._ground.generation:
            return  # a forked child leaves the block of its parent
        if not isinstance(error, GeneratorExit):  # then whoever does the step may wait for this very thread
            yield from self._wait()
        scope.is_open = False
        raised = error
        if error is None:
            try:
                self._commit(scope, outer)
            except BaseException as failed:
                raised = failed
            else:
                return
        undoing = Undoing(lambda step: self._ground.note(self.id, step))
        yield from undoing.all(live for live in scope.lives if not live.step.why)  # what is left was tried often enough
        self._cause = undoing.cause = self._cause or undoing.cause
        if outer is None and self._row is not None and not self.is_replay:
            left = self._ground.settle(self._row, self._lives, undoing)
        else:
            left_here = left_of(live.step for live in scope.lives)
            left = failure(self.name, self.id, left_here, undoing.cause) if left_here else None
        assert raised is not None
        if left is not None:
            self.left = left.left
            raised.add_note(str(left))
        _raise_interrupt(undoing, raised)
        if error is None:
            raise raised

    def _commit(self, scope: Scope, outer: Scope | None) -> None:
        if outer is not None:
            outer.lives += scope.lives
            return
        if self.is_replay:
            return
        assert self._row is not None
        left = left_of(live.step for live in self._lives)
        ground = self._ground
        ground.file.settle(
            self.id, [live.to_write() for live in self._lives], ground.clock.now(),
            is_open=bool(left), committed=True, keyed=self.key is not None,
        )  # fmt: skip
        if left:
            undoing = Undoing(lambda _: None)
            undoing.cause = self._cause
            ground.settle(self._row, self._lives, undoing, committed=True)
        else:
            ground.active.discard(self.id)

    def _wait(self) -> Plan[None]:
        """Until no step is under way in another task or thread: it is the newest, so it is the first to be undone."""
        while not self._idle.is_set():
            try:
                yield Idle(self._idle)
            except GeneratorExit:
                raise
            except BaseException:  # noqa: S112 -- the block is being left already; what remains is to undo it
                continue

    def _check_mine(self) -> None:
        if self._row is None:
            raise RuntimeError(f"the transaction {self.name!r} is not begun: use it as a with block")
        if self._generation != self._ground.generation:
            raise RuntimeError(f"the transaction {self.name!r} belongs to the process that began it, not to a fork of that")

    @property
    def next_key(self) -> str:
        """The idempotency key that the next step has, unless it is given one."""
        known = self._known.get(self._count + 1)
        return known.key if known is not None else f"{self.id}-{self._count + 1}"

    def nested(self, outer: Scope) -> Scope:
        """A block within ``outer``."""
        self._check_mine()
        if not outer.is_open:
            raise RuntimeError(f"this block of the transaction {self.name!r} is over; it can have no part any more")
        return Scope()

    def drive(self, plan: Plan[R], error: BaseException | None = None) -> R:
        """Carries ``plan`` out in this thread."""
        return drive(plan, self._ground.clock, error)

    async def drive_async(self, plan: Plan[R]) -> R:
        """Carries ``plan`` out in this task."""
        return await drive_async(plan, self._ground.clock)


def _raise_interrupt(undoing: Undoing, error: BaseException) -> None:
    """Raises the exit or cancellation that came while steps were undone, unless what is raised anyway is one."""
    if undoing.interrupt is not None and isinstance(error, Exception):
        raise undoing.interrupt from error
