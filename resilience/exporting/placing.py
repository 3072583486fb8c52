"""What was unpacked comes into its place as a whole: whenever that is cut off, either the old state stands there, or the next
WinClaw, or the next restore, brings the new one to its end. Standard library only.

In WINCLAW_HOME, ``restoring.partial`` is what is being unpacked, ``restoring.ready`` is whole and decided on, and once all that
was there before is set aside, it is called ``restoring.placing``.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from resilience import home

LOCK: Final = "winclaw.lock"
PARTIAL, READY, PLACING = "restoring.partial", "restoring.ready", "restoring.placing"
ASIDE: Final = "before-restore-"


class PlacingError(OSError):
    """Something in the folder cannot be moved; on Windows that is so while anybody has it open."""


def what_is_there(folder: Path) -> list[str]:
    """What keeps ``folder`` from being empty, by name; folders in which no file holds anything do not."""
    return [one.name for one in _former(folder) if _holds_something(one)]


def is_cut_off(folder: Path) -> bool:
    """Whether a restore was cut off here after it was decided on."""
    return (folder / READY).exists() or (folder / PLACING).exists()


def begin(folder: Path) -> Path:
    """The empty folder into which to unpack what is to stand in ``folder``; what an earlier try has left there is gone."""
    partial = home.make_private_folder(folder) / PARTIAL
    _remove(partial)
    return home.make_private_folder(partial)


def give_up(folder: Path) -> None:
    """Removes what was unpacked."""
    with contextlib.suppress(OSError):
        _remove(folder / PARTIAL)


def place(folder: Path, now: datetime) -> Path | None:
    """Puts what was unpacked in the place of all that stands in ``folder``; returns where that is kept now, if there was any.

    Raises:
        PlacingError: something cannot be moved; all is as it was.
    """
    partial, ready = folder / PARTIAL, folder / READY
    home.sync_folder(partial)
    with _moving(partial):
        partial.rename(ready)
    home.sync_folder(folder)
    aside = _Aside(folder, now)
    try:
        for one in _former(folder):
            aside.take(one)
    except OSError:
        aside.undo()
        ready.rename(partial)
        raise
    _put_in_place(folder, aside)
    return aside.path


def finish(folder: Path, now: datetime) -> bool:
    """Ends what a restore that was cut off has left; returns whether it had been decided on, and the new state stands there now.

    Raises:
        PlacingError: something cannot be moved; the next try goes on from there.
    """
    _remove(folder / PARTIAL)
    if not is_cut_off(folder):
        return False
    aside = _Aside(folder, now)
    if (folder / READY).exists():
        for one in _former(folder):
            aside.take(one)
    _put_in_place(folder, aside)
    return True


def _put_in_place(folder: Path, aside: _Aside) -> None:
    ready, placing = folder / READY, folder / PLACING
    if ready.exists():
        with _moving(ready):
            ready.rename(placing)
        home.sync_folder(folder)
    for one in sorted(placing.iterdir()):
        target = folder / one.name
        if target.exists():  # an agent has begun it in this moment
            aside.take(target)
        with _moving(one):
            one.rename(target)
    home.sync_folder(folder)
    placing.rmdir()


class _Aside:
    """Where everything is kept that stood there before; made with the first of it."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder, self._stem = folder, f"{ASIDE}{now:%Y%m%d-%H%M%S}"
        self.path: Path | None = None
        self._taken: list[Path] = []

    def take(self, one: Path) -> None:
        """Moves it there."""
        if self.path is None:
            names = (f"{self._stem}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
            path = next(self._folder / name for name in names if not (self._folder / name).exists())
            with _moving(path):
                self.path = home.make_private_folder(path)
        with _moving(one):
            one.rename(self.path / one.name)
        self._taken.append(one)

    def undo(self) -> None:
        """Moves all back."""
        if self.path is not None:
            for one in reversed(self._taken):
                (self.path / one.name).rename(one)
            self.path.rmdir()


@contextlib.contextmanager
def _moving(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlacingError(f"{path} cannot be moved ({error.strerror or error}); end whoever uses it, and try again") from error


def _former(folder: Path) -> list[Path]:
    """What stands in ``folder`` that is neither the restore's own nor kept from an earlier one."""
    own = (LOCK, PARTIAL, READY, PLACING)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [one for one in found if one.name not in own and not one.name.startswith(ASIDE)]


def _holds_something(path: Path) -> bool:
    if not path.is_dir() or path.is_symlink():
        return True
    return any(not one.is_dir() and one.lstat().st_size > 0 for one in path.rglob("*"))  # a link may lead nowhere


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
