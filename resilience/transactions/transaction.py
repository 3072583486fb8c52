"""A transaction as agents' authors see it: a block, its steps, and parts of it (§9).

The same plans are driven in a thread by ``OpenTransaction`` and awaited in a task by ``OpenAsyncTransaction``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from resilience.transactions.asked import asked_for
from resilience.transactions.driving import drive, drive_async
from resilience.transactions.running import Run
from resilience.transactions.scopes import Scope
from resilience.transactions.steps import Left, checked_text
from resilience.wrapping import is_async, name_of

R = TypeVar("R")


class _Block:
    """What blocks for functions and for coroutines have in common."""

    def __init__(self, run: Run, outer: Scope | None = None, name: str = "") -> None:
        self._run, self._entered = run, False
        self._scope = run.nested(outer, name) if outer is not None else Scope(run.name)

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError(f"this block of the transaction {self._run.name!r} was entered before; ask for a new one")
        self._entered = True

    @property
    def name(self) -> str:
        """The transaction's name; of a nested part its own."""
        return self._scope.name

    @property
    def id(self) -> str:
        """What the transaction is called in reports; of one that was committed under this key before, what that one was."""
        return self._run.id

    @property
    def next_key(self) -> str:
        """The idempotency key of the next step, to be handed to whoever receives what it does."""
        return self._run.next_key

    @property
    def is_replay(self) -> bool:
        """Whether the transaction was committed under this key before, so that nothing is called any more."""
        return self._run.replay is not None


class OpenTransaction(_Block):
    """What ``with agent.transaction(…) as tx`` gives; ``with tx.nested(…)`` gives another."""

    def do(
        self, function: Callable[..., R], /, *args: Any, undo: Callable[..., Any] | None = None,
        keep: Callable[[R], Any] | None = None, key: str | None = None, found: Callable[[str], Any] | None = None, **kwargs: Any,
    ) -> R:  # fmt: skip
        """What ``function(*args, **kwargs)`` gives, as a step that is undone if the transaction does not succeed.

        That it begins is on disk before it is called, and what it gave before this returns. If it raises, it counts as not
        having happened, unless ``found`` knows better.

        Args:
            function: does the step. If it has a parameter ``undo``, ``keep``, ``key`` or ``found`` of its own, hand over
                ``functools.partial(function, key=…)``.
            undo: called with what was kept of the step; best one that is registered by ``agent.compensation``, for any
                other one is lost with the process. None: the step needs no undoing.
            keep: gives of the result what is kept; by default all of it. It must be exact JSON, wherever there is ``undo``
                or the transaction has a key.
            key: the step's idempotency key, by default ``next_key``.
            found: called with that key, says whether the step has happened, where nothing else can: what was kept, or
                ``LookupError``. By default the one of the compensation.

        Returns: its result; in a transaction that is committed already what was kept of it.

        Raises:
            TransactionError: the disk refuses; the function was not called, or what it did is undone.
            StepResultError: its result cannot be kept; what it did is undone.
            TransactionReplayError: the transaction that is committed under this key had another step here.
            ReplayedFailureError: there the step, or its part, had failed. RuntimeError: the block is over.
        """
        if is_async(function):
            raise TypeError(f"{name_of(function)} is a coroutine function; use `async with` and `await tx.do(…)`")
        asked = asked_for(function, args, kwargs, undo, keep, key, found)
        return drive(self._run.doing(self._scope, asked), self._run.clock)  # type: ignore[no-any-return]

    def nested(self, name: str) -> OpenTransaction:
        """A part of its own: if its block fails, its steps alone are undone; if it succeeds, they are the transaction's."""
        return OpenTransaction(self._run, self._scope, checked_text("a part's name", name))

    def __enter__(self) -> OpenTransaction:
        self._enter()
        if self._scope.outer is not None:
            self._run.enter_part(self._scope)
            return self
        try:
            drive(self._run.entering(self._scope), self._run.clock)
        except BaseException as error:
            drive(self._run.not_entered(self._scope, error), self._run.clock)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        drive(self._run.leaving(self._scope, error), self._run.clock)


class OpenAsyncTransaction(_Block):
    """What ``async with agent.transaction(…) as tx`` gives; ``async with tx.nested(…)`` gives another."""

    @overload
    async def do(
        self, function: Callable[..., Awaitable[R]], /, *args: Any, undo: Callable[..., Any] | None = None,
        keep: Callable[[R], Any] | None = None, key: str | None = None, found: Callable[[str], Any] | None = None, **kwargs: Any,
    ) -> R: ...  # fmt: skip

    @overload
    async def do(
        self, function: Callable[..., R], /, *args: Any, undo: Callable[..., Any] | None = None,
        keep: Callable[[R], Any] | None = None, key: str | None = None, found: Callable[[str], Any] | None = None, **kwargs: Any,
    ) -> R: ...  # fmt: skip

    async def do(
        self, function: Callable[..., Any], /, *args: Any, undo: Callable[..., Any] | None = None,
        keep: Callable[[Any], Any] | None = None, key: str | None = None, found: Callable[[str], Any] | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """As ``OpenTransaction.do``; each of the functions may be a coroutine function, but for ``keep``."""
        asked = asked_for(function, args, kwargs, undo, keep, key, found)
        return await drive_async(self._run.doing(self._scope, asked), self._run.clock)

    def nested(self, name: str) -> OpenAsyncTransaction:
        """A part of its own: if its block fails, its steps alone are undone; if it succeeds, they are the transaction's."""
        return OpenAsyncTransaction(self._run, self._scope, checked_text("a part's name", name))

    async def __aenter__(self) -> OpenAsyncTransaction:
        self._enter()
        if self._scope.outer is not None:
            self._run.enter_part(self._scope)
            return self
        try:
            await drive_async(self._run.entering(self._scope), self._run.clock)
        except BaseException as error:  # a cancellation that came while another process's steps were undone, too
            drive(self._run.not_entered(self._scope, error), self._run.clock)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        plan = self._run.leaving(self._scope, error)
        if isinstance(error, GeneratorExit):  # the coroutine is thrown away: nothing may be awaited in it any more
            drive(plan, self._run.clock)
        else:
            await drive_async(plan, self._run.clock)


class TransactionBlock:
    """A transaction that is yet to begin: ``with`` it, or ``async with`` it, once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._opened: OpenTransaction | OpenAsyncTransaction | None = None

    @property
    def left(self) -> tuple[Left, ...]:
        """The steps that are left undone, if the block failed and so did compensations; newest first."""
        return self._run.left

    def __enter__(self) -> OpenTransaction:
        tx = self._opened = OpenTransaction(self._run).__enter__()
        return tx

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            assert isinstance(self._opened, OpenTransaction)
            self._opened.__exit__(kind, error, trace)
        finally:
            self._run.abandon()

    async def __aenter__(self) -> OpenAsyncTransaction:
        tx = self._opened = await OpenAsyncTransaction(self._run).__aenter__()
        return tx

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            assert isinstance(self._opened, OpenAsyncTransaction)
            await self._opened.__aexit__(kind, error, trace)
        finally:
            self._run.abandon()
