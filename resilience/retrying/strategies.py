"""Which errors are worth another try, how often, and after which pause (§4). Data, and pure decisions: chance is an argument.

The error decides (the matrix of §4.1) where the strategy is ``auto``; a strategy by name (§4.2) says for which errors it
is and how it pauses.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import asdict

from resilience import errors as e
from resilience.classification.classifier import Verdict
from resilience.context import RecoveryStrategy
from resilience.policies import RETRY_POLICIES, RetryStrategy
from resilience.refusals import RefusedError

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
        should_retry_result: whether a result asks for another try. A predicate that fails asks for none.
        on_retry: called with (error, number of the try that failed, pause in seconds) before each pause.
        on_give_up: called with (error) when there will be no further try. Both may be coroutine functions.
    """

    retryable_exceptions: tuple[type[BaseException], ...] = (Exception,)
    should_retry: Callable[[Exception], bool] | None = None
    should_retry_result: Callable[[Any], bool] | None = None
    on_retry: Callable[[Exception, int, float], Any] | None = None
    on_give_up: Callable[[Exception], Any] | None = None


RETRY_STRATEGIES: Final[Mapping[str, RetryConfig]] = MappingProxyType(
    {
        name: RetryConfig(**asdict(RETRY_POLICIES[name]), retryable_exceptions=classes)
        for name, classes in {
            "network": (ConnectionError, TimeoutError, e.NetworkTransientError, e.GatewayTimeoutError),
            "api_rate_limited": (e.RateLimitError, e.LLMRateLimitError, e.ThrottlingError),
            "llm_service": (e.LLMTimeoutError, e.LLMRateLimitError, e.ServiceUnavailableError),
            "database": (ConnectionError, TimeoutError, e.NetworkTransientError, e.ResourceTransientError),
            "filesystem": (PermissionError, e.ResourceExhaustedError),
        }.items()
    }
)
"""The strategies of §4.2 by name."""

_TIMEOUT: Final = RetryStrategy(max_retries=3, base_delay=5.0, max_delay=5.0, exponential_base=1.0, jitter=False)
NO_RETRIES: Final = RetryStrategy(max_retries=0)
_RETRY_MATRIX: Final[Mapping[type[BaseException], RetryStrategy]] = MappingProxyType(
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


def asked_seconds(strategy: RetryStrategy, retry_after_s: float, longest_s: float, dice: Callable[[], float]) -> float:
    """The pause where the service asks to be left alone for ``retry_after_s``, in seconds; never shorter than that. Pure.

    Whom it told the same does not come back at the same moment: chance adds up to ``jitter_max``, of whichever kind the
    jitter is, but does not make a pause too long that is not: longer than ``longest_s``.
    """
    if not strategy.jitter:
        return retry_after_s
    return retry_after_s + min(strategy.jitter_max, max(longest_s - retry_after_s, 0.0)) * dice()


def no_time_for(pause_s: float, strategy: RetryStrategy, left_s: float | None) -> str:
    """Why a pause of ``pause_s`` is too long; empty if it is not. Where a deadline leaves ``left_s``, only that counts. Pure."""
    if left_s is None:
        too_long = pause_s > strategy.max_delay
        return f"it asks to be left alone for {pause_s:g} s, and {strategy.max_delay:g} s is the longest" if too_long else ""
    return "the next try would begin after its time is up" if pause_s >= left_s else ""


def strategy_for(error: Exception, verdict: Verdict) -> RetryStrategy:
    """How the error itself asks to be retried (§4.1). Pure."""
    if not verdict.is_transient or verdict.recovery_strategy is not RecoveryStrategy.RETRY_WITH_BACKOFF:
        return NO_RETRIES
    if verdict.error_class is e.NetworkTransientError and isinstance(error, ConnectionError):
        return _RETRY_MATRIX[ConnectionError]
    for kind in verdict.error_class.__mro__:
        if kind in _RETRY_MATRIX:
            return _RETRY_MATRIX[kind]
    return _RETRY_MATRIX[e.NetworkTransientError]


def is_worth_it(config: RetryConfig, error: Exception, error_class: type[BaseException]) -> bool:
    """Whether ``error``, classified under ``error_class``, is of a kind for which ``config`` tries again. Pure."""
    named = _named_in(config.retryable_exceptions)
    if named and (isinstance(error, named) or issubclass(error_class, named)):
        return True
    return Exception in config.retryable_exceptions and not (_is_hopeless(type(error)) or _is_hopeless(error_class))  # type: ignore[arg-type]


def names(config: RetryConfig, error: Exception) -> bool:
    """Whether ``config`` names the class of ``error``, or one above it; ``Exception`` names none. Pure."""
    return isinstance(error, _named_in(config.retryable_exceptions))


@functools.lru_cache(256)
def _named_in(retryable: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    """The classes that are named; ``Exception`` names none."""
    return tuple(kind for kind in retryable if kind is not Exception)


@functools.lru_cache(1024)
def _is_hopeless(kind: type[BaseException]) -> bool:
    return issubclass(kind, NEVER_AGAIN)
