"""A sign of life on disk: the guardian sees by it whether WinClaw hangs, and the next WinClaw for how long there was none."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from resilience.clock import Clock
from resilience.repeating import Repeating

_EVERY_S: Final = 5.0
_log = logging.getLogger("winclaw.life")


class SignOfLife:
    """Touches a file every five seconds, on a thread of its own, from ``start`` to ``stop``.

    ``last`` is when an earlier life did so last, if ever.

    Args:
        is_well: asked each time; while it says no, or does not answer, no sign is given.
        given: called after each sign.
    """

    def __init__(
        self, path: Path, clock: Clock, is_well: Callable[[], bool], given: Callable[[], object] = lambda: None
    ) -> None:
        self._path, self._clock, self._is_well, self._given = path, clock, is_well, given
        self.last: datetime | None = None
        with contextlib.suppress(OSError):
            self.last = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        repeating = Repeating("life", _EVERY_S, self._give)
        self.start, self.stop = repeating.start, repeating.stop

    def away_s(self) -> float | None:
        """For how long nobody has lived here, to about five seconds; None if nobody ever has."""
        return None if self.last is None else max((self._clock.now() - self.last).total_seconds(), 0.0)

    def _give(self) -> None:
        if not self._is_well():
            _log.error("no sign of life is given: WinClaw does not answer itself")
            return
        try:
            self._path.touch(mode=0o600)
            now_s = self._clock.now().timestamp()
            os.utime(self._path, (now_s, now_s))
        except OSError as error:  # somebody will then be told of a longer absence
            _log.warning("no sign of life could be left: %s", error)
        self._given()
