"""What an agent has to report and the tray has not acknowledged yet, on disk. Standard library only.

One file a process, one JSON object a line, appended in the caller's thread by a single write: it is the operating
system's from then on, and survives the process being killed. The file is locked while its process lives; a file that
nobody locks belonged to one that died, and whoever finds it (the agent's next process, or the tray) delivers it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import uuid
from pathlib import Path
from typing import IO, Any, Final

from resilience.locked import try_lock

_log = logging.getLogger("winclaw.agent")
_MAX_MB: Final = 64
_SEGMENT_BYTES: Final = 4_000_000
_MAX_REFUSED_BYTES: Final = 10_000_000
_ENDING: Final = ".spool"


class Spool:
    """One process's unacknowledged reports.

    Args:
        folder: where the files of all processes lie. max_mb: past this size new reports are dropped.
    """

    def __init__(self, folder: Path, max_mb: float = _MAX_MB) -> None:
        self._folder, self._max_bytes = folder, max_mb * 1_000_000
        self._lock = threading.Lock()
        self._segments: list[_Segment] = []
        self._is_dropping = False

    def begin_anew(self) -> None:
        """In a forked child: the files stay with the parent, whose locks on them would outlive it here."""
        self._lock = threading.Lock()
        for segment in self._segments:
            segment.close()
        self._segments = []

    def append(self, report: dict[str, Any]) -> None:
        """Keeps ``report``; where the disk or the limit refuses it, the log says so, once until there is room again."""
        line = json.dumps(report, ensure_ascii=True, separators=(",", ":"), default=str).encode() + b"\n"
        why = self._append(line)
        if why and not self._is_dropping:
            _log.warning("reports are dropped from now on, until there is room again: %s", why)
        self._is_dropping = bool(why)

    def _append(self, line: bytes) -> str:
        """Keeps ``line``; returns why it cannot, empty if it can."""
        with self._lock:
            if sum(segment.size for segment in self._segments) + len(line) > self._max_bytes:
                return f"{self._max_bytes / 1_000_000:g} MB wait for WinClaw already"
            try:
                last = self._segments[-1] if self._segments else None
                if last is None or not last.is_ours or last.size + len(line) > _SEGMENT_BYTES:
                    self._segments.append(_Segment.create(self._folder))
                self._segments[-1].append(line)
            except OSError as error:
                return str(error) or type(error).__name__
        return ""

    def adopt(self) -> None:
        """Takes over the files of processes that died, the oldest first."""
        paths: list[Path] = []
        with contextlib.suppress(OSError):
            paths = sorted(self._folder.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime)
        adopted = [segment for path in paths if (segment := _Segment.take_over(path))]  # whom their locks tell to be orphans
        with self._lock:
            self._segments[:0] = adopted

    def peek(self, max_lines: int = 500, max_bytes: int = 500_000) -> list[bytes]:
        """The oldest lines that wait, up to a bound; always at least one if any waits. They stay until ``acknowledge``."""
        with self._lock:
            oldest = self._oldest()
            return [] if oldest is None else oldest.peek(max_lines, max_bytes)

    def acknowledge(self, lines: list[bytes]) -> None:
        """Forgets ``lines``, which ``peek`` gave and the tray has stored."""
        with self._lock:
            oldest = self._oldest()
            if oldest is None:  # closed in the meantime
                return
            oldest.start += sum(map(len, lines))
            if oldest.waiting:
                return
            if oldest.is_ours and oldest is self._segments[-1]:  # which is still written
                oldest.empty()
            else:
                self._segments.remove(oldest)
                oldest.remove()

    def refuse(self, line: bytes) -> None:
        """Puts a report that the tray will never take into ``refused.jsonl``, as long as that is not too large."""
        with contextlib.suppress(OSError), (self._folder / "refused.jsonl").open("ab") as file:
            if file.tell() < _MAX_REFUSED_BYTES:
                file.write(line)

    @property
    def waiting(self) -> bool:
        """Whether anything waits."""
        with self._lock:
            return self._oldest() is not None

    def _oldest(self) -> _Segment | None:
        """The file with the oldest report that waits."""
        return next((segment for segment in self._segments if segment.waiting), None)

    def close(self) -> None:
        """Lets go of the files; an empty one is removed, others wait for the next process or the tray."""
        with self._lock:
            for segment in self._segments:
                segment.close() if segment.waiting else segment.remove()
            self._segments = []


class _Segment:
    """One locked file: ``start`` is where the unacknowledged part begins, ``size`` where it ends."""

    def __init__(self, path: Path, file: IO[bytes], *, is_ours: bool) -> None:
        self.path, self._file, self.start, self.is_ours = path, file, 0, is_ours
        self.size = file.seek(0, os.SEEK_END)

    @classmethod
    def create(cls, folder: Path) -> _Segment:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        while True:
            path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}{_ENDING}"
            file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
            if try_lock(file) and path.exists():
                return cls(path, file, is_ours=True)
            file.close()  # another process has just taken it for an orphan

    @classmethod
    def take_over(cls, path: Path) -> _Segment | None:
        try:
            file = path.open("r+b", buffering=0)
        except OSError:
            return None  # somebody was faster
        if not try_lock(file):
            file.close()
            return None
        segment = cls(path, file, is_ours=False)
        segment._cut_torn_end()
        if not segment.waiting:
            segment.remove()
            return None
        return segment

    def _cut_torn_end(self) -> None:
        """A process killed in the middle of a write leaves a line without an end: it was never reported."""
        end = self._read(0, self.size).rfind(b"\n") + 1
        if end != self.size:
            self._file.truncate(end)
            self.size = end

    @property
    def waiting(self) -> bool:
        return self.start < self.size

    def append(self, line: bytes) -> None:
        self._file.seek(self.size)
        if self._file.write(line) != len(line):
            self._file.truncate(self.size)
            raise OSError("the disk took only a part of the line")
        self.size += len(line)

    def peek(self, max_lines: int, max_bytes: int) -> list[bytes]:
        found = self._read(self.start, min(self.size - self.start, max_bytes))
        if b"\n" not in found:
            found = self._read(self.start, self.size - self.start)
        return found[: found.rindex(b"\n") + 1].splitlines(keepends=True)[:max_lines]

    def _read(self, begin: int, length: int) -> bytes:
        self._file.seek(begin)
        parts = []
        while length and (part := self._file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def empty(self) -> None:
        self._file.truncate(0)
        self.start = self.size = 0

    def remove(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        self._file.close()
