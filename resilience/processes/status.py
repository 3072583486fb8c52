"""A supervised process as the state shows it to people and programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from resilience.processes.supervision import ProcessState


class ProcessStatus(Struct, frozen=True, kw_only=True):
    """Where a process stands, with wall-clock times.

    ``ready``: it runs, and its probe, if it has one, gets an answer. ``restarts``: since WinClaw started. ``why``: how it
    came to this. ``next_at``: when it is started again. ``needs_you``: what only a person can mend; empty if there is
    nothing. ``memory_mb`` and ``cpu_percent`` are for it and all that it has started; None while nobody has looked.
    """

    name: str
    state: ProcessState
    since: datetime
    pid: int | None = None
    run: int = 0
    restarts: int = 0
    adopted: bool = False
    ready: bool = False
    why: str = ""
    next_at: datetime | None = None
    needs_you: str = ""
    command: tuple[str, ...] = ()
    memory_mb: float | None = None
    cpu_percent: float | None = None

    def view(self) -> dict[str, Any]:
        """The process as the API gives it."""
        return {
            **asdict(self), "state": self.state.value, "since": self.since.isoformat(),
            "next_at": self.next_at.isoformat() if self.next_at else None, "command": list(self.command),
        }  # fmt: skip
