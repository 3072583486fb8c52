"""What agents obey that start while no WinClaw runs: a level that a person has pinned, Safe Mode, isolated services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from resilience import home
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel


def _held_of(state: State) -> dict[str, Any]:
    """What of ``state`` holds without anybody to change it; a level that rules have lowered would never rise, so not that."""
    standing = state.standing
    held: dict[str, Any] = {}
    if standing.pinned or standing.level is DegradationLevel.SAFE_MODE:
        held = {"level": standing.level.name, "cause": standing.cause, "context_limit_tokens": state.context_limit_tokens()}
    isolated = sorted(one.name for one in state.services.circuits.values() if one.state == "ISOLATED")
    return {**held, **({"isolated": isolated} if isolated else {})}


class LastWord:
    """Keeps the file in WINCLAW_HOME that says what is held; there is none where nothing is."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / home.HELD
        self._written: dict[str, Any] | None = None

    def write(self, state: State) -> None:
        """Brings the file up to date with ``state``.

        Raises:
            OSError: it cannot be written; it is tried again with the next state.
        """
        held = _held_of(state)
        if held == self._written:
            return
        if held:
            home.write_private(self._path, msgspec.json.encode(held).decode())
        else:
            self._path.unlink(missing_ok=True)
        self._written = held
