"""A sign of life on disk, so that the next WinClaw can say for how long there was none."""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from resilience.clock import Clock

_EVERY_S: Final = 5.0
_log = logging.getLogger("winclaw.life")


class SignOfLife:
    """Touches a file every five seconds, on a thread of its own; ``last`` is when an earlier life did so last, if ever."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self.last = _changed_at(path)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._give, name="life", daemon=True)

    def away_s(self) -> float | None:
        """For how long nobody has lived here, to about five seconds; None if nobody ever has."""
        return None if self.last is None else max((self._clock.now() - self.last).total_seconds(), 0.0)

    def start(self) -> None:
        """Begins to give signs."""
        self._thread.start()

    def stop(self) -> None:
        """Gives the last one."""
        self._stopping.set()
        self._thread.join(5)

    def _give(self) -> None:
        while True:
            try:
                self._path.touch(mode=0o600)
                now_s = self._clock.now().timestamp()
                os.utime(self._path, (now_s, now_s))
            except OSError as error:  # somebody will then be told of a longer absence
                _log.warning("no sign of life could be left: %s", error)
            if self._stopping.is_set():
                return
            self._stopping.wait(_EVERY_S)


def _changed_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
