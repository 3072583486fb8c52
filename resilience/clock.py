"""The only place that reads the real clocks and waits; everything that keeps time takes a ``clock=``."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Protocol

# State of the module, against the house rule: code under test was decorated when it was imported, with the real clock,
# and a test has no other way to reach it. A number, so that blocks may be nested; they say 1 and take it back.
_immediate = 0
_changing = threading.Lock()


class Clock(Protocol):
    """Two clocks: one for durations, which never jumps, and one for what people read; and the ways to wait."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; for measuring durations."""

    def now(self) -> datetime:
        """The wall clock, as an aware UTC datetime."""

    def sleep(self, seconds: float) -> None:
        """Waits in this thread."""

    async def asleep(self, seconds: float) -> None:
        """Waits in this task."""

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> object:
        """Has the running event loop call ``callback(*args)`` later."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def asleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        waiting: Coroutine[Any, Any, None] = _asyncio().sleep(seconds)
        return waiting

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> object:
        return _asyncio().get_running_loop().call_later(seconds, callback, *args)


@functools.cache
def _asyncio() -> ModuleType:
    import asyncio  # noqa: PLC0415 -- who comes here has it; synchronous agents need not pay for it

    return asyncio


def as_text(at: datetime) -> str:
    """``at`` as fixed-width ISO 8601 in UTC, e.g. ``2026-11-23T18:27:23.000120Z``: it sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def waits_are_immediate() -> bool:
    """Whether a retry must not pause before it tries again: some test is inside ``testing.immediate_retries``."""
    return _immediate > 0


def count_immediate_waits(change: int) -> None:
    """1 when a block begins in which retries must not pause, -1 when it ends; ``testing.immediate_retries`` calls it."""
    global _immediate
    with _changing:
        _immediate += change
