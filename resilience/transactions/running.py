"""What the blocks of a transaction carry out: plans for its beginning, each step, and its end (§9)."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

from resilience.clock import as_text
from resilience.transactions.asked import Asked, step_name
from resilience.transactions.beginning import beginning
from resilience.transactions.driving import Call, Closing, Idle, Plan
from resilience.transactions.file import Row, TransactionError
from resilience.transactions.ground import Ground
from resilience.transactions.replaying import Replay
from resilience.transactions.scopes import Scope
from resilience.transactions.steps import MAX_STEPS, Left, Step, StepResultError, checked_text, failure, kept_text, left_of, words
from resilience.transactions.undoing import Live, Undoing, kept_of, live_of


class Run:
    """One run of a transaction, which its blocks share. For the arguments see ``TransactionManager.transaction``."""

    def __init__(self, ground: Ground, name: str, key: str | None) -> None:
        self._ground, self.name, self.key = ground, checked_text("a transaction's name", name), key
        if key is not None:
            checked_text("a transaction's key", key)
        self.id, self.clock = uuid.uuid4().hex, ground.clock
        self.left: tuple[Left, ...] = ()
        self._generation = -1
        self._row: Row | None = None
        self.replay: Replay | None = None
        self._lives: list[Live] = []
        self._count = self._begun = 0
        self._cause: BaseException | None = None
        self._lock = threading.Lock()
        self._doing: Scope | None = None
        self._idle = threading.Event()
        self._idle.set()

    def entering(self, scope: Scope) -> Plan[None]:
        """Begins the transaction: writes it down, or finds that it is committed under its key already."""
        if self._row is not None:
            raise RuntimeError(f"the transaction {self.name!r} has run; agent.transaction gives a new one for each block")
        ground = self._ground
        if ground.closed:
            raise TransactionError(f"the transactions of {ground.agent} are closed; {self.name!r} was not begun")
        row = Row(self.id, ground.agent, self.name, self.key, ground.me(), "running", True, as_text(ground.clock.now()))
        try:
            ground.take(row.id)
            self.replay = yield from beginning(ground, row)
            if self.replay is not None:
                self.id = self.replay.id
            scope.open()
            self._generation, self._row = ground.generation, row
        finally:
            if self._row is None or self.replay is not None:
                ground.release(row.id)

    def enter_part(self, scope: Scope) -> None:
        """Begins a part."""
        self._check_mine()
        with self._lock:
            assert scope.outer is not None
            self._check_takes_parts(scope.outer)
            scope.open()

    def not_entered(self, scope: Scope, error: BaseException) -> Plan[None]:
        """Ends what was begun already when its block could not be entered."""
        if self._row is not None and scope.is_open:
            yield from self.leaving(scope, error)

    def doing(self, scope: Scope, asked: Asked) -> Plan[Any]:
        """Does a step; what raises is cleaned up after before it is raised."""
        self._check_mine()
        mine = False
        try:
            with self._lock:
                if not scope.is_open:
                    raise RuntimeError(f"this block of the transaction {self.name!r} is over; no step was begun")
                if self._doing is not None:
                    raise RuntimeError(f"a step of the transaction {self.name!r} is under way; steps go one after another")
                self._check_steps()
                mine = True
                self._doing = scope
                self._idle.clear()
            return (yield from self._do(scope, asked))
        finally:
            if mine:
                self._doing = None
                self._idle.set()

    def _do(self, scope: Scope, asked: Asked) -> Plan[Any]:
        name = step_name(asked.function)
        known = self._ground.known_as(asked.undo) if asked.undo is not None else None
        with self._lock:  # a part that fails in another thread meanwhile has a number, too
            number = self._count + 1
            step = Step(number, name, key=self.next_key if asked.key is None else asked.key, state="failed")
            live = live_of(step, asked, known)
            if self.replay is not None:
                return self.replay.do(name)
            if self._ground.closed:
                raise TransactionError(f"the transactions of {self._ground.agent} are closed; the step {name} was not begun")
            self._count = number
            self._begun += 1
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
                self._note_failed(live, error)
            else:  # whoever was interrupted cannot say how far it came
                yield from self._clean_up(live, error)
            raise
        yield from self._keep(live, asked, result)
        return result

    def _keep(self, live: Live, asked: Asked, result: Any) -> Plan[None]:
        """Writes down what the step gave; where that cannot be, the step is undone."""
        value = result
        try:
            value = kept_of(asked, live, result)
            if live.undo is not None or self.key is not None:
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
        if not live.step.undo or (self.key is not None and not live.step.why):
            undoing.through(lambda: self._note_failed(live, error))
        undoing.raise_after(error)

    def _note_failed(self, live: Live, error: BaseException) -> None:
        """Writes down that a step has not happened, or not any more; under a key also why, for those who replay it."""
        kept = None if self.key is None else json.dumps(words(error))
        live.step = live.step._replace(state="failed", kept=kept)
        self._ground.note(self.id, live.step)

    def leaving(self, scope: Scope, error: BaseException | None) -> Plan[None]:
        """Ends a block: commits it, or undoes its steps, with those of parts that are still open in other tasks or threads.

        Raises:
            TransactionError: it could not be committed, and is undone. RuntimeError: a part of it was open, so it is undone,
                or the block around it ended first. ReplayedFailureError: it is a part that failed then.
        """
        if self._generation != self._ground.generation:
            return  # a forked child leaves the block of its parent
        try:
            with self._lock:
                parts = scope.close()
            if scope.is_cut:
                if error is None:
                    raise scope.cut(self.name)
                return
            interrupt = None
            if not isinstance(error, GeneratorExit):  # then whoever does the step may wait for this very thread
                interrupt = yield from self._wait(scope)
            yield from self._end(scope, error, parts, interrupt)
        finally:
            try:
                self._over(scope)
            except BaseException:  # once more, else the block around it would wait for it for ever
                self._over(scope)
                raise

    def _over(self, scope: Scope) -> None:
        if not scope.is_cut:
            with self._lock:
                scope.end()
        if scope.outer is None:
            self.abandon()

    def abandon(self) -> None:
        """Whatever has come in between, the thread may undo now what is not undone."""
        if self._row is not None and self.replay is None and self._generation == self._ground.generation:
            self._ground.release(self.id, unless_owed=True)

    def _end(self, scope: Scope, error: BaseException | None, parts: list[Scope], interrupt: BaseException | None) -> Plan[None]:
        raised = interrupt if error is None else error
        if raised is None:
            try:
                interrupt = self._commit(scope, parts)
            except BaseException as failed:
                raised = failed
            else:
                if interrupt is not None:
                    raise interrupt
                return
        lives = [live for one in scope.tree() for live in one.lives]
        undoing = Undoing(lambda step: self._ground.note(self.id, step))
        undoing.interrupt = interrupt
        yield from undoing.all(live for live in lives if not live.step.why)  # what is left was tried often enough
        self._cause = undoing.cause = self._cause or undoing.cause
        if scope.outer is None and self.replay is None:
            assert self._row is not None
            left = self._ground.settle(self._row, self._lives, undoing)
        else:
            left_here = left_of(live.step for live in lives)
            left = failure(self.name, self.id, left_here, undoing.cause) if left_here else None
            self._part_failed(scope, raised)
        if left is not None:
            self.left = left.left
            raised.add_note(str(left))
        undoing.raise_after(raised)
        if error is None:
            raise raised

    def _part_failed(self, scope: Scope, error: BaseException) -> None:
        """Has those who replay the transaction know that a part failed here."""
        if self.replay is not None:
            self.replay.fail(scope.name)
        elif self.key is not None:
            said = json.dumps(words(error))
            with self._lock:
                self._count += 1
                self._lives.append(Live(Step(self._count, scope.name, state="failed", kept=said), None, None))

    def _commit(self, scope: Scope, parts: list[Scope]) -> BaseException | None:
        """Commits a block; gives the exit that came meanwhile, if one did, which is raised when all is done."""
        if parts:
            raise scope.ends_before(parts)
        if (outer := scope.outer) is not None:
            if self.replay is not None and (failed := self.replay.failure_of(scope.name)) is not None:
                raise failed
            with self._lock:
                if outer.over.is_set():
                    raise scope.cut(self.name)
            return None
        if self.replay is not None:
            return None
        assert self._row is not None
        left, ground, undoing = left_of(live.step for live in self._lives), self._ground, Undoing(lambda _: None)
        ground.file.settle(
            self.id, [live.to_write() for live in self._lives], ground.clock.now(),
            is_open=bool(left), committed=True, keyed=self.key is not None,
        )  # fmt: skip
        if left:
            undoing.cause = self._cause
            ground.settle(self._row, self._lives, undoing, committed=True)
        return undoing.interrupt

    def _wait(self, scope: Scope) -> Plan[BaseException | None]:
        """Until nothing of a block is under way in another task or thread: its step is the newest, so the first to be undone.

        Returns: the first cancellation or exit that came meanwhile; the block fails by it, if it has not failed before.
        """
        interrupt: BaseException | None = None
        while True:
            with self._lock:
                event = scope.under_way(self._doing, self._idle)
            if event is None or isinstance(interrupt, Closing):  # then the step may never end, for its loop is gone
                return interrupt
            try:
                yield Idle(event)
            except (Exception, GeneratorExit):
                raise
            except BaseException as error:
                interrupt = error if isinstance(error, Closing) else interrupt or error

    def _check_mine(self) -> None:
        if self._row is None:
            raise RuntimeError(f"the transaction {self.name!r} is not begun: use it as a with block")
        if self._generation != self._ground.generation:
            raise RuntimeError(f"the transaction {self.name!r} belongs to the process that began it, not to a fork of that")

    @property
    def next_key(self) -> str:
        """The idempotency key that the next step has, unless it is given one."""
        return (self.replay and self.replay.next_key) or f"{self.id}-{self._begun + 1}"

    def nested(self, outer: Scope, name: str) -> Scope:
        """A part of the block ``outer``, which is yet to begin."""
        self._check_mine()
        self._check_takes_parts(outer)
        return Scope(name, outer)

    def _check_takes_parts(self, outer: Scope) -> None:
        if not outer.is_open:
            raise RuntimeError(f"this block of the transaction {self.name!r} is over; it can have no part any more")
        self._check_steps()

    def _check_steps(self) -> None:
        if self._count >= MAX_STEPS:
            raise RuntimeError(f"the transaction {self.name!r} has {MAX_STEPS} steps; no further one is begun")
