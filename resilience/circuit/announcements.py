"""Telling a circuit's listeners of its changes: in their order, outside of every lock, and nobody waits for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from resilience.circuit.states import Transition
from resilience.listeners import tell


class Announcements:
    """Changes that wait to be told. ``add`` needs the circuit's lock, for the order; ``make`` must not have it."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Transition], Any], ...] = ()
        self._waiting: deque[Transition] = deque()
        self.add = self._waiting.append
        self._telling = threading.Lock()  # whose holder tells; nobody waits for it

    def listen(self, listener: Callable[[Transition], Any]) -> None:
        """Has ``listener(change)`` called from now on."""
        self._listeners = (*self._listeners, listener)

    def make(self) -> None:
        """Tells what waits. One thread at a time does; whoever comes meanwhile leaves its changes to it."""
        while self._waiting and self._telling.acquire(blocking=False):
            try:
                while self._waiting:
                    change = self._waiting.popleft()
                    for listener in self._listeners:
                        tell(listener, change)
            finally:
                self._telling.release()
