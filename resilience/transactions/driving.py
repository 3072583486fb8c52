"""One way for functions and coroutines: a plan, which is a generator, says what is to be called; a driver calls it.

A plan is driven in the caller's thread, or awaited in its event loop. In both, whatever a call raises is raised in the plan.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from resilience.clock import Clock, waits_are_immediate

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Call(NamedTuple):
    """Something to be called. is_step: a user's own step; everything else undoes, and no cancellation stops it."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    is_step: bool = False


class Pause(NamedTuple):
    """A time to wait, which no cancellation ends."""

    seconds: float


class Idle(NamedTuple):
    """Something that another thread or task has yet to end; whoever waits can be cancelled. event: set by then."""

    event: threading.Event


Plan = Generator[Call | Pause | Idle, Any, T]
_LOOK_EVERY_S: Final = 0.005
_acting_for: ContextVar[int] = ContextVar("_acting_for")


class Closing(BaseException):
    """For plans: the coroutine around it is thrown away. A plan that gets ``GeneratorExit`` itself may do nothing more."""


def acting_thread() -> int:
    """Which thread is at work here: where a compensation is awaited in a loop of its own, the one that waits for it."""
    return _acting_for.get(threading.get_ident())


def drive(plan: Plan[T], clock: Clock, error: BaseException | None = None) -> T:
    """Carries ``plan`` out in this thread. Coroutines that undo run in an event loop of their own.

    Args:
        error: raised in the plan to begin with.
    """
    answer = thrown = None
    while True:
        try:
            while True:
                thrown = error
                effect = plan.send(answer) if error is None else plan.throw(error)
                answer, error = None, None
                match effect:
                    case Call(function, args, kwargs, is_step):
                        answer = function(*args, **kwargs)
                        if not is_step and inspect.isawaitable(answer):
                            answer = _awaited_elsewhere(answer)
                    case Pause(seconds):
                        if not waits_are_immediate():
                            clock.sleep(seconds)
                    case Idle(event):
                        event.wait()
        except BaseException as raised:  # an exit, too, even in between: the plan undoes what ran, and raises it again
            if inspect.getgeneratorstate(plan) == inspect.GEN_CLOSED:  # it is the plan's own end
                if isinstance(raised, StopIteration):
                    return raised.value  # type: ignore[no-any-return]
                if isinstance(thrown, StopIteration) and raised.__cause__ is thrown:  # no generator may raise it
                    raise thrown from thrown.__cause__
                raise
            answer, error = None, raised


async def drive_async(plan: Plan[T], clock: Clock) -> T:
    """Carries ``plan`` out in this task: its steps and its waiting for others can be cancelled, all else is shielded.

    Raises:
        CancelledError: there was a cancellation in what was shielded; when the plan is at its end, it is raised.
    """
    import asyncio  # noqa: PLC0415 -- only asynchronous callers need it

    answer, error, cancelled = None, None, False
    while True:
        try:
            effect = plan.send(answer) if error is None else plan.throw(error)
        except StopIteration as end:
            result: T = end.value
            break
        except Exception as failure:
            if cancelled:
                raise asyncio.CancelledError from failure
            raise
        answer, error = None, None
        try:
            if isinstance(effect, Call) and effect.is_step:
                answer = effect.function(*effect.args, **effect.kwargs)
                if inspect.isawaitable(answer):
                    answer = await answer
            elif isinstance(effect, Idle):
                while not effect.event.is_set():  # noqa: ASYNC110 -- it may be a thread that sets it
                    await asyncio.sleep(_LOOK_EVERY_S)
            else:
                task = asyncio.ensure_future(_outcome(effect, clock))
                cancelled = await _shielded(task) or cancelled
                answer, error = task.result()
        except GeneratorExit as closing:  # this coroutine is thrown away: nothing may be awaited here any more
            try:
                return drive(plan, clock, Closing())
            except Closing:
                raise closing from None
        except BaseException as raised:  # as in drive
            error = raised
    if cancelled:
        raise asyncio.CancelledError
    return result


async def _outcome(effect: Call | Pause, clock: Clock) -> tuple[Any, BaseException | None]:
    """What ``effect`` gives and what it raises; an exit that was raised in a task would end the event loop around it."""
    try:
        match effect:
            case Call(function, args, kwargs):
                answer = function(*args, **kwargs)
                return (await answer if inspect.isawaitable(answer) else answer), None
            case Pause(seconds):
                if not waits_are_immediate():
                    await clock.asleep(seconds)
    except BaseException as raised:
        return None, raised
    return None, None


async def _shielded(task: asyncio.Future[Any]) -> bool:
    """Waits for ``task`` whatever happens to the one who waits; returns whether that one was cancelled meanwhile."""
    import asyncio  # noqa: PLC0415 -- as above

    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _awaited_elsewhere(answer: Any) -> Any:
    """What ``answer`` gives in an event loop of its own, on a thread of its own: this one may have a loop that runs."""
    import asyncio  # noqa: PLC0415 -- as above

    async def wait() -> Any:
        return await answer

    found: list[Any] = []
    over, waits = threading.Event(), acting_thread()

    def run() -> None:
        _acting_for.set(waits)
        try:
            found.append((asyncio.run(wait()), None))
        except BaseException as raised:
            found.append((None, raised))
        over.set()

    threading.Thread(target=run, name="winclaw-compensation", daemon=True).start()
    interrupt: BaseException | None = None
    while not over.is_set():
        try:
            over.wait()
        except BaseException as raised:  # it goes on all the same, and is not to be called once more meanwhile
            interrupt = raised
    [(value, error)] = found
    if (failed := error or interrupt) is not None:
        raise failed
    return value
