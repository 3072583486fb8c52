"""The files that supervised processes write to: the last of them shown, and the large ones put aside.

A process holds its file open from birth, so a file that has grown too large is copied and then emptied under its hands.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from resilience import home
from resilience.detection.lines import clean as line_text

OUTPUT: Final = "output.log"
_TAIL_BYTES: Final = 64 * 1024
_CHUNK: Final = 1024 * 1024
_LONGEST_LINE: Final = 8 * 1024
"""Bytes of a line without end that are waited for; of a longer one each part is a line."""
_BEFORE: Final = 8 * 1024
"""Bytes before a piece that are looked at, for a secret may have begun there."""


class Piece(NamedTuple):
    """What a process has written since somebody looked last.

    ``text`` has whole lines, ``rest`` the one that is not ended yet. ``mark`` is to be handed in for what comes then.
    ``skipped``: so many bytes before it were left out. ``anew``: it does not go on from what was seen last, for that is gone.
    """

    text: str
    rest: str
    mark: str
    skipped: int = 0
    anew: bool = False


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
    return _text(found)


def piece_after(path: Path, mark: str, clean: Callable[[str], str], most: int = _TAIL_BYTES) -> Piece:
    """What was written to a file, and to the one that was put aside last, since ``mark`` was given; without one, its end.

    Args:
        clean: takes the secrets out of a text. most: the bytes that are read; of more, the last.
    """
    seen = _seen(mark)
    aside_ns = _changed_ns(aside(path))
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            old, offset, anew = b"", 0, False
            if seen is not None and seen[1] != aside_ns:  # it was put aside since, and goes on from its beginning
                old, anew = _aside_from(path, seen[0], most)
            elif seen is not None:
                offset, anew = (seen[0], False) if seen[0] <= size else (0, True)
            begin = max(offset, size - most)
            before = _read(file, max(begin - _BEFORE, 0), begin)
            found = _read(file, begin, size)
    except OSError:
        return Piece("", "", mark)
    left_out = max(len(old) + len(found) - most, 0)
    old = old[left_out:]
    skipped = begin - offset + left_out if seen is not None else 0
    if begin > offset:  # from the beginning of a line
        line = found.find(b"\n") + 1
        before, found = before + found[:line], found[line:]
        skipped += line if seen is not None else 0
    whole, rest = _lines(old + found)
    text, rest_text = _told(before, whole, rest, clean)
    return Piece(text, rest_text, f"{size - len(rest)}-{aside_ns}", skipped, anew)


def _seen(mark: str) -> tuple[int, int] | None:
    """The place in the file that a mark names, and when the one before it was put aside; None: it is no mark."""
    parts = mark.split("-")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        return int(parts[0]), int(parts[1])
    return None


def _changed_ns(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _aside_from(path: Path, offset: int, most: int) -> tuple[bytes, bool]:
    """What stands in the file put aside last from ``offset`` on; and whether that is not what was to be read, for it is gone."""
    with contextlib.suppress(OSError), aside(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size >= offset:
            return _read(file, max(offset, size - most), size), False
    return b"", True


def _read(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def _lines(found: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and what has begun and may go on."""
    end = found.rfind(b"\n") + 1
    return (found[:end], found[end:]) if len(found) - end <= _LONGEST_LINE else (found, b"")


def _told(before: bytes, whole: bytes, rest: bytes, clean: Callable[[str], str]) -> tuple[str, str]:
    """The two as text without secrets, also without one that begins in what stands before them."""
    known = clean(_text(before))
    upto_whole = clean(_text(before + whole))
    upto_rest = clean(_text(before + whole + rest)) if rest else upto_whole
    return _behind(known, upto_whole), _behind(upto_whole, upto_rest)


def _behind(known: str, text: str) -> str:
    """What ``text`` has beyond ``known``, with which it begins, but for the end where a secret goes on."""
    if text.startswith(known):
        return text[len(known) :]
    return text[next((at for at, (one, other) in enumerate(zip(known, text, strict=False)) if one != other), len(text)) :]


def _text(found: bytes) -> str:
    return "\n".join(line_text(line) for line in found.split(b"\n"))


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
