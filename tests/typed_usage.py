"""What a type checker must still know of functions behind policies; mypy checks this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

import resilience
from resilience.agent.client import Agent


def plain(number: int, *, text: str = "") -> str:
    return text * number


async def later(number: int) -> str:
    return str(number)


async def stream(number: int) -> AsyncIterator[str]:
    yield str(number)


def check(agent: Agent) -> None:
    assert_type(agent.protect("gpt-5.2", retry="llm_service")(plain)(1, text="x"), str)
    assert_type(agent.protect("gpt-5.2")(stream)(1), AsyncIterator[str])
    assert_type(resilience.retry(plain)(1, text="x"), str)
    assert_type(resilience.retry("network", max_retries=2)(plain)(1), str)
    assert_type(resilience.CircuitBreaker("x")(plain)(1), str)
    assert_type(resilience.CircuitBreaker("x").call(plain, 1, text="x"), str)
    with agent.transaction("t", "k") as tx, tx.nested("part") as part:
        assert_type(tx.do(plain, 1, text="x", undo=agent.compensation("x")(plain)), str)
        assert_type(part.do(int, "1", keep=lambda number: number + 1), int)
    agent.protect("gpt-5.2")(plain)("one")  # type: ignore[arg-type]
    resilience.retry(plain)(1, words="x")  # type: ignore[call-arg]


async def check_coroutines(agent: Agent) -> None:
    assert_type(await agent.protect("gpt-5.2")(later)(1), str)
    async with agent.transaction("t") as tx, tx.nested("part") as part:
        assert_type(await tx.do(later, 1, undo=plain), str)
        assert_type(await part.do(plain, 1, undo=later), str)
    assert_type(await resilience.Bulkhead("x")(later)(1), str)
    assert_type(await resilience.retry(later)(1), str)
