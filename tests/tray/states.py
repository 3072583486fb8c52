"""States of the core, for tests of what shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from resilience.core.notices import Notice
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, Standing


def a_state(level: DegradationLevel = DegradationLevel.FULL, *, pinned: bool = False, needs: int = 0, cause: str = "Because.") -> State:
    standing = Standing(level=level, since=datetime(2026, 1, 1, tzinfo=UTC), cause=cause, pinned=pinned)
    return State(standing=standing, notices=tuple(Notice(name=str(n), what="?", cause="?", action="?") for n in range(needs)))
