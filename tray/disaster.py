"""What ``winclaw export`` and ``winclaw restore`` do and say (§9.1, level 5); neither asks a WinClaw that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from resilience.clock import Clock
from resilience.exporting import placing
from resilience.exporting.archive import Archive
from resilience.exporting.bundle import LeftOut, Manifest, UnfitExportError
from resilience.exporting.export import ExportError, Wanted, export
from resilience.exporting.restore import (
    Restored,
    RestoreError,
    programs_in,
    refuse_full,
    refuse_too_large,
    restore,
)
from resilience.recovery.plans import Step, disaster
from tray.startup import what_is_in_force

Say = Callable[[str], None]
_MOST_NAMED = 20


class DisasterError(Exception):
    """It could not be done; the message says why, and nothing was changed."""


def write_export(folder: Path, file: Path, clock: Clock, say: Say, *, with_secrets: bool, with_logs: bool, force: bool) -> None:
    """Exports the WinClaw in ``folder`` to ``file``, and says what is in it and what is not.

    Raises:
        DisasterError: it could not.
    """
    names = what_is_in_force(folder).settings.redaction.names if folder.is_dir() else ()
    wanted = Wanted(names=names, with_secrets=with_secrets, with_logs=with_logs, force=force)
    try:
        manifest = export(folder, file, clock, wanted)
    except ExportError as error:
        raise DisasterError(str(error)) from error
    say(f"Exported {folder} to {file} ({_mb(file.stat().st_size)}):")
    for line in _contents(manifest):
        say(f"  {line}")
    for one in manifest.not_in:
        say(f"Not in it: {one.name} ({one.why}).")
    for line in _told_of_left_out(manifest.left_out):
        say(line)
    if manifest.left_out:
        say("With --with-secrets they stay.")
    if with_secrets:
        say("! Secrets are in it as they stand in states, messages and the configuration: keep the file like a password.")


def read_restore(file: Path, folder: Path, clock: Clock, say: Say, *, dry_run: bool, force: bool) -> bool:
    """Restores ``file`` to ``folder`` and says step by step what comes of it; returns whether all is as it was exported.

    Raises:
        DisasterError: it could not be done, or with ``dry_run`` could not be.
    """
    whole, is_empty, put, same = disaster(str(file))
    try:
        with Archive(file) as archive:
            manifest = archive.manifest
            _step(say, 1, whole)
            archive.prove()
            say(f"   It is: made {manifest.at:%Y-%m-%d %H:%M:%S} UTC by WinClaw {manifest.winclaw}, of {manifest.home} on "
                f"{manifest.machine}; {len(manifest.parts)} files, {_mb(archive.total_bytes)} unpacked.")  # fmt: skip
            for line in (*_told_of_left_out(manifest.left_out), *_told_of_programs(archive)):
                say(f"   {line}")
            _step(say, 2, is_empty)
            with _alone(folder, say, clock, look_only=dry_run):
                refuse_full(folder, force=force)
                refuse_too_large(archive, folder)
                there = placing.what_is_there(folder)
                say(f"   What is there will be set aside: {', '.join(there)}." if there else f"   {folder} is empty.")
                if dry_run:
                    _say_what_would_be_done(say, manifest, put, same)
                    return True
                restored = restore(archive, folder, clock.now(), force=force)
    except UnfitExportError as error:
        raise DisasterError(f"{file} cannot be restored: {error}.") from error
    except RestoreError as error:
        raise DisasterError(f"Nothing was restored: {error}.") from error
    except OSError as error:
        raise DisasterError(f"Nothing was restored: {error}") from error
    _step(say, 3, put)
    say(f"   They are in {folder}{f'; what was there before is kept in {restored.aside}' if restored.aside else ''}.")
    _step(say, 4, same)
    return _say_whether_same(say, restored)


def _say_what_would_be_done(say: Say, manifest: Manifest, put: Step, same: Step) -> None:
    _step(say, 3, put)
    for line in _contents(manifest):
        say(f"   {line}")
    _step(say, 4, same)
    say("Nothing was done, for this was only a look.")


def _say_whether_same(say: Say, restored: Restored) -> bool:
    width = max(len(one.what) for one in restored.compared)
    for one in restored.compared:
        say(f"   {one.what:{width}}  {'DIFFERS' if one.differs else 'same':7}  {one.held}")
        for said in one.differs[:_MOST_NAMED]:
            say(f"   {'':{width}}  {said}")
    if restored.is_same:
        say("Restored: all that stands there is what was exported. Start it with: winclaw run")
    return restored.is_same


@contextmanager
def _alone(folder: Path, say: Say, clock: Clock, *, look_only: bool) -> Iterator[None]:
    """Inside, no WinClaw runs on ``folder``, and none begins; what an earlier restore has left there is brought to its end."""
    lock = folder / placing.LOCK
    if look_only and not lock.exists():
        yield
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # whose rights stay as they are where nothing is restored
    try:
        with FileLock(lock, mode=0o600).acquire(timeout=0):
            if not look_only and placing.finish(folder, clock.now()):
                say(f"   An earlier restore to {folder} was cut off; it has been brought to its end.")
            yield
    except Timeout as error:
        raise RestoreError(f"WinClaw runs on {folder}; quit it first") from error


def _step(say: Say, number: int, step: Step) -> None:
    say(f"{number}. {step.what}")


def _contents(manifest: Manifest) -> Iterator[str]:
    """What is in an export, a line a sort of file."""
    lines: dict[str, list[str]] = {}
    for part in manifest.parts:
        lines.setdefault(part.name.partition("/")[0], []).append(
            ", ".join(f"{table.rows} {name}" for name, table in part.tables.items())
        )
    for name, held in lines.items():
        rows = "; ".join(filter(None, held))
        files = "" if len(held) == 1 else f"{len(held)} files"
        yield ": ".join(filter(None, (name, ", ".join(filter(None, (files, rows))))))


def _told_of_left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    if not left_out:
        return
    total = sum(one.count for one in left_out)
    yield f"{_many(total, 'value')} in {_many(len(left_out), 'file')} {'was' if total == 1 else 'were'} left out, as secrets:"
    for one in left_out[:_MOST_NAMED]:
        more = f" and {one.count - len(one.places)} more" if one.count > len(one.places) else ""
        yield f"  {one.what} ({one.part}): {', '.join(one.places)}{more}"
    if len(left_out) > _MOST_NAMED:
        yield f"  and {len(left_out) - _MOST_NAMED} more files; all are named in its manifest.json"


def _told_of_programs(archive: Archive) -> Iterator[str]:
    programs = programs_in(archive)
    if programs:
        yield "Its configuration starts programs, so restore only what you have exported yourself:"
        yield from (f"  {one}" for one in programs)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _mb(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


