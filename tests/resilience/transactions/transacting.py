"""A world in which steps leave their mark, and one way to run a transaction for functions and for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from resilience.testing import FakeClock
from resilience.transactions.manager import TransactionManager

ROOT: Final = Path(__file__).resolve().parents[3]


class NoThread(TransactionManager):
    """Transactions without a thread: whoever made them calls ``look``."""

    def _start(self) -> None:
        """Nothing: the test looks."""


class World:
    """What steps have done and not undone, in order; everything that was called; and what fails."""

    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder, self.clock = folder, clock or FakeClock()
        self.there: list[Any] = []
        self.log: list[str] = []
        self.fails: dict[str, Exception | BaseException] = {}
        self.reported: list[tuple[Exception, str, str]] = []
        self.manager = self.process()

    def process(self) -> TransactionManager:
        """Another process of the agent, as far as the file and the locks are concerned."""
        manager = NoThread(self.folder, self.clock, agent="clerk", report=lambda *told: self.reported.append(told))
        manager.compensation("remove")(self.remove)
        return manager

    def add(self, what: Any) -> Any:
        self.log.append(f"add {what}")
        self._fail(f"add {what}")
        self.there.append(what)
        self._fail(f"after {what}")
        return what

    def remove(self, what: Any) -> None:
        self.log.append(f"remove {what}")
        self._fail(f"remove {what}")
        self.there.remove(what)

    async def add_later(self, what: Any) -> Any:
        await asyncio.sleep(0)
        return self.add(what)

    async def remove_later(self, what: Any) -> None:
        await asyncio.sleep(0)
        self.remove(what)

    def has(self, key: str) -> Any:
        raise AssertionError("nobody asks")

    def _fail(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def rows(self) -> tuple[int, int]:
        """How many transactions and steps the file holds."""

        def count(conn: Any) -> Any:
            return tuple(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("transactions", "steps"))

        return self.manager._ground.file._file.do(count, writes=False)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.manager.close()


class Way:
    """Runs a transaction: as ``with``, or as ``async with`` in a loop whose waits the fake clock ends."""

    def __init__(self, world: World, kind: str) -> None:
        self.world, self.is_async = world, kind == "async"

    def run(self, body: Callable[[Any], Any], name: str = "t", key: str | None = None, **chosen: Any) -> Any:
        """``body(do)`` in a transaction; ``await do(…)`` in it, whichever way it is."""
        manager = chosen.pop("manager", self.world.manager)
        if self.is_async:
            return asyncio.run(self._finish(self._as_task(manager, body, name, key)))
        with manager.transaction(name, key) as tx:
            return _stepped(body(_Awaitable(tx)))

    async def _as_task(self, manager: TransactionManager, body: Callable[[Any], Any], name: str, key: str | None) -> Any:
        async with manager.transaction(name, key) as tx:
            return await body(tx)

    async def _finish(self, coroutine: Any) -> Any:
        task = asyncio.ensure_future(coroutine)
        while not task.done():
            await self.world.clock.run(0.25)
        return task.result()

    @property
    def add(self) -> Any:
        return self.world.add_later if self.is_async else self.world.add

    @property
    def remove(self) -> Any:
        return self.world.remove_later if self.is_async else self.world.remove


class _Awaitable:
    """A transaction for functions, whose ``do`` is awaited by those who are written for both."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx
        self.raw = tx

    async def do(self, *args: Any, **kwargs: Any) -> Any:
        return self._tx.do(*args, **kwargs)

    def nested(self, name: str) -> _AwaitableBlock:
        return _AwaitableBlock(self._tx.nested(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class _AwaitableBlock:
    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> _Awaitable:
        return _Awaitable(self._block.__enter__())

    async def __aexit__(self, *what: Any) -> None:
        self._block.__exit__(*what)


def _stepped(coroutine: Any) -> Any:
    """What a coroutine gives that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
