"""A second try beside the first, when that is slow: for calls that may be made twice (§10.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from resilience.clock import Clock


async def first_to_answer(make: Callable[[], Awaitable[Any]], after_s: float, clock: Clock) -> Any:
    """The answer of ``make()``, or of a second one that is begun if there is none after ``after_s`` seconds.

    The first good answer wins, and the other call is cancelled. What fails before there is a second raises at once.
    """
    first = asyncio.ensure_future(make())
    waiting = asyncio.ensure_future(clock.asleep(after_s))
    calls: set[asyncio.Future[Any]] = {first}
    try:
        await asyncio.wait({first, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return first.result()
        second = asyncio.ensure_future(make())
        calls.add(second)
        done, running = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        if not any(_went_well(call) for call in done) and running:
            done, _ = await asyncio.wait(running)
        return sorted(done, key=_went_well)[-1].result()
    finally:
        for call in (waiting, *calls):
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def _went_well(call: asyncio.Future[Any]) -> bool:
    return not call.cancelled() and call.exception() is None
