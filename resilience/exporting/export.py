"""Writes all that makes WinClaw's state into one file, whether WinClaw runs or not (§9.1, level 5)."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resilience import home, locked
from resilience.clock import Clock
from resilience.exporting import placing
from resilience.exporting.archive import Archive, Packing
from resilience.exporting.bundle import Manifest, UnfitExportError
from resilience.exporting.taking import ExportError, Taking, Wanted

__all__ = ["ExportError", "Wanted", "export"]


def export(folder: Path, target: Path, clock: Clock, wanted: Wanted) -> Manifest:
    """Exports the WinClaw in ``folder`` to the file ``target``, which is read back and on disk before it has that name.

    Raises:
        ExportError: it cannot be done, and why; there is no such file then, or the one that there was.
    """
    target = target.absolute()
    if placing.is_cut_off(folder):
        raise ExportError(f"a restore to {folder} was cut off; bring it to its end first: winclaw run")
    if not target.parent.is_dir():
        raise ExportError(f"there is no folder {target.parent}")
    if target.is_dir() or (target.exists() and not wanted.force):
        raise ExportError(f"there is {target} already; choose another name, or --force")
    try:
        with _workshop(target) as work:
            new = work / "export.zip"
            with os.fdopen(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "w+b") as file:
                with Packing(file, clock.now()) as packing:
                    manifest = Taking(folder, work, packing, clock, wanted).run()
                file.flush()
                os.fsync(file.fileno())
            with Archive(new) as written:
                written.prove()
            home.keep_private(new)
            if wanted.force:
                new.replace(target)
                home.sync_folder(target.parent)
            else:
                home.put_new(new, target)
    except FileExistsError as error:
        raise ExportError(f"there is {target} already; choose another name, or --force") from error
    except (OSError, UnfitExportError) as error:
        raise ExportError(f"{target} cannot be written: {error}") from error
    return manifest


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A private folder beside ``target``, gone in the end; those that killed exports have left are removed."""
    begins, ends = f".{target.name}.", ".partial"
    for left in target.parent.glob(f"{glob.escape(begins)}*{ends}"):
        with contextlib.suppress(OSError):
            held = locked.take(left / "lock")
            if held is not None:
                locked.let_go(held)
                shutil.rmtree(left)
    work = Path(tempfile.mkdtemp(ends, begins, target.parent))
    try:
        home.keep_private(work)
        held = locked.take(work / "lock")
        try:
            yield work
        finally:
            if held is not None:
                locked.let_go(held)
    finally:
        shutil.rmtree(work, ignore_errors=True)
