"""What a call can meet: the kinds of faults, and what each of them does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

Raisable: TypeAlias = BaseException | type[BaseException] | Callable[[], BaseException]


@dataclass(frozen=True)
class Fail:
    """The call raises.

    Args:
        error: an exception, or a class or a function that makes one without arguments. Each call raises a new object.
        after_items: how many items a stream gives before it fails; one with fewer fails at its end. A call that is no
            stream fails at once.
    """

    error: Raisable
    after_items: int = 0

    def __post_init__(self) -> None:
        if not _can_be_raised(self.error):
            raise ValueError(f"an exception, a class of them or a function that makes one is needed, not {self.error!r}")
        if self.after_items < 0:
            raise ValueError(f"after_items must be 0 or more, not {self.after_items}")
        if isinstance(self.error, (BaseException, type)):  # a function may count its calls: it is called when due only
            try:
                _new_error(self.error)
            except TypeError as error:
                name = self.error.__name__ if isinstance(self.error, type) else type(self.error).__name__
                raise ValueError(f"{name}: {error}; give a function instead: lambda: {name}(...)") from error


@dataclass(frozen=True)
class Slow:
    """The call is made ``seconds`` late."""

    seconds: float

    def __post_init__(self) -> None:
        _check_seconds("seconds", self.seconds)


@dataclass(frozen=True)
class Hang:
    """The call is not made before ``Faults.release``; a task may also be cancelled while it waits for that."""


@dataclass(frozen=True)
class TimeOut:
    """The call is not made; after ``after_s`` seconds it raises ``TimeoutError``."""

    after_s: float

    def __post_init__(self) -> None:
        _check_seconds("after_s", self.after_s)


@dataclass(frozen=True)
class Answer:
    """The call is not made; ``value`` is returned instead. Of a stream it is the only item."""

    value: Any


Fault: TypeAlias = Fail | Slow | Hang | TimeOut | Answer
Outcome: TypeAlias = Literal["ok", "hang"] | Fault | Raisable


def as_fault(outcome: Outcome) -> Fault | None:
    """What a script's ``outcome`` means; None is a call without a fault.

    Raises:
        ValueError: for what means nothing.
    """
    match outcome:
        case "ok":
            return None
        case "hang":
            return Hang()
        case Fail() | Slow() | Hang() | TimeOut() | Answer():
            return outcome
        case _ if _can_be_raised(outcome):
            return Fail(outcome)
    raise ValueError(
        f'{outcome!r} is no outcome: say "ok", "hang", an exception, '
        "Fail(error), Slow(seconds), TimeOut(after_s) or Answer(value)"
    )


def wait_s(fault: Fault | None) -> float:
    """How many seconds the call waits before anything else happens."""
    match fault:
        case Slow(seconds) | TimeOut(seconds):
            return seconds
        case _:
            return 0.0


def error_of(fault: Fault | None) -> BaseException | None:
    """What the call raises in the end."""
    match fault:
        case Fail(error):
            return _new_error(error)
        case TimeOut(after_s):
            return TimeoutError(f"no answer within {after_s:g} s (injected)")
        case None | Slow() | Hang() | Answer():
            return None
    assert_never(fault)


def _new_error(error: Raisable) -> BaseException:
    """A new object each time, so that tracebacks, notes and contexts do not grow from call to call.

    Raises:
        TypeError: if it cannot be made this way.
    """
    made = _copy(error) if isinstance(error, BaseException) else error()
    if not isinstance(made, BaseException):
        raise TypeError(f"{error!r} made {made!r}, which is no exception")
    return made


def _can_be_raised(error: object) -> bool:
    return issubclass(error, BaseException) if isinstance(error, type) else isinstance(error, BaseException) or callable(error)


def _copy(error: BaseException) -> BaseException:
    """Without the class's own ``__init__``, which may want other arguments than ``args`` (as openai's errors do)."""
    builtin: Any = next(one for one in type(error).__mro__ if one.__module__ == "builtins")
    _, arguments, *state = builtin.__reduce__(error)
    made: BaseException = builtin.__new__(type(error), *arguments)
    builtin.__init__(made, *arguments)
    if state:
        made.__setstate__(state[0])
    if hasattr(error, "__notes__"):
        made.__notes__ = list(error.__notes__)
    made.__cause__ = error.__cause__
    return made


def _check_seconds(name: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {seconds}")
