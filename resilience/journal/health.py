"""How it stands with the journal: when it was checked and backed up last, and what was brought back of damaged ones. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

_AGAIN: Final = timedelta(minutes=10)
"""After so long a backup that failed is tried again."""
MAX_GAPS: Final = 20


class Checked(Struct, frozen=True, kw_only=True):
    """The whole journal was looked at, for so many seconds: what was wrong with it, or nothing (empty)."""

    at: datetime
    finding: str = ""
    seconds: float = 0.0


class BackedUp(Struct, frozen=True, kw_only=True):
    """A backup was made, as ``file``; or could not be, and ``why``."""

    at: datetime
    file: str = ""
    bytes: int = 0
    why: str = ""


class Repaired(Struct, frozen=True, kw_only=True):
    """What was brought back of the damaged ``file``, and how much of that from backups.

    ``lost``: how many ids at most stand for something that could not be (None: nobody knows); ``gaps`` names the first of them.
    """

    at: datetime
    file: str
    errors: int = 0
    events: int = 0
    from_backups: int = 0
    lost: int | None = 0
    gaps: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The same in words."""
        back = f"{_many(self.errors, 'error')} and {_many(self.events, 'event')} were brought back"
        back += f", {self.from_backups} of them from a backup" if self.from_backups else ""
        if self.lost == 0:
            return f"{back}; nothing else is known to be lost."
        if self.lost is None:
            return f"{back}; nobody can tell how much was lost."
        return f"{back}; up to {self.lost} could not be."


class Health(Struct, frozen=True, kw_only=True):
    """How it stands with the journal; a new one replaces it.

    ``to_repair`` names the damaged files of which has yet to be brought back what can be, the latest first.
    """

    checked: Checked | None = None
    backup: BackedUp | None = None
    backup_failed: BackedUp | None = None
    to_repair: tuple[str, ...] = ()
    repaired: Repaired | None = None

    def after(self, told: Checked | BackedUp | Repaired) -> Health:
        """What it is after that was done, too."""
        match told:
            case Checked():
                return replace(self, checked=told)
            case BackedUp(why=""):
                return replace(self, backup=told, backup_failed=None)
            case BackedUp():
                return replace(self, backup_failed=told)
            case Repaired(file=file):
                return replace(self, repaired=told, to_repair=tuple(name for name in self.to_repair if name != file))

    def set_aside(self, file: str) -> Health:
        """What it is after a damaged journal was set aside as ``file``: the new one was never looked at."""
        return replace(self, checked=None, to_repair=(file, *(name for name in self.to_repair if name != file)))

    def is_check_due(self, now: datetime, every_h: float) -> bool:
        """Whether it is time to look at the whole journal."""
        return self.checked is None or _is_over(self.checked.at, now, timedelta(hours=every_h))

    def is_backup_due(self, now: datetime, every_h: float) -> bool:
        """Whether it is time for a backup; there is none while something has yet to be brought back, for it would lack that."""
        every = timedelta(hours=every_h)
        if self.to_repair:
            return False
        if self.backup_failed is not None:
            return _is_over(self.backup_failed.at, now, min(every, _AGAIN))
        return self.backup is None or _is_over(self.backup.at, now, every)

    def view(self) -> dict[str, Any]:
        """The same as the API gives it."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        return seen


def _is_over(since: datetime, now: datetime, span: timedelta) -> bool:
    """Whether ``span`` has passed; what lies ahead is from a clock that was ahead."""
    return not timedelta(0) <= now - since < span


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
