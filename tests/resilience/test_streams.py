"""Answers that come in pieces, through a service's policies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resilience.executor import Resilience
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock, settle
from tests.resilience.calls import QUICK, REFUSED, Reports, finish


class Stream:
    """An answer in pieces; ``breaks`` says after how many pieces each attempt fails (None: it does not)."""

    def __init__(self, *breaks: int | None) -> None:
        self.breaks, self.begun, self.closed = list(breaks), 0, 0

    async def ask(self) -> AsyncIterator[int]:
        at = self.breaks[min(self.begun, len(self.breaks) - 1)]
        self.begun += 1
        try:
            for n in range(3):
                if n == at:
                    raise REFUSED
                yield n
        finally:
            self.closed += 1


async def collect(items: AsyncIterator[Any], into: list[Any]) -> list[Any]:
    async for item in items:
        into.append(item)  # noqa: PERF401 -- what came before an error counts
    return into


def test_a_stream_that_fails_before_its_first_item_is_begun_again(
    resilience: Resilience, reports: Reports, clock: FakeClock
) -> None:
    stream = Stream(0, 0, None)
    items = resilience.protect("gmail_api", retry=QUICK)(stream.ask)()
    assert asyncio.run(finish(clock, collect(items, []))) == [0, 1, 2]
    assert (stream.begun, stream.closed, reports) == (3, 3, [])


def test_a_stream_that_is_left_while_it_pauses_takes_no_retry_from_the_budget(resilience: Resilience, clock: FakeClock) -> None:
    protected = resilience.protect("mine", retry=RetryConfig(max_retries=1))(Stream(0).ask)

    async def is_pausing() -> bool:
        waiting = asyncio.ensure_future(collect(protected(), []))
        await settle()
        paused = not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        resilience.circuits.get_or_create("mine").reset()
        return paused

    async def scene() -> None:
        assert [await is_pausing() for _ in range(30)] == [True] * 30  # the budget alone allows twenty

    asyncio.run(scene())


def test_a_stream_that_fails_later_is_not(resilience: Resilience, reports: Reports, clock: FakeClock) -> None:
    stream, got = Stream(2), []  # type: ignore[var-annotated]
    protected = resilience.protect("gmail_api", retry=QUICK, fallback=lambda: "canned")(stream.ask)
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(finish(clock, collect(protected(), got)))
    assert (got, stream.begun, len(reports)) == ([0, 1], 1, 1)


def test_a_stream_has_time_to_begin(resilience: Resilience, clock: FakeClock) -> None:
    async def ask() -> AsyncIterator[int]:
        await clock.asleep(100)
        yield 1

    protected = resilience.protect("gpt-5.2", retry="none", attempt_timeout_s=5)(ask)
    with pytest.raises(TimeoutError, match=r"gpt-5\.2 did not begin to answer within 5 s"):
        asyncio.run(finish(clock, collect(protected(), [])))


def test_a_stream_falls_back_to_another(resilience: Resilience, clock: FakeClock) -> None:
    async def another() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def one() -> str:
        return "whole"

    for make, expected in ((another, ["a", "b"]), (one, ["whole"]), (lambda: "plain", ["plain"])):
        protected = resilience.protect("gmail_api", retry="none", fallback=make)(Stream(0).ask)
        assert asyncio.run(finish(clock, collect(protected(), []))) == expected


def test_a_stream_left_early_is_closed_and_no_failure(resilience: Resilience, clock: FakeClock) -> None:
    stream = Stream(None)

    async def scene() -> None:
        items = resilience.protect("gmail_api")(stream.ask)()
        assert await anext(items) == 0
        await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())
    assert stream.closed == 1
    assert resilience.bulkheads.get_all_metrics()["gmail_api"]["running"] == 0
    assert resilience.circuits.get_or_create("gmail_api").metrics.failed_calls == 0


def test_two_streams_in_one_task_do_not_mix(resilience: Resilience) -> None:
    protected = resilience.protect("gmail_api")

    async def scene() -> None:
        one, other = protected(Stream(None).ask)(), protected(Stream(2).ask)()
        await anext(one)
        await anext(other)
        assert await collect(one, []) == [1, 2]
        with pytest.raises(ConnectionRefusedError):
            await collect(other, [])

    asyncio.run(scene())
    metrics = resilience.circuits.get_or_create("gmail_api").metrics
    assert (metrics.successful_calls, metrics.failed_calls) == (1, 1)


def test_a_plain_generator_is_refused(resilience: Resilience) -> None:
    def items() -> Any:
        yield 1

    with pytest.raises(TypeError, match="is a generator; make it asynchronous"):
        resilience.protect("gmail_api")(items)
