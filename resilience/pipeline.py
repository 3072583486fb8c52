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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from resilience.bulkhead import Bulkhead
from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerOpenError
from resilience.circuit.guarding import SAMPLE
from resilience.clock import Clock
from resilience.context import ErrorContext, message_of
from resilience.refusals import RefusedError
from resilience.retrying.attempts import Attempt, RetryContext, RetryExhaustedError
from resilience.retrying.executor import RetryExecutor
from resilience.wrapping import is_async, name_of

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
        limits: keeps the time limits of asynchronous calls; see ``set_times``.
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
        hedge_after_s: float | None = None,
        heals: EndedHeals | None = None,
        wait_for_healing_s: float | None = None,
    ) -> None:
        self._heals, self._wait_for_healing_s = heals, wait_for_healing_s
        self.service, self.read_only, self._fallbacks = service, read_only, fallbacks
        self.breaker, self.bulkhead, self.retry, self._report = breaker, bulkhead, retry, report
        self._hedge_after_s = hedge_after_s
        self.set_times(None, None)
        self.gate: Gate | None = None
        """Asked before each try; None while every call is allowed."""
        self.failed: Callable[[], object] | None = None
        """Called, before any fallback is, when a call has failed in the end, or was refused."""
        self._clock = clock
        self._limits = limits

    def set_times(self, timeout_s: float | None, attempt_timeout_s: float | None) -> None:
        """Takes other time limits, in seconds, for the calls to come: for all tries together, and for each."""
        self.timeout_s, self.attempt_timeout_s = timeout_s, attempt_timeout_s
        self._first_s = min((one for one in (timeout_s, attempt_timeout_s) if one is not None), default=None)
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
        return cast("Callable[P, R]", functools.wraps(function)(wrap(function, name_of(function))))

    # Functions.

    def _synchronous(self, function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        for fallback in self._fallbacks:
            if is_async(fallback):
                raise TypeError(f"the fallback {name_of(fallback)} is asynchronous, and {operation} is not")
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
            if heal is not None and heal.wait(self._wait_for_healing_s or 0.0):
                try:
                    return attempt(args, kwargs)
                except Exception as error:
                    final = self._final(error, operation, RetryContext())
            for fallback in self._fallbacks:
                try:
                    return fallback(*args, **kwargs)
                except Exception as error:
                    _note(final, fallback, error)
            raise final

        return protected

    def _asynchronous(self, function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        from resilience.hedging import first_to_answer  # noqa: PLC0415 -- synchronous agents do without asyncio

        hedge_after_s = self._hedge_after_s
        breaker, bulkhead, monotonic = self.breaker, self.bulkhead, self._clock.monotonic
        try_enter, leave, begin, is_bad = bulkhead.try_enter, bulkhead.leave, self._limits().begin, self._judges()

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
            def make() -> Awaitable[Any]:
                return attempt(args, kwargs, deadline_s, self._seconds(deadline_s), monotonic())

            return make() if hedge_after_s is None else first_to_answer(make, hedge_after_s, self._clock)

        async def protected(*args: Any, **kwargs: Any) -> Any:
            deadline_s, first_s, now_s = None, self._first_s, 0.0
            if first_s is not None:
                now_s = monotonic()
                if self.timeout_s is not None:
                    deadline_s = now_s + self.timeout_s
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
            if heal is not None and await heal.wait_async(self._wait_for_healing_s or 0.0):
                try:
                    return await one_try(args, kwargs, self._deadline_s())
                except Exception as error:
                    final = self._final(error, operation, RetryContext())
            for fallback in self._fallbacks:
                try:
                    result = fallback(*args, **kwargs)
                    return await result if inspect.isawaitable(result) else result
                except Exception as error:
                    _note(final, fallback, error)
            raise final

        return protected

    # Streams: what fails before its first item may be tried again; after it, nobody knows what the caller has used.

    def _stream(self, function: Callable[..., AsyncIterator[Any]], operation: str) -> Callable[..., AsyncIterator[Any]]:
        async def protected(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            deadline_s = self._deadline_s()
            context, began, final = RetryContext(deadline_s), False, None
            while True:
                try:
                    passage = Passage(self, operation, deadline_s, reports=False)
                    async with passage, contextlib.aclosing(function(*args, **kwargs)) as items:  # type: ignore[type-var]
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
                if heal is None or not await heal.wait_async(self._wait_for_healing_s or 0.0):
                    break
                deadline_s, context = self._deadline_s(), RetryContext()
            for fallback in () if began else self._fallbacks:
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

    def _judges(self) -> Callable[[Any], bool] | None:
        """What is asked whether a result asks for another try; None where nothing is."""
        config = self.retry.config
        return None if config is None or config.should_retry_result is None else self.retry.is_bad

    # Time.

    def _deadline_s(self) -> float | None:
        return None if self.timeout_s is None else self._clock.monotonic() + self.timeout_s

    def _left_s(self, deadline_s: float | None) -> float | None:
        return None if deadline_s is None else max(deadline_s - self._clock.monotonic(), 0.001)

    def _seconds(self, deadline_s: float | None) -> float | None:
        """How long the next try may take; None for as long as it likes."""
        left_s = self._left_s(deadline_s)
        return min((one for one in (left_s, self.attempt_timeout_s) if one is not None), default=None)

    async def _in_time(self, make: Callable[[], Awaitable[Any]], seconds: float | None, what: str) -> Any:
        if seconds is None:
            return await make()
        limit = self._limits().begin(seconds, self._clock.monotonic())
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
        if self._heals is None or self._wait_for_healing_s is None:
            return None
        if isinstance(error, RefusedError) and not isinstance(error, CircuitBreakerOpenError):
            return None
        return self._heals.begin(self.service)

    def _final(self, error: Exception, operation: str, context: RetryContext) -> Exception:
        """What the caller gets if no fallback answers; it has been told."""
        final = error
        if isinstance(error, RetryExhaustedError) and isinstance(error.__cause__, Exception):
            final = error.__cause__
        made = [one for one in context.errors if not isinstance(one, RefusedError)]
        if isinstance(final, RefusedError) and made:  # what is wrong is what failed, not that it was refused then
            final = made[-1]
        if context.because and context.attempt > 1:
            with contextlib.suppress(Exception):
                final.add_note(f"{context.attempt} tries failed, and there is no further one: {context.because}")
        if self.failed is not None:
            self.failed()
        known = self.tell(final, operation, max(context.attempt - 1, 0))
        if known is not None:
            with contextlib.suppress(Exception):  # not every error takes attributes
                final.error_context = known  # type: ignore[attr-defined]
        return final

    def tell(self, error: Exception, operation: str, retries: int) -> ErrorContext | None:
        """Has ``error`` reported, unless a policy refused the call; returns what is known of it then."""
        if isinstance(error, RefusedError):
            return None
        try:
            return self._report(error, self.service, operation, retries)
        except Exception:  # the caller gets the error, whatever becomes of the report
            _log.exception("an error of %s could not be reported", self.service)
            return None


class Passage:
    """A block, entered once, that passes gate, circuit and bulkhead as one try: it cannot be tried again.

    Args:
        deadline_s: until when a task waits for a slot. reports: whether its failure is reported, before it is raised.

    Raises:
        RefusedError: a policy does not allow it; the block does not run.
    """

    def __init__(
        self, pipeline: Pipeline, operation: str = "unknown", deadline_s: float | None = None, *, reports: bool = True
    ) -> None:
        self._pipeline, self._operation, self._deadline_s, self._reports = pipeline, operation, deadline_s, reports

    def __enter__(self) -> None:
        self._be_admitted()
        try:
            self._pipeline.bulkhead.enter()
        except BaseException as error:
            self._pipeline.breaker.failed(self._permit, error)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pipeline = self._pipeline
        pipeline.bulkhead.leave()
        if error is None:
            self._permit()
            return
        pipeline.breaker.failed(self._permit, error)
        if self._reports and isinstance(error, Exception):
            pipeline.tell(error, self._operation, 0)

    async def __aenter__(self) -> None:
        self._be_admitted()
        pipeline = self._pipeline
        try:
            if not pipeline.bulkhead.try_enter():
                await pipeline._in_time(pipeline.bulkhead.aenter, pipeline._left_s(self._deadline_s), "found no room")
        except BaseException as error:
            pipeline.breaker.failed(self._permit, error)
            raise

    async def __aexit__(self, *ended: Any) -> None:
        self.__exit__(*ended)

    def _be_admitted(self) -> None:
        pipeline = self._pipeline
        if pipeline.gate is not None:
            pipeline.gate(self._operation)
        self._permit = pipeline.breaker.gate or pipeline.breaker.admit()


_END: Final = object()


def _note(final: Exception, fallback: Callable[..., Any], error: Exception) -> None:
    with contextlib.suppress(Exception):
        final.add_note(f"the fallback {name_of(fallback)} failed, too: {type(error).__name__}: {message_of(error)}")
