"""What a sandboxed program reads and writes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final

_MB: Final = 1024 * 1024


class Pipes:
    """Reads what a program writes, up to a limit, and gives it what it reads; each on a thread of its own."""

    def __init__(self, most: int) -> None:
        self._most, self._read = most, 0
        self.stdout, self.stderr = bytearray(), bytearray()
        self._threads: list[threading.Thread] = []

    def start(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        """Begins to read what ``process`` writes, and gives it ``given``."""
        left: list[tuple[Callable[..., None], Any, Any]] = [
            (self._take, process.stdout, self.stdout), (self._take, process.stderr, self.stderr),
            (self._give, process.stdin, given),
        ]  # fmt: skip
        try:
            while left:
                thread = threading.Thread(target=left[0][0], args=left[0][1:], daemon=True)
                thread.start()
                self._threads.append(thread)
                del left[0]
        finally:
            for _, pipe, _ in left:  # there was no thread for it
                pipe.close()

    def hit(self) -> tuple[str, float] | None:
        """The limit that is passed, and what was written, if that is too much."""
        return ("max_output_mb", self._read / _MB) if self._read > self._most else None

    def close(self) -> None:
        """Waits for the end of what was written; everything that writes must have ended."""
        for thread in self._threads:
            thread.join(2)

    def _take(self, pipe: IO[bytes], kept: bytearray) -> None:
        with suppress(OSError, ValueError), pipe:
            while part := os.read(pipe.fileno(), 65_536):
                room = self._most - self._read
                self._read += len(part)
                if room > 0:
                    kept += part[:room]

    def _give(self, pipe: IO[bytes], given: bytes) -> None:
        with suppress(OSError, ValueError), pipe:
            pipe.write(given)
