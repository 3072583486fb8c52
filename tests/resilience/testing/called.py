"""Functions to put faults around, and an error as libraries write them, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any


def greet(name: str = "you") -> str:
    """Says hello."""
    return f"hello {name}"


async def agreet(name: str = "you") -> str:
    return f"hello {name}"


def count(closed: list[bool] | None = None) -> Iterator[int]:
    try:
        yield from (1, 2, 3)
    finally:
        if closed is not None:
            closed.append(True)


async def acount(closed: list[bool] | None = None) -> AsyncIterator[int]:
    try:
        for number in (1, 2, 3):
            yield number
    finally:
        if closed is not None:
            closed.append(True)


def outcome_of(call: Callable[[], Any]) -> Any:
    """What ``call`` returned, or the name of what it raised."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__


class CodeError(OSError):
    """As libraries write them: made from something else than ``args``."""

    def __init__(self, code: int, *, host: str) -> None:
        super().__init__(code, f"no answer from {host}")
        self.host = host
