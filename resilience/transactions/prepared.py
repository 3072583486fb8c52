"""The document's ``Transaction`` (§9.2): its operations are added first, and executed together."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilience.clock import Clock, SystemClock
from resilience.listeners import Done
from resilience.transactions.asked import step_name
from resilience.transactions.driving import drive_async
from resilience.transactions.steps import Left, Step, checked_text, failure, left_of
from resilience.transactions.undoing import Live, Undoing

if TYPE_CHECKING:
    from resilience.transactions.manager import TransactionManager


@dataclass
class Operation:
    """Something to be done, and what takes it back, called with what it gave."""

    operation: Callable[..., Any]
    rollback: Callable[[Any], Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    executed: bool = False
    result: Any = None

    async def execute(self) -> Any:
        """Does it, and remembers what it gave."""
        answer = self.operation(*self.args, **self.kwargs)
        self.result = await answer if inspect.isawaitable(answer) else answer
        self.executed = True
        return self.result

    def undo(self, _: object = None) -> Any:
        """Takes it back; it may be awaitable."""
        return self.rollback(self.result)


class Transaction:
    """Operations that are executed together, and taken back newest first if one fails (§9.2). For one event loop.

    Args:
        name: what it does.
        manager: by whom it is journalled, as ``TransactionManager.begin_transaction`` says; None: it is not, and dies
            with its process. An operation whose ``rollback`` is a registered compensation is taken back even then.

    Attributes:
        completed: all of them were done. rolled_back: what was done was taken back, and nothing more will be done.
        error: why it failed. left: what could not be taken back.

    Raises:
        ValueError: the name has not 1 to 200 characters.
    """

    def __init__(self, name: str, manager: TransactionManager | None = None, *, clock: Clock | None = None) -> None:
        self.name, self._manager, self._clock = checked_text("a transaction's name", name), manager, clock or SystemClock()
        self.operations: list[Operation] = []
        self.completed = self.rolled_back = self._is_running = False
        self.error: BaseException | None = None
        self.left: tuple[Left, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it was committed or rolled back."""
        return self.completed or self.rolled_back

    def add_operation(self, operation: Callable[..., Any], rollback: Callable[[Any], Any], *args: Any, **kwargs: Any) -> Done:
        """Adds ``operation(*args, **kwargs)``; ``rollback`` is called with what it gave. Both may be coroutine functions.

        Returns: what may be awaited, as in the document, and need not be.

        Raises:
            RuntimeError: it is executed already.
        """
        self._refuse_if_running()
        if self.is_over:
            raise RuntimeError(f"the transaction {self.name!r} is over; begin another one")
        self.operations.append(Operation(operation, rollback, args, kwargs))
        return Done()

    async def execute(self) -> bool:
        """Does the operations, once; False if one failed and they are taken back. A later call only says whether they are done.

        Raises:
            RuntimeError: it is being executed. Whatever is no ``Exception``, such as a cancellation; they are taken back then.
        """
        self._refuse_if_running()
        if self.is_over:
            return not self.rolled_back
        self._is_running = True
        try:
            await (self._execute_alone() if self._manager is None else self._execute_journalled(self._manager))
            self.completed = True
        except BaseException as error:
            self.error, self.rolled_back = error, True
            if not isinstance(error, Exception):
                raise
        finally:
            self._is_running = False
        return self.completed

    async def rollback(self) -> None:
        """Takes back what was done, newest first, once; of one that was not executed, nothing will be done any more.

        Raises:
            RuntimeError: it is being executed. CompensationFailedError: something could not be taken back. Whatever is no
            ``Exception`` and came meanwhile, when all is done; ``left`` says what could not be taken back.
        """
        self._refuse_if_running()
        if self.rolled_back:
            return
        self.rolled_back = True
        if self.completed:
            undoing = await self._take_back()
            if undoing.interrupt is not None:
                raise undoing.interrupt
            if self.left:
                raise failure(self.name, "not journalled", self.left, undoing.cause)

    async def _execute_journalled(self, manager: TransactionManager) -> None:
        block = manager.transaction(self.name)
        try:
            async with block as tx:
                for one in self.operations:
                    if manager.is_registered(one.rollback):
                        one.result = await tx.do(functools.partial(one.operation, *one.args, **one.kwargs), undo=one.rollback)
                        one.executed = True
                    else:
                        await tx.do(_named(one.execute, one.operation), keep=lambda _: None, undo=_named(one.undo, one.rollback))
        except BaseException:
            self.left = block.left
            raise

    async def _execute_alone(self) -> None:
        doing = None
        try:
            for doing in self.operations:
                await doing.execute()
        except BaseException as error:
            undoing = await self._take_back(None if isinstance(error, Exception) else doing)
            if self.left:
                error.add_note(str(failure(self.name, "not journalled", self.left, undoing.cause)))
            undoing.raise_after(error)
            raise

    async def _take_back(self, interrupted: Operation | None = None) -> Undoing:
        lives = [
            Live(
                Step(number, step_name(one.operation), step_name(one.rollback), state="done" if one.executed else "begun"),
                one.undo,
                None,
            )
            for number, one in enumerate(self.operations, 1)
            if one.executed or one is interrupted
        ]
        undoing = Undoing(lambda _: None)
        try:
            await drive_async(undoing.all(lives), self._clock)
        finally:
            self.left = left_of(live.step for live in lives)
        return undoing

    def _refuse_if_running(self) -> None:
        if self._is_running:
            raise RuntimeError(f"the transaction {self.name!r} is being executed")


def _named(function: Callable[..., Any], called: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` under the name of what it calls."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__qualname__ = step_name(called)
    return call
