"""One service's way from a caller to the call: every policy in its order, fused into one wrapper (§10.1).

Outermost first: time for all tries → retry → feature gate and isolation → circuit → bulkhead → time for each try → the
call; so the gate is asked before each try. What fails in the end is classified and reported once; a call that wants to
waits until its service is healed, and is tried once more; then the fallbacks are asked; then the caller gets the original
error, with what is known of it in its ``error_context``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from resilience.bulkhead import Bulkhead
from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerOpenError
from resilience.circuit.guarding import SAMPLE
from resilience.clock import Clock
from resilience.context import ErrorContext, message_of
from resilience.refusals import RefusedError
from resilience.retrying.attempts import Attempt, RetryContext, RetryExhaustedError
from resilience.retrying.executor import RetryExecutor
from resilience.wrapping import is_async

if TYPE_CHECKING:
    from resilience.healing.waiting import EndedHeals, HealWait
    from resilience.timeouts import TimeLimits

P = ParamSpec("P")
R = TypeVar("R")
Report = Callable[[Exception, str, str, int], ErrorContext]
"""Classifies, and hands on, an error: (error, service, operation, how many retries there were)."""
Gate = Callable[[str], None]
"""Asked with the operation: raises ``RefusedError`` where the call is not allowed."""
_log = logging.getLogger("winclaw.pipeline")


class Pipeline:
    """The policies of one service, put together for one function.

    Args:
        service: what is called. read_only: the calls only read.
        retry: how failed calls are tried again. report: told of what fails in the end.
        fallbacks: asked in order, with the call's own arguments, when it has failed or was refused.
        total_s: seconds for all tries together. attempt_s: for each; of asynchronous calls only.
        hedge_after_s: seconds after which a second try is begun beside the first; for calls that may be made twice.
        heals, wait_for_healing_s: whom a call that has failed asks for how many seconds whether its service is healed.
    """

    def __init__(
        self,
        service: str,
        *,
        breaker: CircuitBreaker,
        bulkhead: Bulkhead,
        retry: RetryExecutor,
        report: Report,
        clock: Clock,
        limits: Callable[[], TimeLimits],
        read_only: bool = False,
        fallbacks: Sequence[Callable[..., Any]] = (),
        total_s: float | None = None,
        attempt_s: float | None = None,
        hedge_after_s: float | None = None,
        heals: EndedHeals | None = None,
        wait_for_healing_s: float | None = None,
    ) -> None:
        self._heals, self.wait_for_healing_s = heals, wait_for_healing_s
        self.service, self.read_only, self.fallbacks = service, read_only, tuple(fallbacks)
        self.breaker, self.bulkhead, self.retry, self.report = breaker, bulkhead, retry, report
        self.hedge_after_s = hedge_after_s
        self.set_times(total_s, attempt_s)
        self.gate: Gate | None = None
        """Asked before each try; None while every call is allowed."""
        self._clock = clock
        self._make_limits = limits

    @functools.cached_property
    def _limits(self) -> TimeLimits:
        return self._make_limits()

    def set_times(self, total_s: float | None, attempt_s: float | None) -> None:
        """Takes other time limits, in seconds, for the calls to come."""
        self.total_s, self.attempt_s = total_s, attempt_s
        self.first_s = min((one for one in (total_s, attempt_s) if one is not None), default=None)
        """How long a first try may take."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` behind the policies; what it is (a coroutine function, a generator …) it stays."""
        wrap: Any
        if inspect.isasyncgenfunction(function):
            wrap = self._stream
        elif is_async(function):
            wrap = self._asynchronous
        elif inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator; make it asynchronous, or protect what it calls")
        else:
            wrap = self._synchronous
        return cast("Callable[P, R]", functools.wraps(function)(wrap(function, operation_of(function))))

    # Functions.

    def _synchronous(self, function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        for fallback in self.fallbacks:
            if is_async(fallback):
                raise TypeError(f"the fallback {operation_of(fallback)} is asynchronous, and {operation} is not")
        breaker, bulkhead, is_bad = self.breaker, self.bulkhead, self._judges()

        def attempt(args: Any, kwargs: Any) -> Any:
            if self.gate is not None:
                self.gate(operation)
            permit = breaker.gate or breaker.admit()
            try:
                if not bulkhead.try_enter():
                    bulkhead.enter()
                try:
                    result = function(*args, **kwargs)
                finally:
                    bulkhead.leave()
            except BaseException as error:
                breaker.failed(permit, error)
                raise
            if not permit() & SAMPLE:
                breaker.gate = None
            return result

        def protected(*args: Any, **kwargs: Any) -> Any:
            deadline_s = self._deadline_s()
            try:
                result = attempt(args, kwargs)
            except Exception as error:
                failed = Attempt(error)
            else:
                if is_bad is None or not is_bad(result):
                    return result
                failed = Attempt(None, result=result)
            context = RetryContext(deadline_s)
            try:
                return self.retry.go_on(functools.partial(attempt, args, kwargs), context, failed)
            except Exception as error:
                heal = self._begin_waiting(error)
                final = self._final(error, operation, context)
            if heal is not None and heal.wait(self.wait_for_healing_s or 0.0):
                try:
                    return attempt(args, kwargs)
                except Exception as error:
                    final = self._final(error, operation, RetryContext())
            for fallback in self.fallbacks:
                try:
                    return fallback(*args, **kwargs)
                except Exception as error:
                    _note(final, fallback, error)
            raise final

        return protected

    def _asynchronous(self, function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        breaker, bulkhead, monotonic = self.breaker, self.bulkhead, self._clock.monotonic
        try_enter, leave, begin, is_bad = bulkhead.try_enter, bulkhead.leave, self._limits.begin, self._judges()

        async def attempt(args: Any, kwargs: Any, deadline_s: float | None, seconds: float | None, now_s: float) -> Any:
            if self.gate is not None:
                self.gate(operation)
            permit = breaker.gate or breaker.admit()
            try:
                if not try_enter():
                    await self._in_time(bulkhead.aenter, self._left_s(deadline_s), "found no room")
                    now_s = monotonic()
                try:
                    if seconds is None:
                        result = await function(*args, **kwargs)
                    else:
                        limit = begin(seconds, now_s)
                        try:
                            result = await function(*args, **kwargs)
                        except BaseException as error:
                            if limit.finish(error):
                                raise TimeoutError(f"{self.service} did not answer within {seconds:g} s") from error
                            raise
                        limit.bucket.discard(limit)
                        if limit.is_over:
                            limit.finish(None)
                finally:
                    leave()
            except BaseException as error:
                breaker.failed(permit, error)
                raise
            if not permit() & SAMPLE:
                breaker.gate = None
            return result

        def one_try(args: Any, kwargs: Any, deadline_s: float | None) -> Awaitable[Any]:
            return attempt(args, kwargs, deadline_s, self._seconds(deadline_s), monotonic())

        hedge_after_s = self.hedge_after_s
        if hedge_after_s is not None:
            one_try = self._hedging(one_try, hedge_after_s)

        async def protected(*args: Any, **kwargs: Any) -> Any:
            deadline_s, first_s, now_s = None, self.first_s, 0.0
            if first_s is not None:
                now_s = monotonic()
                if self.total_s is not None:
                    deadline_s = now_s + self.total_s
            try:
                if hedge_after_s is None:
                    result = await attempt(args, kwargs, deadline_s, first_s, now_s)
                else:
                    result = await one_try(args, kwargs, deadline_s)
            except Exception as error:
                failed = Attempt(error)
            else:
                if is_bad is None or not is_bad(result):
                    return result
                failed = Attempt(None, result=result)
            context = RetryContext(deadline_s)
            try:
                return await self.retry.go_on_async(functools.partial(one_try, args, kwargs, deadline_s), context, failed)
            except Exception as error:
                heal = self._begin_waiting(error)
                final = self._final(error, operation, context)
            if heal is not None and await heal.wait_async(self.wait_for_healing_s or 0.0):
                try:
                    return await one_try(args, kwargs, self._deadline_s())
                except Exception as error:
                    final = self._final(error, operation, RetryContext())
            for fallback in self.fallbacks:
                try:
                    result = fallback(*args, **kwargs)
                    return await result if inspect.isawaitable(result) else result
                except Exception as error:
                    _note(final, fallback, error)
            raise final

        return protected

    def _hedging(self, one_try: Callable[..., Awaitable[Any]], after_s: float) -> Callable[..., Awaitable[Any]]:
        from resilience.hedging import first_to_answer  # noqa: PLC0415 -- few calls may be made twice

        def hedged(args: Any, kwargs: Any, deadline_s: float | None) -> Awaitable[Any]:
            return first_to_answer(lambda: one_try(args, kwargs, deadline_s), after_s, self._clock)

        return hedged

    # Streams: what fails before its first item may be tried again; after it, nobody knows what the caller has used.

    def _stream(self, function: Callable[..., AsyncIterator[Any]], operation: str) -> Callable[..., AsyncIterator[Any]]:
        async def protected(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            deadline_s = self._deadline_s()
            context, began, final = RetryContext(deadline_s), False, None
            while True:
                try:
                    async with self.passage_async(operation, deadline_s), contextlib.aclosing(function(*args, **kwargs)) as items:  # type: ignore[type-var]
                        first = functools.partial(anext, items, _END)
                        item = await self._in_time(first, self._seconds(deadline_s), "did not begin to answer")
                        while item is not _END:
                            began = True
                            yield item
                            item = await anext(items, _END)
                        return
                except Exception as error:
                    failed = Attempt(error)
                pause_s = None if began or final is not None else self.retry.next_pause(context, failed)
                if pause_s is not None:
                    await self.retry.pause(context, failed, pause_s)
                    continue
                assert failed.error is not None
                heal = self._begin_waiting(failed.error) if not began and final is None else None
                final = self._final(failed.error, operation, context)
                if heal is None or not await heal.wait_async(self.wait_for_healing_s or 0.0):
                    break
                deadline_s, context = self._deadline_s(), RetryContext()
            for fallback in () if began else self.fallbacks:
                try:
                    answer = fallback(*args, **kwargs)
                    if not hasattr(answer, "__aiter__"):
                        yield await answer if inspect.isawaitable(answer) else answer
                        return
                    async for item in answer:
                        began = True
                        yield item
                except Exception as error:
                    _note(final, fallback, error)
                    if began:
                        break
                else:
                    return
            raise final

        return protected

    # Blocks of code, which cannot be tried again.

    @contextmanager
    def passage(self, operation: str = "unknown") -> Iterator[None]:
        """A block that passes gate, circuit and bulkhead, as one try.

        Raises:
            RefusedError: it does not run.
        """
        if self.gate is not None:
            self.gate(operation)
        permit = self.breaker.gate or self.breaker.admit()
        try:
            if not self.bulkhead.try_enter():
                self.bulkhead.enter()
            try:
                yield
            finally:
                self.bulkhead.leave()
        except BaseException as error:
            self.breaker.failed(permit, error)
            raise
        permit()

    @asynccontextmanager
    async def passage_async(self, operation: str = "unknown", deadline_s: float | None = None) -> AsyncIterator[None]:
        """``passage``, for coroutines."""
        if self.gate is not None:
            self.gate(operation)
        permit = self.breaker.gate or self.breaker.admit()
        try:
            if not self.bulkhead.try_enter():
                await self._in_time(self.bulkhead.aenter, self._left_s(deadline_s), "found no room")
            try:
                yield
            finally:
                self.bulkhead.leave()
        except BaseException as error:
            self.breaker.failed(permit, error)
            raise
        permit()

    def _judges(self) -> Callable[[Any], bool] | None:
        """What is asked whether a result asks for another try; None where nothing is."""
        config = self.retry.config
        return None if config is None or config.should_retry_result is None else self.retry.is_bad

    # Time.

    def _deadline_s(self) -> float | None:
        return None if self.total_s is None else self._clock.monotonic() + self.total_s

    def _left_s(self, deadline_s: float | None) -> float | None:
        return None if deadline_s is None else max(deadline_s - self._clock.monotonic(), 0.001)

    def _seconds(self, deadline_s: float | None) -> float | None:
        """How long the next try may take; None for as long as it likes."""
        left_s = self._left_s(deadline_s)
        if left_s is None or self.attempt_s is None:
            return self.attempt_s if left_s is None else left_s
        return min(left_s, self.attempt_s)

    async def _in_time(self, make: Callable[[], Awaitable[Any]], seconds: float | None, what: str) -> Any:
        if seconds is None:
            return await make()
        limit = self._limits.begin(seconds, self._clock.monotonic())
        try:
            result = await make()
        except BaseException as error:
            if limit.finish(error):
                raise TimeoutError(f"{self.service} {what} within {seconds:g} s") from error
            raise
        limit.finish(None)
        return result

    # The end.

    def _begin_waiting(self, error: Exception) -> HealWait | None:
        """A wait for a heal, where the call wants that and one could help: a call that was not allowed needs none."""
        if self._heals is None or self.wait_for_healing_s is None:
            return None
        if isinstance(error, RefusedError) and not isinstance(error, CircuitBreakerOpenError):
            return None
        return self._heals.begin(self.service)

    def _final(self, error: Exception, operation: str, context: RetryContext) -> Exception:
        """What the caller gets if no fallback answers; it has been reported, unless a policy refused the call."""
        final = error
        if isinstance(error, RetryExhaustedError) and isinstance(error.__cause__, Exception):
            final = error.__cause__
        made = [one for one in context.errors if not isinstance(one, RefusedError)]
        if isinstance(final, RefusedError) and made:  # what is wrong is what failed, not that it was refused then
            final = made[-1]
        if context.because and context.attempt > 1:
            with contextlib.suppress(Exception):
                final.add_note(f"{context.attempt} tries failed, and there is no further one: {context.because}")
        if isinstance(final, RefusedError):
            return final
        try:
            known = self.report(final, self.service, operation, max(context.attempt - 1, 0))
            final.error_context = known  # type: ignore[attr-defined]
        except Exception:  # an error that takes no attributes, or a report that fails: the caller gets the error
            _log.exception("an error of %s could not be reported", self.service)
        return final


_END: Final = object()


def operation_of(function: Callable[..., Any]) -> str:
    """How a function is called in reports."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _note(final: Exception, fallback: Callable[..., Any], error: Exception) -> None:
    with contextlib.suppress(Exception):
        final.add_note(f"the fallback {operation_of(fallback)} failed, too: {type(error).__name__}: {message_of(error)}")
