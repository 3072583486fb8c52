"""Reads on in what supervised processes write, reports the errors in it, and puts large files aside."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from resilience import home
from resilience.core.core import Core, CoreBusyError
from resilience.detection.flood import Collapser
from resilience.detection.lines import Finding
from resilience.detection.reading import OutputReader, as_report
from resilience.events import Report
from resilience.journal.journal import JournalError
from resilience.processes import records
from resilience.processes.output import OUTPUT, aside, rotate
from resilience.processes.policy import Process
from resilience.repeating import Repeating

_READ: Final = "read.json"
_EVERY_S: Final = 0.25
_NONE_S: Final = 2.0
"""How long it rests where nothing is supervised; a first process is heard so much later."""
_QUIET: Final = 2
"""Looks in a row without anything new, after which what was held back is given out."""
_MOST_BYTES: Final = 1024 * 1024
_SAVE_AFTER_BYTES: Final = 256 * 1024
_MB: Final = 1024 * 1024
_log = logging.getLogger("winclaw.output")


class _Position(Struct, frozen=True):
    """Up to where a file was read and reported. ``stream`` names the file, for it is emptied and begun anew."""

    stream: str
    offset: int = 0


class Follower:
    """One process's output, read on from where the last WinClaw stopped. An error that is read again is stored once."""

    def __init__(self, name: str, folder: Path, core: Core) -> None:
        self._name, self._folder, self._core = name, folder, core
        self._path = folder / OUTPUT
        self._saved = records.read(folder / _READ, _Position) or _Position("")
        self._stream, self._at = self._saved.stream or secrets.token_hex(8), self._saved.offset
        self._reader = OutputReader(self._at)
        self._flood = Collapser()
        self._quiet = 0
        self._untold: list[Report] = []

    def look(self, policy: Process) -> bool:
        """Reads what is new, at most 1 MB, and reports it; True if there may be more.

        Raises:
            OSError: the file cannot be read. CoreBusyError, JournalError, TimeoutError: nothing more is taken just now;
                the same is tried again with the next look.
        """
        self._tell()
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return False
        if self._saved.stream != self._stream:  # before anything is reported under this stream's name
            self._save()
        if size < self._at:  # emptied, before we could note it
            self._begin_anew()
        new = self._read(self._path)
        self._take(new)
        if len(new) < _MOST_BYTES and size > policy.max_log_mb * _MB:
            self._tell()  # what the next WinClaw would look for in a file that is empty then
            total = rotate(self._path, policy.log_files)
            while self._at < total and (rest := self._read(aside(self._path))):
                self._take(rest)
            self._begin_anew()
        self._tell()
        unsaved = self._reader.settled - self._saved.offset
        if unsaved >= _SAVE_AFTER_BYTES or (self._quiet == _QUIET and self._at != self._saved.offset):
            self._save()
        return len(new) == _MOST_BYTES

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self._at)
            return file.read(_MOST_BYTES)

    def _take(self, new: bytes) -> None:
        self._quiet = 0 if new else self._quiet + 1
        self._at += len(new)
        self._note(self._reader.feed(new) if new else self._reader.flush() if self._quiet == _QUIET else [])

    def _note(self, found: Sequence[Finding]) -> None:
        now_s = self._core.clock.monotonic()
        told = [one for finding in found for one in self._flood.take(finding, now_s)] + self._flood.due(now_s)
        self._untold += [as_report(one, self._name, f"{self._stream}:{one.offset}") for one in told]

    def _tell(self) -> None:
        if not self._untold:
            return
        try:
            self._core.report(self._untold).result(10)
        except (CoreBusyError, JournalError, TimeoutError):
            raise
        except Exception:  # a defect of ours must not end the reading for ever
            _log.exception("%s errors in the output of %s could not be taken in", len(self._untold), self._name)
        self._untold = []
        self._save()

    def _begin_anew(self) -> None:
        """Goes on at the beginning of the emptied file; that is noted when all that stood in it before is told."""
        self._note(self._reader.flush())
        self._stream, self._at, self._reader = secrets.token_hex(8), 0, OutputReader()
        self._tell()
        self._save()

    def _save(self) -> None:
        self._saved = _Position(self._stream, self._reader.settled)
        records.write(self._folder / _READ, self._saved)


class OutputWatch:
    """Looks at the output of every supervised process four times a second, if there is one, on a thread of its own."""

    def __init__(self, folder: Path, core: Core, every_s: float = _EVERY_S) -> None:
        self._folder, self._core = folder / home.PROCESSES, core
        self._followers: dict[str, Follower] = {}
        self._troubled: set[str] = set()
        self._repeating = Repeating("output", lambda: every_s if core.state.settings.processes else _NONE_S, self._look)
        self.start = self._repeating.start

    def stop(self) -> None:
        """Reads what is there still, and ends; what might go on, such as half a traceback, is left to the next WinClaw."""
        self._repeating.stop()
        self._look()

    def _look(self) -> bool:
        processes, more = self._core.state.settings.processes, False
        for name, policy in processes.items():
            try:
                if name not in self._followers:
                    self._followers[name] = Follower(name, self._folder / name, self._core)
                more |= self._followers[name].look(policy)
                self._troubled.discard(name)
            except (CoreBusyError, JournalError, TimeoutError) as error:
                _log.warning("errors in the output of %s have to wait: %s", name, error)
            except Exception:
                if name not in self._troubled:  # said once, not four times a second
                    self._troubled.add(name)
                    _log.exception("the output of %s cannot be read", name)
        for name in self._followers.keys() - processes.keys():
            del self._followers[name]
        return more
