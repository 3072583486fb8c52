"""Trying again: which errors are worth it, how often, and after which pause (§4).

The error decides (the matrix of §4.1) where the strategy is ``auto``; a strategy by name (§4.2) says for which errors it
is and how it pauses. Nothing is made before the first failure.
"""

from __future__ import annotations

import functools
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn, ParamSpec, TypeVar, cast, overload

from msgspec.structs import asdict, replace

from resilience import errors as e
from resilience.classification.classifier import ErrorClassifier, Verdict
from resilience.clock import Clock, SystemClock, waits_are_immediate
from resilience.context import RecoveryStrategy
from resilience.listeners import tell
from resilience.policies import RETRY_POLICIES, RetryStrategy
from resilience.refusals import RefusedError
from resilience.retrying.budget import Budget
from resilience.wrapping import is_async, refuse_generators

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("winclaw.retry")

NEVER_AGAIN: Final = (
    e.AuthenticationError, e.PermissionDeniedError, e.OSPermissionError, e.ValidationError, e.SecurityError,
    e.ConfigurationError, RefusedError,
)  # fmt: skip
"""What trying again cannot mend; retried only where a strategy names it, or a class below it, explicitly (§4.2)."""


class RetryConfig(RetryStrategy, frozen=True, kw_only=True):
    """How often and after which pauses (as in the configuration), and for what (§4.2).

    Args:
        retryable_exceptions: classes of exceptions, or of the taxonomy (§2.1), for which a call is tried again.
            ``Exception`` is any, but for what must never be tried again unless it is named (``NEVER_AGAIN``).
        should_retry: asked besides, with the exception.
        should_retry_result: whether a result asks for another try.
        on_retry: called with (error, number of the try that failed, pause in seconds) before each pause.
        on_give_up: called with (error) when there will be no further try. Both may be coroutine functions.
    """

    retryable_exceptions: tuple[type[BaseException], ...] = (Exception,)
    should_retry: Callable[[Exception], bool] | None = None
    should_retry_result: Callable[[Any], bool] | None = None
    on_retry: Callable[[Exception, int, float], Any] | None = None
    on_give_up: Callable[[Exception], Any] | None = None


def _named(name: str, *classes: type[BaseException]) -> RetryConfig:
    return RetryConfig(**asdict(RETRY_POLICIES[name]), retryable_exceptions=classes)


RETRY_STRATEGIES: Final[Mapping[str, RetryConfig]] = MappingProxyType(
    {
        "network": _named("network", ConnectionError, TimeoutError, e.NetworkTransientError, e.GatewayTimeoutError),
        "api_rate_limited": _named("api_rate_limited", e.RateLimitError, e.LLMRateLimitError, e.ThrottlingError),
        "llm_service": _named("llm_service", e.LLMTimeoutError, e.LLMRateLimitError, e.ServiceUnavailableError),
        "database": _named(
            "database", ConnectionError, TimeoutError, e.NetworkTransientError, e.ResourceTransientError
        ),
        "filesystem": _named("filesystem", PermissionError, e.ResourceExhaustedError),
    }
)
"""The strategies of §4.2 by name."""

_TIMEOUT: Final = RetryStrategy(max_retries=3, base_delay=5.0, max_delay=5.0, exponential_base=1.0, jitter=False)
_NONE: Final = RetryStrategy(max_retries=0)
RETRY_MATRIX: Final[Mapping[type[BaseException], RetryStrategy]] = MappingProxyType(
    {
        e.NetworkTransientError: RetryStrategy(max_retries=5, max_delay=32.0),
        ConnectionError: RetryStrategy(max_retries=5, max_delay=16.0),
        e.RateLimitError: RetryStrategy(max_retries=10, max_delay=60.0),
        e.ThrottlingError: RetryStrategy(max_retries=10, max_delay=60.0),
        e.LLMRateLimitError: RetryStrategy(max_retries=10, base_delay=2.0, max_delay=120.0, jitter_max=2.0),
        e.ServiceTransientError: RetryStrategy(max_retries=5, max_delay=16.0),
        e.ConnectionTimeoutError: _TIMEOUT,
        e.GatewayTimeoutError: _TIMEOUT,
        e.LLMTimeoutError: _TIMEOUT,
        e.ResourceTransientError: RetryStrategy(max_retries=5, base_delay=0.5, max_delay=16.0),
    }
)
"""What the error decides (§4.1): by the class it is classified under, or the next above it. What is not transient, and
what waiting does not mend (a full disk, §2.3), is not tried again."""


class RetryExhaustedError(e.WinClawError):
    """Every try failed (§4.2). Its cause is the last error.

    Attributes:
        attempts: each try that failed, the first one first. because: why there was no further one.
    """

    kind = "retry_exhausted"

    def __init__(self, because: str, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(f"{len(attempts)} tries failed, and there is no further one: {because}")
        self.because, self.attempts = because, attempts

    @property
    def errors(self) -> list[Exception]:
        """The error of each try; one whose result was refused has none."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.because, self.attempts)


class Attempt(NamedTuple):
    """A try that failed: with an error, or with a result that is none."""

    error: Exception | None
    pause_s: float = 0.0
    result: Any = None


@dataclass(slots=True)
class RetryContext:
    """The tries of one call, from its first failure on (§4.2). ``deadline_s`` is a moment of the executor's clock."""

    deadline_s: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    because: str = ""

    @property
    def attempt(self) -> int:
        """How many tries have failed."""
        return len(self.attempts)

    @property
    def errors(self) -> list[Exception]:
        """Their errors."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]

    @property
    def delays(self) -> list[float]:
        """The pauses between them, in seconds."""
        return [attempt.pause_s for attempt in self.attempts if attempt.pause_s]


def pause_seconds(strategy: RetryStrategy, retry: int, dice: Callable[[], float]) -> float:
    """The pause before the ``retry``-th further try (the first is 1), in seconds; never above ``max_delay``. Pure.

    Args:
        dice: gives a number from 0 up to 1.
    """
    try:
        grown = strategy.base_delay * strategy.exponential_base ** (retry - 1)
    except OverflowError:
        grown = math.inf
    pause_s = min(grown, strategy.max_delay)
    if not strategy.jitter:
        return pause_s
    match strategy.jitter_kind:
        case "full":
            return pause_s * dice()
        case "equal":
            return pause_s * (0.5 + dice() / 2)
        case _:
            return min(pause_s + strategy.jitter_max * dice(), strategy.max_delay)


def strategy_for(error: Exception, verdict: Verdict) -> RetryStrategy:
    """How the error itself asks to be retried (§4.1). Pure."""
    if not verdict.is_transient or verdict.recovery_strategy is not RecoveryStrategy.RETRY_WITH_BACKOFF:
        return _NONE
    if verdict.error_class is e.NetworkTransientError and isinstance(error, ConnectionError):
        return RETRY_MATRIX[ConnectionError]
    for kind in verdict.error_class.__mro__:
        if kind in RETRY_MATRIX:
            return RETRY_MATRIX[kind]
    return RETRY_MATRIX[e.NetworkTransientError]


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
        self._classifier, self._dice = classifier, dice

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, tried again when it fails; coroutine functions stay coroutine functions."""
        refuse_generators(function)
        executor = self
        plain = self.budget is None and (
            self.config is None or (self.config.should_retry_result, self.config.total_seconds) == (None, None)
        )
        if is_async(function):
            asynchronous = cast("Callable[..., Awaitable[Any]]", function)

            @functools.wraps(function)
            async def again_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                deadline_s = None if plain else executor._started()
                try:
                    result = await asynchronous(*args, **kwargs)
                    if plain or not executor._is_bad(result):
                        return result
                    failed = Attempt(None, result=result)
                except Exception as error:
                    failed = Attempt(error)
                call = functools.partial(asynchronous, *args, **kwargs)
                try:
                    return await executor.go_on_async(call, RetryContext(deadline_s), failed)
                finally:
                    del failed

            return cast("Callable[P, R]", again_async)

        @functools.wraps(function)
        def again(*args: P.args, **kwargs: P.kwargs) -> R:
            deadline_s = None if plain else executor._started()
            try:
                result = function(*args, **kwargs)
                if plain or not executor._is_bad(result):
                    return result
                failed = Attempt(None, result=result)
            except Exception as error:
                failed = Attempt(error)
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
            self._announce(context, failed, pause_s)
            if pause_s and not waits_are_immediate():
                self.clock.sleep(pause_s)
            try:
                result = call()
            except Exception as error:
                failed = Attempt(error)
                continue
            if not self._is_bad(result):
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
            self._announce(context, failed, pause_s)
            if not waits_are_immediate():
                await self.clock.asleep(pause_s)
            try:
                result = await call()
            except Exception as error:
                failed = Attempt(error)
                continue
            if not self._is_bad(result):
                return result
            failed = Attempt(None, result=result)

    def _started(self) -> float | None:
        """Notes that a first call begins; returns the moment by which all its tries must have begun."""
        if self.budget is not None:
            self.budget.called()
        total_s = self.config.total_seconds if self.config is not None else None
        return None if total_s is None else self.clock.monotonic() + total_s

    def next_pause(self, context: RetryContext, failed: Attempt) -> float | None:
        """How many seconds to wait before the next try; None if there is none, and ``context.because`` says why."""
        retry_after_s = None
        strategy: RetryStrategy = self.config or _NONE
        context.attempts.append(failed)
        if isinstance(failed.error, RefusedError) and not self._names(failed.error):
            context.because = "it was refused"
            return None
        if failed.error is not None:
            verdict = self._verdict(failed.error)
            retry_after_s = verdict.retry_after_s
            if self.config is None:
                strategy = strategy_for(failed.error, verdict)
            if not self._is_worth_it(failed.error, verdict):
                context.because = f"trying again does not mend it ({verdict.reason})"
                return None
        tried = len(context.attempts)
        if tried > strategy.max_retries:
            context.because = f"{strategy.max_retries} retries are all it gets"
            return None
        pause_s = max(pause_seconds(strategy, tried, self._dice), retry_after_s or 0.0)
        context.because = self._no_time_for(pause_s, strategy, context)
        if context.because:
            return None
        if self.budget is not None and not self.budget.take():
            context.because = f"the retry budget of {self.name!r} is used up"
            return None
        context.attempts[-1] = Attempt(failed.error, pause_s, failed.result)
        return pause_s

    def _no_time_for(self, pause_s: float, strategy: RetryStrategy, context: RetryContext) -> str:
        """Why a pause of ``pause_s`` is too long; empty if it is not. A service's own wish is bound by the deadline only."""
        if context.deadline_s is None:
            too_long = pause_s > strategy.max_delay
            return f"it asks to be left alone for {pause_s:g} s, and {strategy.max_delay:g} s is the longest" if too_long else ""
        too_late = self.clock.monotonic() + pause_s >= context.deadline_s
        return "the next try would begin after its time is up" if too_late else ""

    def _is_worth_it(self, error: Exception, verdict: Verdict) -> bool:
        config = self.config
        if config is None:
            return True  # strategy_for has decided
        named = _named_in(config.retryable_exceptions)
        if named and (isinstance(error, named) or issubclass(verdict.error_class, named)):
            return config.should_retry is None or _asked(config.should_retry, error)
        if _is_hopeless(type(error)) or _is_hopeless(verdict.error_class):  # type: ignore[arg-type]
            return False
        if config.should_retry is not None and not _asked(config.should_retry, error):
            return False
        return Exception in config.retryable_exceptions

    def _names(self, error: Exception) -> bool:
        return self.config is not None and isinstance(error, _named_in(self.config.retryable_exceptions))

    def _verdict(self, error: Exception) -> Verdict:
        if self._classifier is None:
            self._classifier = ErrorClassifier(clock=self.clock)
        return self._classifier.verdict(error, self.name)

    def _is_bad(self, result: object) -> bool:
        return self.config is not None and self.config.should_retry_result is not None and self.config.should_retry_result(result)

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


@functools.lru_cache(256)
def _named_in(retryable: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    """The classes that are named; ``Exception`` names none."""
    return tuple(kind for kind in retryable if kind is not Exception)


@functools.lru_cache(1024)
def _is_hopeless(kind: Any) -> bool:
    return issubclass(kind, NEVER_AGAIN)


def _asked(predicate: Callable[[Exception], bool], error: Exception) -> bool:
    try:
        return bool(predicate(error))
    except Exception:
        _log.exception("the predicate %r failed, so there is no further try", predicate)
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
        return RetryExecutor(clock=clock, name=getattr(strategy, "__qualname__", "unknown"))(strategy)
    config = strategy_named(strategy) if isinstance(strategy, str) else strategy
    if settings:
        config = replace(config or RetryConfig(), **settings)
    return lambda function: RetryExecutor(config, clock=clock, name=getattr(function, "__qualname__", "unknown"))(function)


def strategy_named(name: str, strategies: Mapping[str, RetryConfig] = RETRY_STRATEGIES) -> RetryConfig | None:
    """The strategy called ``name``; None for ``auto``.

    Raises:
        ValueError: there is none; it says which there are.
    """
    if name == "auto":
        return None
    if name == "none":
        return RetryConfig(max_retries=0)
    if name not in strategies:
        raise ValueError(f"there is no retry strategy {name!r}; there are auto, none, {', '.join(sorted(strategies))}")
    return strategies[name]
