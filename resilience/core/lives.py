"""How often WinClaw itself died lately: three crashes within a quarter of an hour, and it starts in Safe Mode (§5.1). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

CRASHES: Final = 3
WITHIN: Final = timedelta(minutes=15)


class Lives(Struct, frozen=True):
    """``crashes``: when lives ended without a goodbye was noticed. ``running``: whether one goes on, as far as known."""

    crashes: tuple[datetime, ...] = ()
    running: bool = False


def begun(lives: Lives, now: datetime) -> Lives:
    """The lives after another start; the one before it crashed, if it never said goodbye.

    A crash that lies ahead is from a clock that was ahead itself, and would count until its time has come.
    """
    crashes = (*lives.crashes, now) if lives.running else lives.crashes
    return Lives(tuple(at for at in crashes if timedelta(0) <= now - at <= WITHIN)[-CRASHES:], running=True)


def ended(lives: Lives) -> Lives:
    """The lives after a goodbye."""
    return Lives(lives.crashes)


def is_crash_loop(lives: Lives, since: datetime | None) -> bool:
    """Whether there were too many crashes; those before ``since``, when a person had a look, do not count."""
    return sum(since is None or at > since for at in lives.crashes) >= CRASHES
