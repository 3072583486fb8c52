"""The files that supervised processes write to: the last of them shown, and the large ones put aside.

A process holds its file open from birth, so a file that has grown too large is copied and then emptied under its hands.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from resilience import home
from resilience.detection.lines import clean

OUTPUT: Final = "output.log"
_TAIL_BYTES: Final = 64 * 1024
_CHUNK: Final = 1024 * 1024


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
    return "\n".join(clean(line) for line in found.split(b"\n"))


def rotate(path: Path, keep: int) -> int:
    """Puts what stands in ``path`` aside as ``.1``, what was that as ``.2`` …, and empties it; ``keep`` older ones stay.

    Returns how many bytes were put aside. What is written in the instant between the last copy and the emptying is lost,
    and nothing else.

    Raises:
        OSError: the disk refuses; the file goes on growing.
    """
    for number in range(keep, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            aside(path, number - 1).replace(aside(path, number))
    with path.open("r+b") as live, aside(path).open("wb", buffering=0) as copy:
        home.keep_private(aside(path))
        while more := live.read(_CHUNK):
            copy.write(more)
        live.truncate(0)
        return copy.tell()


def aside(path: Path, number: int = 1) -> Path:
    """Where the output lies that was put aside last, or before that."""
    return path.with_name(f"{path.name}.{number}")
