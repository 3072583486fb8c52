"""A block of code whose calls pass a service's policies (§10.1)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from resilience.refusals import RefusedError

if TYPE_CHECKING:
    from resilience.agent.client import Agent


class Watch:
    """What ``Agent.watch`` gives: one block, entered once."""

    def __init__(self, agent: Agent, service: str, operation: str, *, read_only: bool) -> None:
        self._agent, self._service, self._operation = agent, service, operation
        self._pipeline = agent.resilience.pipeline(service, read_only=read_only)
        self._passage: Any = None

    def __enter__(self) -> None:
        self._passage = self._pipeline.passage(self._operation)
        self._passage.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._passage.__exit__(kind, error, trace)
        finally:
            self._ended(error)

    async def __aenter__(self) -> None:
        self._passage = self._pipeline.passage_async(self._operation)
        await self._passage.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._passage.__aexit__(kind, error, trace)
        finally:
            self._ended(error)

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, RefusedError):
            self._agent.report(error, self._service, self._operation)
