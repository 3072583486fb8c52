"""Calling a handler of alerts: a function in a thread of its own, a coroutine function in the event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future

from resilience.alerting.alerts import Alert
from resilience.bulkhead import Bulkhead
from resilience.context import message_of
from resilience.wrapping import is_async

Handler = Callable[[Alert], object]
"""Tells somebody of an alert, as a function or a coroutine function; an exception says that it could not."""


async def called(handler: Handler, room: Bulkhead, alert: Alert) -> str:
    """Calls a handler in its room; why it failed, or empty."""
    try:
        await room.aenter()
        if not is_async(handler):
            answer, why = await asyncio.wrap_future(_in_thread(handler, room, alert))
            if inspect.isawaitable(answer):
                await answer
            return why
        try:
            await handler(alert)
        finally:
            room.leave()
    except Exception as error:
        return _words(error)
    return ""


def _in_thread(handler: Handler, room: Bulkhead, alert: Alert) -> Future[tuple[object, str]]:
    """What a handler gives, and why it failed, from a thread that nobody waits for when the program ends."""
    done: Future[tuple[object, str]] = Future()
    done.set_running_or_notify_cancel()  # who gives up must not end it: the thread would stumble over that

    def run() -> None:
        try:
            told: tuple[object, str] = handler(alert), ""
        except BaseException as error:  # SystemExit included: it ends this thread and nothing else
            told = None, _words(error)
        room.leave()
        done.set_result(told)

    try:
        threading.Thread(target=run, name="winclaw-alert", daemon=True).start()
    except RuntimeError:  # the system has no thread left
        room.leave()
        raise
    return done


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {message_of(error)}"
