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
        with log_of(path).open("rb") as file:
            log = _Log(file)
            is_whole = log.is_headed
            for _, head, passes in log.frames():
                if passes and not is_whole and any(head[4:8]):
                    return True
                is_whole = is_whole and passes
    except FileNotFoundError:
        pass
    return False


def mend(path: Path) -> None:
    """Has each frame pass, whatever is in it: what was committed behind a broken one can be read then, by its own checksums.

    The log counts as broken all the while, and until it is set aside: two frames at its end, which are written first, see to
    that, of a page that there cannot be.

    Raises:
        OSError: the log cannot be written.
    """
    with log_of(path).open("r+b") as file:
        log = _Log(file)
        size, salts, sum_of = log.page_bytes, log.salts, log.summing.of
        all_frames = list(log.frames())
        counting = (number for number, (_, head, _) in enumerate(all_frames) if head[8:16] == salts and _commits(head))
        last = max(counting, default=-1)
        sound = (struct.unpack(">2I", head[:8]) for _, head, passes in all_frames if passes)
        largest = max((max(one) for one in sound if one[0] < _NO_PAGE), default=0)
        nothing, ending = bytes(size), struct.pack(">2I", _NO_PAGE, 1)
        file.seek(_HEADER + (last + 1) * (_FRAME_HEADER + size))
        file.write(struct.pack(">2I", _NO_PAGE, 0) + salts + bytes(8) + nothing)
        file.write(ending + salts + struct.pack(">2I", *sum_of((0, 0), ending + nothing)) + nothing)
        file.flush()
        begin = struct.pack(">3I", _MAGIC | log.summing.is_big, _VERSION, size) + log.count + salts
        running = sum_of((0, 0), begin)
        file.seek(0)
        file.write(begin + struct.pack(">2I", *running))
        for place, head, _ in all_frames[: last + 1]:
            file.seek(place + _FRAME_HEADER)
            told = _likely(head, largest)
            running = sum_of(running, told + file.read(size))
            file.seek(place)
            file.write(told + salts + struct.pack(">2I", *running))


class _Log:
    """A log that is open. Where its header ``is_headed`` no more, the first frame that passes tells whose frames it has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, header = file, file.read(_HEADER).ljust(_HEADER, b"\0")
        self._sum, self.count = _sum_in(header[24:]), header[12:16]
        magic, size = int.from_bytes(header[:4], "big"), int.from_bytes(header[8:12], "big")
        self.page_bytes = size if size.bit_count() == 1 and 512 <= size <= 65536 else _PAGE_BYTES
        self.summing = _Summing(self.page_bytes, magic & 1)
        self.is_headed = magic | 1 == _MAGIC | 1 and self.summing.of((0, 0), header[:24]) == self._sum
        self.salts = header[16:24]
        if not self.is_headed:
            self.page_bytes, self.summing = _PAGE_BYTES, _Summing(_PAGE_BYTES, int(sys.byteorder == "big"))  # as it is made here
            self.salts = next((head[8:16] for _, head, passes in self.frames(of_any=True) if passes), self.salts)

    def frames(self, *, of_any: bool = False) -> Iterator[tuple[int, bytes, bool]]:
        """Of each frame that is there whole, its place and head, and whether it is what was written, if what stands there of the
        sum before it is; ``of_any``: or was, before SQLite began to write from the beginning again."""
        before, place, end = self._sum, _HEADER, self._file.seek(0, 2)
        while place + _FRAME_HEADER + self.page_bytes <= end:
            self._file.seek(place)
            head = self._file.read(_FRAME_HEADER)
            is_one = any(head[:4]) and (of_any or head[8:16] == self.salts)
            told = _sum_in(head[16:])
            yield place, head, is_one and self.summing.of(before, head[:8] + self._file.read(self.page_bytes)) == told
            before = told
            place += _FRAME_HEADER + self.page_bytes


def _likely(head: bytes, largest: int) -> bytes:
    """Of which page a frame is, and how large the file was then; where that cannot be, it is of a page that nobody asks for."""
    page, pages = struct.unpack(">2I", head[:8])
    return struct.pack(">2I", page if 0 < page <= largest else largest + 1, pages if pages <= largest else 0)


def _commits(head: bytes) -> bool:
    return any(head[4:8]) and int.from_bytes(head[:4], "big") < _NO_PAGE


def _sum_in(data: bytes) -> Sum:
    first, second = struct.unpack(">2I", data)
    return first, second


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
