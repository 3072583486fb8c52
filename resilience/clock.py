"""The only place that reads the real clocks; everything that keeps time takes a ``clock=``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for durations, which never jumps, and one for what people read."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; for measuring durations."""

    def now(self) -> datetime:
        """The wall clock, as an aware UTC datetime."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


def as_text(at: datetime) -> str:
    """``at`` as fixed-width ISO 8601 in UTC, e.g. ``2026-11-23T18:27:23.000120Z``: it sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
