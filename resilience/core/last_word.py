"""What agents obey that start while no WinClaw runs: a level that a person has pinned, Safe Mode, isolated services."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec

from resilience import home
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel

_log = logging.getLogger("winclaw.core")


def _held_of(state: State) -> dict[str, Any]:
    """What of ``state`` holds without anybody to change it; a level that rules have lowered would never rise, so not that."""
    standing = state.standing
    held: dict[str, Any] = {}
    if standing.pinned or standing.level is DegradationLevel.SAFE_MODE:
        held = {"level": standing.level.name, "cause": standing.cause, "context_limit_tokens": state.context_limit_tokens()}
    isolated = sorted(one.name for one in state.services.circuits.values() if one.state == "ISOLATED")
    return {**held, **({"isolated": isolated} if isolated else {})}


class LastWord:
    """Keeps the file in WINCLAW_HOME that says what is held; there is none where nothing is. Any thread may write."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / home.HELD
        self._writing = threading.Lock()
        self._written = home.read_json(self._path) or {}  # so that a start on a full disk has nothing to write
        self._is_known = bool(self._written) or not self._path.exists()  # else it is half a file, or of somebody else
        self._refused = False

    def write(self, state: State) -> None:
        """Brings the file up to date with ``state``. Where the disk refuses, that is to be tried again, and logged once."""
        held = _held_of(state)
        with self._writing:
            if held == self._written and self._is_known:
                return
            try:
                if held:
                    home.write_private(self._path, msgspec.json.encode(held).decode())
                else:
                    self._path.unlink(missing_ok=True)
            except OSError as error:
                if not self._refused:
                    _log.error("what agents are to obey without a WinClaw cannot be written, and is tried again: %s", error)
                self._refused = True
                return
            self._written, self._is_known, self._refused = held, True, False
