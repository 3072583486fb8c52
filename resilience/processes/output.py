"""The files that supervised processes write to: the last of them shown, and the large ones put aside.

A process holds its file open from birth, so a file that has grown too large is copied and then emptied under its hands.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Final

from resilience import home

OUTPUT: Final = "output.log"
_TAIL_BYTES: Final = 64 * 1024
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|[@-_])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def tail_of(path: Path, most: int = _TAIL_BYTES) -> str:
    """The last ``most`` bytes of a file as text, from the beginning of a line, without what only terminals understand."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - most, 0))
            found = file.read(most)
    except OSError:
        return ""
    if size > most:
        found = found.partition(b"\n")[2] or found
    return _ESCAPES.sub("", found.decode("utf-8", "replace").replace("\r\n", "\n"))


def rotate(path: Path, keep: int) -> None:
    """Puts what stands in ``path`` aside as ``.1``, what was that as ``.2`` …, and empties it; ``keep`` older ones stay.

    What is written in the instant between the last copy and the emptying is lost, and nothing else.

    Raises:
        OSError: the disk refuses; the file goes on growing.
    """
    aside = path.with_name(f"{path.name}.new")
    with path.open("r+b") as live:
        with aside.open("wb") as copy:
            home.keep_private(aside)
            shutil.copyfileobj(live, copy, 1024 * 1024)
            while more := live.read(64 * 1024):
                copy.write(more)
        for number in range(keep, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                _named(path, number - 1).replace(_named(path, number))
        aside.replace(_named(path, 1))
        with _named(path, 1).open("ab") as copy:
            while more := live.read():
                copy.write(more)
            live.truncate(0)


def _named(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
