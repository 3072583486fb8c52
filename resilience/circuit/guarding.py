"""A circuit around a function or a block: takes leave before it, and gives it back with what came of it.

The wrappers of functions are the hot path: while the circuit is closed and quiet, a call looks whether its gate is open, and
a success takes a number.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from resilience.wrapping import is_async

if TYPE_CHECKING:
    from resilience.circuit.breaker import CircuitBreaker, Permit

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("winclaw.circuit")
SAMPLE: Final = 127
"""A mask for the number of a call: of busy traffic, every 128th call is timed."""


def guard(breaker: CircuitBreaker, function: Callable[P, R]) -> Callable[P, R]:
    """``function``, guarded; coroutine functions stay coroutine functions."""
    if is_async(function):

        @functools.wraps(function)
        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            permit = breaker.gate or breaker.admit()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                breaker.failed(permit, error)
                raise
            if not permit() & SAMPLE:
                breaker.gate = None  # the next call is timed
            return result

        return cast("Callable[P, R]", guarded_async)

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        permit = breaker.gate or breaker.admit()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            breaker.failed(permit, error)
            raise
        if not permit() & SAMPLE:
            breaker.gate = None
        return result

    return guarded


def guard_results(breaker: CircuitBreaker, function: Callable[P, R], is_failure: Callable[[Any], bool]) -> Callable[P, R]:
    """The same, where what the call returned may be a failure, too."""

    def judge(permit: Permit, result: Any) -> None:
        try:
            failed = bool(is_failure(result))
        except Exception:  # the call went well; that the question is faulty is no fault of the service
            _log.exception("the circuit %s cannot judge a result, and takes it as it is", breaker.name)
            failed = False
        if failed:
            breaker.settle(permit, failed=True)
        else:
            permit()

    if is_async(function):

        @functools.wraps(function)
        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            permit = breaker.admit()
            try:
                result = await function(*args, **kwargs)
                judge(permit, result)
            except BaseException as error:
                breaker.failed(permit, error)
                raise
            return result

        return cast("Callable[P, R]", guarded_async)

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        permit = breaker.admit()
        try:
            result = function(*args, **kwargs)
            judge(permit, result)
        except BaseException as error:
            breaker.failed(permit, error)
            raise
        return result

    return guarded


def enter(permit: Permit) -> None:
    """A block begins that has ``permit``."""
    _entered.set((*_entered.get(), permit))


def leave(breaker: CircuitBreaker, error: BaseException | None) -> Permit:
    """The permit of the innermost block of this circuit, which ends; a generator may be in a block of another.

    Raises:
        RuntimeError: none was entered here.
    """
    entered = _entered.get()
    for place in range(len(entered) - 1, -1, -1):
        if entered[place].breaker is breaker:
            _entered.set((*entered[:place], *entered[place + 1 :]))
            return entered[place]
    said = "was left by a task or thread that has not entered it; leave the block where it was entered"
    raise RuntimeError(f"the circuit {breaker.name!r} {said}") from error


_entered: ContextVar[tuple[Permit, ...]] = ContextVar("winclaw_circuit_entered", default=())
"""The permits of the ``with`` blocks that this task or thread is in, innermost last."""
