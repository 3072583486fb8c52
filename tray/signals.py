"""Being asked to stop by the system: Ctrl-C, a closed terminal, ``kill``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def on_signals(stop: Callable[[], None]) -> None:
    """Has ``stop`` called, on the main thread, for each signal that asks a program to end."""

    def stop_soon(_: int, __: FrameType | None) -> None:
        stop()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop_soon)
