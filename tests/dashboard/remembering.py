"""An agent that remembers something, which WinClaw has heard can be restored; for the tests of recovery's API and page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import resilience
from resilience.agent.client import Agent
from resilience.core.core import Core


@contextmanager
def remembering(core: Core, folder: Path) -> Iterator[tuple[Agent, dict[str, Any]]]:
    """The agent and its memory, of which what it begins with is saved."""
    memory: dict[str, Any] = {"facts": [1, 2]}
    agent = resilience.connect("bot", folder=folder)

    @agent.snapshotter("memory", "memory")
    def snapshot() -> dict[str, Any]:
        return dict(memory)

    @agent.restorer("memory")
    def restore(state: dict[str, Any]) -> None:
        memory.clear()
        memory.update(state)

    agent.checkpoint(memory, "memory", "memory")
    state = core.state
    while not any("restore:memory" in one.healers for one in state.agents.values()):
        state = core.wait_for_change(state.version, 1.0)
    try:
        yield agent, memory
    finally:
        agent.close()
