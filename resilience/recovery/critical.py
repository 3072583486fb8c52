"""Critical operations (§9.1): what they might spoil is saved before each, and restored when it has failed in the end."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from resilience.wrapping import is_async, name_of

if TYPE_CHECKING:
    from resilience.pipeline import Pipeline

P = ParamSpec("P")
R = TypeVar("R")


class Before:
    """What a critical call might spoil, as it was before it, by component.

    ``shared`` has the components of which another critical call was under way at the same time.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.states: dict[str, str] = {}  # as JSON, so that nobody changes it
        self.saved: dict[str, str] = {}  # the checkpoints
        self.shared: set[str] = set()


class Keeper(Protocol):
    """What saves and restores states (``RecoveryManager``). None of it raises."""

    def before(
        self, components: Collection[str] | None, operation: str, state: Callable[[], Any] | None, *, begins: bool = True
    ) -> Before: ...

    def keep(self, before: Before, operation_id: str | None) -> None: ...

    def roll_back(self, before: Before) -> None: ...

    def over(self, before: Before) -> None: ...


class _Call:
    """One critical call: what was before its first try, None until then; ``ahead`` is what was kept before it had its turn."""

    before: Before | None = None
    ahead: Before | None = None


class Critical:
    """Stands around one protected function; what is refused has saved nothing.

    Args:
        components: what is saved and restored; None: all that has a snapshotter.
        state: gives the state, where ``components`` is one that has no snapshotter. operation_id: how to find it later.
    """

    def __init__(
        self,
        recovery: Keeper,
        components: Collection[str] | None = None,
        state: Callable[[], Any] | None = None,
        operation_id: str | None = None,
    ) -> None:
        self._recovery, self._components, self._state, self._operation_id = recovery, components, state, operation_id
        self._call: ContextVar[_Call] = ContextVar("call")

    def protect(self, function: Callable[P, R], pipeline: Pipeline) -> Callable[P, R]:
        """``function`` behind the policies of ``pipeline``, each call as a critical operation.

        Raises:
            TypeError: it is a stream, of which nobody can say when it has failed as a whole.
        """
        if inspect.isasyncgenfunction(function):
            raise TypeError(f"{name_of(function)} is a stream; make what it calls critical instead")
        pipeline.failed = self._roll_back
        if is_async(function):
            return cast("Callable[P, R]", self._asynchronous(function, pipeline))
        return cast("Callable[P, R]", self._synchronous(function, pipeline))

    def _synchronous(self, function: Callable[..., Any], pipeline: Pipeline) -> Callable[..., Any]:
        operation = name_of(function)

        @functools.wraps(function)
        def attempt(*args: Any, **kwargs: Any) -> Any:
            if (before := self._begun(operation)) is not None:
                self._recovery.keep(before, self._operation_id)
            return function(*args, **kwargs)

        attempt.__qualname__ = operation
        protected = pipeline(attempt)

        @functools.wraps(protected)
        def critical(*args: Any, **kwargs: Any) -> Any:
            with self._watched():
                return protected(*args, **kwargs)

        return critical

    def _asynchronous(self, function: Callable[..., Any], pipeline: Pipeline) -> Callable[..., Any]:
        operation = name_of(function)

        @functools.wraps(function)
        async def attempt(*args: Any, **kwargs: Any) -> Any:
            if (before := self._begun(operation)) is not None:
                await asyncio.to_thread(self._recovery.keep, before, self._operation_id)
            return await function(*args, **kwargs)

        attempt.__qualname__ = operation
        protected: Callable[..., Any] = pipeline(attempt)

        @functools.wraps(protected)
        async def critical(*args: Any, **kwargs: Any) -> Any:
            with self._watched() as call:
                if pipeline.gate is None and not pipeline.breaker.is_open:  # it will be tried: neither the loop nor a limit waits
                    call.ahead = self._recovery.before(self._components, operation, self._state, begins=False)
                    await asyncio.to_thread(self._recovery.keep, call.ahead, self._operation_id)
                return await protected(*args, **kwargs)

        return critical

    @contextmanager
    def _watched(self) -> Iterator[_Call]:
        token = self._call.set(call := _Call())
        try:
            yield call
        except Exception:
            raise  # the pipeline has seen to it
        except BaseException:  # interrupted in the midst of it
            self._roll_back()
            raise
        finally:
            self._call.reset(token)
            if call.before is not None:
                self._recovery.over(call.before)

    def _begun(self, operation: str) -> Before | None:
        """Before the first try: what is to be kept of it; None: nothing, or it is kept already."""
        call = self._call.get()
        if call.before is not None:
            return None
        call.before, ahead, call.ahead = self._recovery.before(self._components, operation, self._state), call.ahead, None
        if ahead is None or ahead.states != call.before.states:
            return call.before
        call.before.saved = ahead.saved
        return None

    def _roll_back(self) -> None:
        """Once: what is tried after it, e.g. when a heal has helped, is saved before it anew."""
        call = self._call.get()
        if call.before is not None:
            self._recovery.roll_back(call.before)
            self._recovery.over(call.before)
            call.before = None
