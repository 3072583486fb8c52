"""Doing something again and again on a thread of its own, whatever goes wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

_END_S: Final = 5.0
_log = logging.getLogger("winclaw.repeating")


class Repeating:
    """Calls ``look`` at once and then every so many seconds; where it says that there is more, without a pause.

    Args:
        name: the thread's. look: what is done; a fault in it is logged, and it is called again all the same.
        every_s: a function is asked each time.
    """

    def __init__(self, name: str, every_s: float | Callable[[], float], look: Callable[[], object]) -> None:
        self._name, self._every_s, self._look = name, every_s, look
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what is under way may take up to five seconds to end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def _repeat(self) -> None:
        while not self._stopping.is_set():
            more: object = False
            try:
                more = self._look()
            except Exception:
                _log.exception("%s failed, and is tried again", self._name)
            every_s = self._every_s() if callable(self._every_s) else self._every_s
            self._stopping.wait(0 if more else every_s)
