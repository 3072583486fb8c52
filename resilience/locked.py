"""Files that belong to whoever locks them, until it lets go or its process dies. Standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    # The byte locked lies far behind the content, for a lock on Windows keeps everybody else from reading there.
    def try_lock(file: IO[bytes]) -> bool:
        """Locks ``file``, which is open for writing, until it is closed; False where somebody else has it."""
        file.seek(1 << 40)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def let_go(file: IO[bytes]) -> None:
        """Ends the lock on ``file`` and closes it."""
        file.close()
else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Locks ``file``, which is open for writing, until it is closed; False where somebody else has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def let_go(file: IO[bytes]) -> None:
        """Ends the lock on ``file`` and closes it; the lock ends even if a forked child has yet to close its part."""
        fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


def take(path: Path) -> IO[bytes] | None:
    """The file at ``path``, made if it is not there, and locked; None where somebody else has it.

    It is never removed: whoever waits for a lock must find the same file.

    Raises:
        OSError: it can be neither opened nor made.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
    if try_lock(file):
        return file
    file.close()
    return None
