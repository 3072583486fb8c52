"""Calling again what failed (§4): asks ``strategies`` whether and when, keeps to the budget and the deadline, and waits.

Nothing is made before the first failure.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, ParamSpec, TypeVar, cast, overload

from msgspec.structs import replace

from resilience.classification.classifier import ErrorClassifier, Verdict
from resilience.clock import Clock, SystemClock, waits_are_immediate
from resilience.listeners import tell
from resilience.policies import RetryStrategy
from resilience.refusals import RefusedError
from resilience.retrying.attempts import Attempt, RetryContext, RetryExhaustedError
from resilience.retrying.budget import Budget
from resilience.retrying.strategies import (
    NO_RETRIES,
    RetryConfig,
    asked_seconds,
    is_worth_it,
    names,
    no_time_for,
    pause_seconds,
    strategy_for,
    strategy_named,
)
from resilience.wrapping import is_async, name_of, refuse_generators

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("winclaw.retry")


class RetryExecutor:
    """Calls again what failed (§4.2). For threads and tasks alike.

    Args:
        config: how; None for ``auto``: the error decides (§4.1).
        name: the service's; the classifier and the log are told.
        budget: how many retries the service bears, over all callers; None for any number.
        dice: gives a number from 0 up to 1, for the jitter.

    Raises:
        ValueError: the configuration cannot work; it says why.
    """

    def __init__(
        self,
        config: RetryConfig | None = None,
        *,
        name: str = "unknown",
        budget: Budget | None = None,
        classifier: ErrorClassifier | None = None,
        clock: Clock | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.config = config.sound() if config is not None else None
        self.name, self.budget, self.clock = name, budget, clock or SystemClock()
        self._classifier, self._dice = classifier or ErrorClassifier(clock=self.clock), dice

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, tried again when it fails; coroutine functions stay coroutine functions."""
        refuse_generators(function)
        executor = self
        plain = self.config is None or (self.config.should_retry_result, self.config.total_seconds) == (None, None)
        if is_async(function):

            @functools.wraps(function)
            async def again_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                deadline_s = None if plain else executor._deadline_s()
                try:
                    result = await function(*args, **kwargs)
                except Exception as error:
                    failed = Attempt(error)
                else:
                    if plain or not executor.is_bad(result):
                        return result
                    failed = Attempt(None, result=result)
                call = functools.partial(function, *args, **kwargs)
                try:
                    return await executor.go_on_async(call, RetryContext(deadline_s), failed)
                finally:
                    del failed

            return cast("Callable[P, R]", again_async)

        @functools.wraps(function)
        def again(*args: P.args, **kwargs: P.kwargs) -> R:
            deadline_s = None if plain else executor._deadline_s()
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                failed = Attempt(error)
            else:
                if plain or not executor.is_bad(result):
                    return result
                failed = Attempt(None, result=result)
            try:
                return executor.go_on(functools.partial(function, *args, **kwargs), RetryContext(deadline_s), failed)
            finally:
                del failed

        return again

    def execute(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``function(*args, **kwargs)``, tried again; of a coroutine function, a coroutine to await.

        Raises:
            RetryExhaustedError: every try failed. The error itself where it was not tried again.
        """
        return self(function)(*args, **kwargs)

    def go_on(self, call: Callable[[], R], context: RetryContext, failed: Attempt) -> R:
        """Tries ``call`` again after ``failed``, until it goes well or enough is enough."""
        while True:
            pause_s = self.next_pause(context, failed)
            if pause_s is None:
                try:
                    self._give_up(context, failed)
                finally:
                    del context, failed  # an error whose traceback leads to itself is kept until the garbage is collected
            try:
                self._announce(context, failed, pause_s)
                if pause_s and not waits_are_immediate():
                    self.clock.sleep(pause_s)
            except BaseException:
                self._leave_out()
                raise
            try:
                result = call()
            except Exception as error:
                failed = Attempt(error)
                continue
            if not self.is_bad(result):
                return result
            failed = Attempt(None, result=result)

    async def go_on_async(self, call: Callable[[], Awaitable[Any]], context: RetryContext, failed: Attempt) -> Any:
        """``go_on``, for a coroutine function."""
        while True:
            pause_s = self.next_pause(context, failed)
            if pause_s is None:
                try:
                    self._give_up(context, failed)
                finally:
                    del context, failed  # an error whose traceback leads to itself is kept until the garbage is collected
            await self.pause(context, failed, pause_s)
            try:
                result = await call()
            except Exception as error:
                failed = Attempt(error)
                continue
            if not self.is_bad(result):
                return result
            failed = Attempt(None, result=result)

    async def pause(self, context: RetryContext, failed: Attempt, pause_s: float) -> None:
        """Waits in this task before the next try, and says so; whoever is cancelled here makes no other try."""
        try:
            self._announce(context, failed, pause_s)
            if not waits_are_immediate():
                await self.clock.asleep(pause_s)
        except BaseException:
            self._leave_out()
            raise

    def _leave_out(self) -> None:
        """The try that was announced is not made: its caller left during the pause."""
        if self.budget is not None:
            self.budget.give_back()

    def _deadline_s(self) -> float | None:
        """The moment by which all tries of a call that begins now must have begun."""
        total_s = self.config.total_seconds if self.config is not None else None
        return None if total_s is None else self.clock.monotonic() + total_s

    def next_pause(self, context: RetryContext, failed: Attempt) -> float | None:
        """How many seconds to wait before the next try; None if there is none, and ``context.because`` says why."""
        retry_after_s = None
        strategy: RetryStrategy = self.config or NO_RETRIES
        context.attempts.append(failed)
        if isinstance(failed.error, RefusedError) and not (self.config is not None and names(self.config, failed.error)):
            context.because = "it was refused"
            return None
        if failed.error is not None:
            verdict = self._classifier.verdict(failed.error, self.name)
            retry_after_s = verdict.retry_after_s
            if self.config is None:
                strategy = strategy_for(failed.error, verdict)
            elif not _is_worth_it(self.config, failed.error, verdict):
                context.because = f"trying again does not mend it ({verdict.reason})"
                return None
        tried = len(context.attempts)
        if tried > strategy.max_retries:
            context.because = f"{strategy.max_retries} retries are all it gets"
            return None
        pause_s = pause_seconds(strategy, tried, self._dice)
        left_s = context.deadline_s - self.clock.monotonic() if context.deadline_s is not None else None
        if retry_after_s:
            longest_s = strategy.max_delay if left_s is None else left_s
            pause_s = max(pause_s, asked_seconds(strategy, retry_after_s, longest_s, self._dice))
        context.because = no_time_for(pause_s, strategy, left_s)
        if context.because:
            return None
        if self.budget is not None and not self.budget.take():
            context.because = f"the retry budget of {self.name!r} is used up"
            return None
        context.attempts[-1] = Attempt(failed.error, pause_s, failed.result)
        return pause_s

    def is_bad(self, result: object) -> bool:
        if self.config is None or self.config.should_retry_result is None:
            return False
        return _asked(self.config.should_retry_result, result, "the result is taken as it is")

    def _announce(self, context: RetryContext, failed: Attempt, pause_s: float) -> None:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s: try %d failed; the next one in %.2f s", self.name, context.attempt, pause_s)
        if self.config is not None and self.config.on_retry is not None and failed.error is not None:
            tell(self.config.on_retry, failed.error, context.attempt, pause_s)

    def _give_up(self, context: RetryContext, failed: Attempt) -> NoReturn:
        """Raises the error itself if it was not tried again, else all of them in one."""
        if failed.error is not None and self.config is not None and self.config.on_give_up is not None:
            tell(self.config.on_give_up, failed.error)
        try:
            if context.attempt == 1 and failed.error is not None:
                raise failed.error
            raise RetryExhaustedError(context.because, tuple(context.attempts)) from failed.error
        finally:
            del context, failed


def _is_worth_it(config: RetryConfig, error: Exception, verdict: Verdict) -> bool:
    is_named = is_worth_it(config, error, verdict.error_class)
    return is_named and (config.should_retry is None or _asked(config.should_retry, error))


def _asked(predicate: Callable[[Any], bool], what: object, so: str = "there is no further try") -> bool:
    try:
        return bool(predicate(what))
    except Exception:
        _log.exception("the predicate %r failed, so %s", predicate, so)
        return False


@overload
def retry(strategy: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def retry(
    strategy: str | RetryConfig = ..., /, *, clock: Clock | None = ..., **settings: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def retry(strategy: Any = "auto", /, *, clock: Clock | None = None, **settings: Any) -> Any:
    """Has a function tried again when it fails: ``@retry``, ``@retry("network")``, ``@retry(max_retries=3)`` (§4.2).

    Args:
        strategy: ``auto`` (the error decides, §4.1), a name of ``RETRY_STRATEGIES``, or a ``RetryConfig``.
        settings: what ``RetryConfig`` takes; changed in the strategy, if there is one.

    Raises:
        ValueError: there is no such strategy, or it cannot work.
        TypeError: there is no such setting.
    """
    if callable(strategy) and not isinstance(strategy, RetryConfig):
        return RetryExecutor(clock=clock, name=name_of(strategy))(strategy)
    config = strategy_named(strategy) if isinstance(strategy, str) else strategy
    if settings:
        config = replace(config or RetryConfig(), **settings)
    return lambda function: RetryExecutor(config, clock=clock, name=name_of(function))(function)
