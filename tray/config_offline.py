"""The versions of the configuration while no WinClaw runs: read from the files, and rolled back on them alone."""

from __future__ import annotations

import getpass
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from resilience import home
from resilience.clock import Clock, SystemClock
from resilience.config.difference import changed_settings
from resilience.config.file import parse
from resilience.config.rewriting import rewrite
from resilience.config.shown import as_shown, described, listed, redactor_of
from resilience.config.version import ConfigVersion, InForce, came_into_force
from resilience.config.versions import Versions, digest
from resilience.degradation.levels import DegradationLevel
from resilience.journal.history import History
from resilience.recovery.checkpoint import CheckpointTooLargeError
from tray.startup import Startup, what_is_in_force


class RunningError(Exception):
    """A WinClaw runs on that folder, or is just starting; it has to be asked."""


def in_force(folder: Path) -> dict[str, Any]:
    """What a WinClaw would start with, as ``ConfigWatch.in_force`` gives it."""
    startup = what_is_in_force(folder)
    return as_shown(startup.settings, startup.version.number if startup.version is not None else None)


def versions(folder: Path) -> list[dict[str, Any]]:
    """Every version, the newest first; what trouble followed one, only the journal knows."""
    startup = what_is_in_force(folder)
    return listed(Versions(folder), startup.settings, _known(startup))


def version(folder: Path, number: int) -> dict[str, Any]:
    """One version.

    Raises:
        LookupError, OSError: as ``ConfigWatch.described``.
    """
    startup = what_is_in_force(folder)
    return described(Versions(folder), number, startup.settings, _known(startup))


def roll_back(folder: Path, number: int, clock: Clock | None = None) -> str:
    """Puts the text of a version into the user's file, as a new version; says what was done.

    Where the file takes it, and the new version cannot be kept, the next start makes one of what the file says.

    Raises:
        RunningError: nothing was done; nor was it with any other. LookupError: there is no such version, or it is damaged.
        ConfigError: it cannot be used any more. OSError: the file cannot be written.
    """
    clock = clock or SystemClock()
    path, kept_versions = folder / home.CONFIG, Versions(folder, clock)
    try:
        with FileLock(folder / "winclaw.lock", mode=0o600).acquire(timeout=0):
            before, text = what_is_in_force(folder), kept_versions.text(number)
            if text is None:
                raise LookupError(f"there is no version {number} of the configuration, or it is damaged")
            settings = parse(text, f"version {number} of {home.CONFIG}")
            if before.content == text.encode() and before.text == text:
                return f"version {number} is what {home.CONFIG} says already"
            newest = next(iter(kept_versions.kept()), None)
            new = ConfigVersion(
                number=kept_versions.next_number(_highest(folder)), sha256=digest(text), author="command line", origin=_user(),
                changed=changed_settings(before.settings, settings, redactor_of(before.settings, settings)),
                restores=number, replaces=newest.version.number if newest is not None else None,
            )  # fmt: skip
            kept = rewrite(path, text, clock.now())
            unkept = ""
            try:
                kept_versions.add(new, text)
            except (OSError, CheckpointTooLargeError) as error:
                unkept = f"; that it was rolled back could not be written down: {error}"
    except Timeout as error:
        raise RunningError(str(folder)) from error
    beside = f"; what {home.CONFIG} said before is kept as {kept.name}" if kept is not None else ""
    return f"version {number} is in force from the next start on{beside}{unkept}"


def _known(startup: Startup) -> InForce | None:
    """The version that would be in force, as far as files tell."""
    if startup.version is None:
        return None
    return came_into_force(None, startup.version, DegradationLevel.FULL, {}, now=SystemClock().now(), now_s=0.0, within_s=0.0)


def _highest(folder: Path) -> int:
    """The highest number that was given yet, as far as the journal can be read: not every version could be kept."""
    history = History(folder / home.JOURNAL)
    with closing(history), suppress(sqlite3.Error, msgspec.MsgspecError):
        return msgspec.convert(history.state("config"), InForce).highest
    return 0


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
