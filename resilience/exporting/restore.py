"""Brings an empty WINCLAW_HOME to the state that an export holds, and proves it by comparing (§9.1, level 5)."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from resilience import home
from resilience.exporting import placing, snapshot
from resilience.exporting.archive import Archive
from resilience.exporting.bundle import Compared, Kind, Manifest, Part, UnfitExportError, compared, kind_of
from resilience.exporting.placing import PlacingError

_CHUNK: Final = 1 << 20
_ROOM_BYTES: Final = 10_000_000
_DATABASES: Final = (Kind.JOURNAL, Kind.OUTBOX, Kind.TRANSACTIONS)


class RestoreError(Exception):
    """Nothing was restored; what stands in the folder is what stood there. The message says why."""


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore has done: each part compared with the ``manifest``, and where is kept what was there before, if anything."""

    manifest: Manifest
    compared: tuple[Compared, ...]
    aside: Path | None = None

    @property
    def is_same(self) -> bool:
        """Whether all that stands there now is what was exported."""
        return not any(one.differs for one in self.compared)


def refuse_full(folder: Path, *, force: bool) -> None:
    """Looks whether there is anything in ``folder`` that a restore would have to set aside.

    Raises:
        RestoreError: there is, and it was not told to (``force``).
    """
    there = placing.what_is_there(folder)
    if there and not force:
        raise RestoreError(
            f"{folder} is not empty: there is {_listed(there)}. With --force that is set aside in a folder of its own, and "
            "nothing is deleted; --into restores to another folder"
        )


def refuse_too_large(archive: Archive, folder: Path) -> None:
    """Looks whether all that is in an export has room.

    Raises:
        RestoreError: it has not.
    """
    beside = next(one for one in (folder, *folder.parents) if one.exists())
    free, needed = shutil.disk_usage(beside).free, archive.total_bytes
    if free < needed + min(_ROOM_BYTES, needed // 10):
        raise RestoreError(f"it needs {_mb(needed)} unpacked, and there are {_mb(free)} free for {folder}")


def restore(archive: Archive, folder: Path, now: datetime, *, force: bool = False) -> Restored:
    """Puts all that ``archive`` holds into ``folder``, in which no WinClaw runs: whoever calls holds its lock.

    All is compared before it takes the place of anything, and again where it stands.

    Args:
        archive: proven, so that nothing is written of one that is damaged.

    Raises:
        UnfitExportError, RestoreError: nothing has changed.
    """
    refuse_full(folder, force=force)
    refuse_too_large(archive, folder)
    try:
        partial = placing.begin(folder)
        try:
            archive.unpack(partial)
            if wrong := [said for one in compare(partial, archive.manifest) for said in one.differs]:
                raise UnfitExportError(f"what is in it is not what its manifest says: {_listed(wrong)}")
            aside = placing.place(folder, now)
        except BaseException:
            placing.give_up(folder)
            raise
    except PlacingError as error:
        raise RestoreError(str(error)) from error
    except OSError as error:
        raise RestoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return Restored(manifest=archive.manifest, compared=tuple(compare(folder, archive.manifest)), aside=aside)


def compare(folder: Path, manifest: Manifest) -> list[Compared]:
    """What stands in ``folder`` against what was exported: part by part, and databases row by row."""
    found = {part.name: now for part in manifest.parts if (now := _part(folder, part.name)) is not None}
    return compared(manifest, found)


def _part(folder: Path, name: str) -> Part | None:
    path, kind = folder.joinpath(*name.split("/")), kind_of(name)
    digest, length = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                length += len(chunk)
    except OSError:
        return None
    try:
        tables = snapshot.tables_in(path, kind) if kind in _DATABASES and kind is not None else {}
    except sqlite3.Error:
        tables = {}
    return Part(name=name, bytes=length, sha256=digest.hexdigest(), tables=tables)


def programs_in(archive: Archive) -> list[str]:
    """The programs that the configuration in an export has WinClaw start, each as its name and command.

    Raises:
        UnfitExportError: the configuration in it is damaged.
    """
    from resilience.config.file import ConfigError, parse  # noqa: PLC0415 -- as long to load as all else here

    content = archive.read(home.CONFIG)
    try:
        processes = parse(content).processes if content is not None else {}
    except ConfigError:
        return []
    return [f"{name}: {' '.join(one.command)}" for name, one in processes.items()]


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _mb(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"
