"""Telling listeners: after the fact, outside of every lock, and whatever they do, the call goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NoReturn


class Done(Coroutine[Any, Any, None]):
    """What a method gives that is done already: it may be awaited or made a task of, as in the document, and need not be."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()

    def send(self, _: Any) -> NoReturn:
        raise StopIteration

    def throw(self, *raised: Any) -> Any:
        return super().throw(*raised)

    def close(self) -> None:
        pass


_log = logging.getLogger("winclaw.listeners")


def tell(listener: Callable[..., Any], *said: Any) -> None:
    """Calls ``listener(*said)``; a coroutine that it gives becomes a task of the running loop. Faults are logged."""
    try:
        answer = listener(*said)
        if hasattr(answer, "__await__"):
            _start(answer, listener)
    except Exception:
        _log.exception("the listener %r failed", listener)


def _start(answer: Any, listener: Callable[..., Any]) -> None:
    import asyncio  # noqa: PLC0415 -- only asynchronous listeners need it

    async def heard() -> None:
        try:
            await answer
        except Exception:
            _log.exception("the listener %r failed", listener)

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        if hasattr(answer, "close"):
            answer.close()
        _log.error("the listener %r is asynchronous, but no event loop runs here; give a plain function", listener)
        return
    task = loop.create_task(heard())
    _running.add(task)
    task.add_done_callback(_running.discard)


_running: set[Any] = set()
"""Tasks that nobody else holds; without this the garbage collector would end them."""
