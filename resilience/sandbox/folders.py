"""The folders that sandboxed programs get. What lies there may be anything, made to deceive whoever looks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Literal


def open_left(path: Path, mode: Literal["rb", "r+b"] = "rb") -> IO[bytes]:
    """Opens a file that a program may have put there itself; never waits, as one does for the other end of a pipe.

    Raises:
        OSError: it is not there, or is no regular file.
    """
    access = os.O_RDONLY if mode == "rb" else os.O_RDWR
    never_waits = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    _refuse_unless_file(path, path.lstat())  # Windows has none of the flags that make it safe by itself
    file = os.fdopen(os.open(path, access | never_waits), mode)
    try:
        _refuse_unless_file(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _refuse_unless_file(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
