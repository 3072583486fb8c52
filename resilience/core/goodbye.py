"""A goodbye that the journal could not be told, as on a full disk: an empty file beside it, whose name says all.

The next WinClaw takes it: the life before it did not crash, and what was never written down was lost.
"""

from __future__ import annotations

import contextlib
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from resilience import home

_TIME: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"\.goodbye-(\d{8}T\d{6}Z)-(\d{1,12})")
_log = logging.getLogger("winclaw.core")


class Goodbye(NamedTuple):
    """Since when nothing could be written, until it was left; and how many events were lost for that."""

    since: datetime
    until: datetime
    lost: int


def leave_beside(journal: Path, since: datetime, lost: int) -> None:
    """Leaves one. Where the disk does not even take a name, this life counts as a crash."""
    file = journal.with_name(f"{journal.name}.goodbye-{since.astimezone(UTC).strftime(_TIME)}-{lost}")
    try:
        file.touch(mode=0o600)
    except OSError as error:
        _log.warning("no goodbye could be left: %s", error)


def left_beside(journal: Path) -> Goodbye | None:
    """The goodbye of the life before this one; None where it left none."""
    found = [one for path, name in _files(journal) if (one := _read(path, name)) is not None]
    return max(found, default=None)


def take_from_beside(journal: Path) -> Goodbye | None:
    """The same, which is gone then: it excuses no later life."""
    found = left_beside(journal)
    for path, _ in _files(journal):
        with contextlib.suppress(OSError):
            home.remove(path)
    return found


def _files(journal: Path) -> list[tuple[Path, re.Match[str]]]:
    beside = ((path, _NAME.fullmatch(path.name.removeprefix(journal.name))) for path in journal.parent.glob(f"{journal.name}.*"))
    return [(path, name) for path, name in beside if name is not None]


def _read(path: Path, name: re.Match[str]) -> Goodbye | None:
    try:
        since = datetime.strptime(name[1], _TIME).replace(tzinfo=UTC)
        return Goodbye(since, max(since, datetime.fromtimestamp(path.stat().st_mtime, UTC)), int(name[2]))
    except (OSError, ValueError):  # gone meanwhile, or the 39th of May
        return None
