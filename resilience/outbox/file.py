"""Where an agent's outbox lies, and what keeps it from being used."""

from __future__ import annotations

from pathlib import Path

from resilience import home


class OutboxError(OSError):
    """The outbox's file cannot be read or written; whatever was to be done was not done."""


class OutboxFullError(OutboxError):
    """So many messages wait that no further one is taken; it was not stored."""


def file_of(folder: Path, agent: str) -> Path:
    """Where the outbox of ``agent`` lies."""
    return folder.absolute() / f"{home.file_name(agent, 'outbox')}.db"
