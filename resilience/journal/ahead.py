"""What SQLite has written ahead of the journal's file, frame by frame: whether one of its bits has flipped.

SQLite reads such a log up to the first frame that its checksum does not pass, and says nothing: there, it thinks, a write was cut
off by a crash. Where something was committed behind that frame, it was none. The format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from operator import mul
from pathlib import Path
from typing import BinaryIO, Final

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC: Final = 0x377F0682
_VERSION: Final = 3_007_000
_PAGE_BYTES: Final = 4096
_NO_PAGE: Final = 1 << 31
_MASK: Final = 0xFFFFFFFF
Sum = tuple[int, int]


def log_of(path: Path) -> Path:
    """Where SQLite writes ahead of ``path``."""
    return path.with_name(f"{path.name}-wal")


def is_broken(path: Path) -> bool:
    """Whether something was committed behind a frame that is not what was written; SQLite would leave it out without a word.

    Raises:
        OSError: the log cannot be read.
    """
    try:
        with log_of(path).open("rb") as log:
            return _breaks(log)
    except FileNotFoundError:
        return False


def mend(path: Path) -> None:
    """Has each frame pass, whatever is in it: what was committed behind a broken one can be read then, by its own checksums.

    The log still counts as broken, until it is set aside: two frames at its end see to that, of a page that there cannot be.

    Raises:
        OSError: the log cannot be written.
    """
    with log_of(path).open("r+b") as log:
        header = log.read(_HEADER)
        size, summing = _page_bytes(header), _summing(header)
        all_frames = list(_places(log, size))
        salts = _salts(header, all_frames, summing)
        counting = (number for number, (_, head) in enumerate(all_frames) if head[8:16] == salts and _commits(head))
        last = max(counting, default=-1)
        sound = (struct.unpack(">2I", head[:8]) for _, head, passes in _frames(log, size, salts, summing) if passes)
        largest = max((max(one) for one in sound if one[0] < _NO_PAGE), default=0)
        begin = struct.pack(">4I", _MAGIC | summing.is_big, _VERSION, size, int.from_bytes(header[12:16], "big")) + salts
        running = summing.of((0, 0), begin)
        log.seek(0)
        log.write(begin + struct.pack(">2I", *running))
        for place, head in all_frames[: last + 1]:
            log.seek(place + _FRAME_HEADER)
            told = _likely(head, largest)
            running = summing.of(running, told + log.read(size))
            log.seek(place)
            log.write(told + salts + struct.pack(">2I", *running))
        log.seek(_HEADER + (last + 1) * (_FRAME_HEADER + size))
        nothing, ending = bytes(size), struct.pack(">2I", _NO_PAGE, 1)
        log.write(struct.pack(">2I", _NO_PAGE, 0) + salts + bytes(8) + nothing)
        log.write(ending + salts + struct.pack(">2I", *summing.of((0, 0), ending + nothing)) + nothing)


def _breaks(log: BinaryIO) -> bool:
    header = log.read(_HEADER)
    if len(header) < _HEADER:
        return False
    size, summing = _page_bytes(header), _summing(header)
    salts, is_whole = _salts(header, _places(log, size), summing), _is_right(header, summing)
    for _, head, passes in _frames(log, size, salts, summing):
        if passes and not is_whole and any(head[4:8]):
            return True
        is_whole = is_whole and passes
    return False


def _frames(log: BinaryIO, size: int, salts: bytes, summing: _Summing) -> Iterator[tuple[int, bytes, bool]]:
    """Each frame's place and head, and whether it is what was written, if what stands there of the sum before it is."""
    log.seek(24)
    before = _sum_in(log.read(8))
    for place, head in _places(log, size):
        log.seek(place + _FRAME_HEADER)
        told = _sum_in(head[16:])
        yield place, head, head[8:16] == salts and summing.of(before, head[:8] + log.read(size)) == told
        before = told


def _likely(head: bytes, largest: int) -> bytes:
    """Of which page a frame is, and how large the file was then; where that cannot be, it is of a page that nobody asks for."""
    page, pages = struct.unpack(">2I", head[:8])
    return struct.pack(">2I", page if 0 < page <= largest else largest + 1, pages if pages <= largest else 0)


def _places(log: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Where each frame begins that is there whole, and how."""
    place, end = _HEADER, log.seek(0, 2)
    while place + _FRAME_HEADER + size <= end:
        log.seek(place)
        yield place, log.read(_FRAME_HEADER)
        place += _FRAME_HEADER + size


def _commits(head: bytes) -> bool:
    return any(head[4:8]) and int.from_bytes(head[:4], "big") < _NO_PAGE


def _salts(header: bytes, places: Iterator[tuple[int, bytes]] | list[tuple[int, bytes]], summing: _Summing) -> bytes:
    if _is_right(header, summing):
        return header[16:24]
    return next((head[8:16] for _, head in places), header[16:24])


def _is_right(header: bytes, summing: _Summing) -> bool:
    return summing.of((0, 0), header[:24]) == _sum_in(header[24:])


def _sum_in(data: bytes) -> Sum:
    first, second = struct.unpack(">2I", data)
    return first, second


def _summing(header: bytes) -> _Summing:
    """Sums as the header says, with the highest byte of a word first or last; where it is broken, as this machine would."""
    said = _Summing(_page_bytes(header), header[3] & 1)
    return said if _is_right(header, said) else _Summing(_page_bytes(header), int(sys.byteorder == "big"))


def _page_bytes(header: bytes) -> int:
    size = int.from_bytes(header[8:12], "big")
    return size if size.bit_count() == 1 and 512 <= size <= 65536 else _PAGE_BYTES


class _Summing:
    """SQLite's checksum. Each of its two sums takes words in turn, and what both were: a Fibonacci sequence with an input, and
    so a sum of products, which Python is quick at (0.1 ms a page).
    """

    def __init__(self, page_bytes: int, is_big: int) -> None:
        self.is_big, self._order = is_big, ">" if is_big else "<"
        self._numbers = [0, 1]
        while len(self._numbers) < page_bytes // 4 + 4:
            self._numbers.append((self._numbers[-1] + self._numbers[-2]) & _MASK)
        self._weights: dict[int, list[int]] = {}

    def of(self, before: Sum, data: bytes) -> Sum:
        """The sum of ``data``, whose length is a multiple of eight, after that of what stands ``before`` it."""
        count, numbers = len(data) // 4, self._numbers
        words = struct.unpack(f"{self._order}{count}I", data)
        weights = self._weights.setdefault(count, numbers[count::-1])
        first = before[0] * numbers[count - 1] + before[1] * numbers[count] + sum(map(mul, words, weights[1:]))
        second = before[0] * numbers[count] + before[1] * numbers[count + 1] + sum(map(mul, words, weights))
        return first & _MASK, second & _MASK
