"""Critical operations (§9.1): what they might spoil is saved before each, and restored when it has failed in the end."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from resilience.wrapping import is_async, name_of

if TYPE_CHECKING:
    from resilience.pipeline import Pipeline

P = ParamSpec("P")
R = TypeVar("R")


class Keeper(Protocol):
    """What saves and restores states (``RecoveryManager``). Neither method raises."""

    def before_critical(
        self, components: Collection[str] | None, operation: str, state: Callable[[], Any] | None, operation_id: str | None
    ) -> Mapping[str, str]: ...

    def roll_back(self, saved: Mapping[str, str]) -> None: ...


class _Call:
    """One critical call: what was saved before its first try, by component; None until then."""

    saved: Mapping[str, str] | None = None


class Critical:
    """Stands around one protected function, and inside its policies: where nothing is called, nothing is saved.

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
        @functools.wraps(function)
        def attempt(*args: Any, **kwargs: Any) -> Any:
            self._save(function)
            return function(*args, **kwargs)

        protected = pipeline(attempt)

        @functools.wraps(protected)
        def critical(*args: Any, **kwargs: Any) -> Any:
            with self._watched():
                return protected(*args, **kwargs)

        return critical

    def _asynchronous(self, function: Callable[..., Any], pipeline: Pipeline) -> Callable[..., Any]:
        @functools.wraps(function)
        async def attempt(*args: Any, **kwargs: Any) -> Any:
            self._save(function)
            return await function(*args, **kwargs)

        protected: Callable[..., Any] = pipeline(attempt)

        @functools.wraps(protected)
        async def critical(*args: Any, **kwargs: Any) -> Any:
            with self._watched():
                return await protected(*args, **kwargs)

        return critical

    @contextmanager
    def _watched(self) -> Iterator[None]:
        token = self._call.set(_Call())
        try:
            yield
        except Exception:
            raise  # the pipeline has seen to it
        except BaseException:  # interrupted in the midst of it
            self._roll_back()
            raise
        finally:
            self._call.reset(token)

    def _save(self, function: Callable[..., Any]) -> None:
        """Before the first try."""
        call = self._call.get()
        if call.saved is None:
            call.saved = self._recovery.before_critical(self._components, name_of(function), self._state, self._operation_id)

    def _roll_back(self) -> None:
        self._recovery.roll_back(self._call.get().saved or {})
