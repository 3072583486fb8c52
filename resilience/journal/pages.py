"""Reading rows from the pages of a damaged journal without SQLite, which finds none below a page that is broken.

A row is believed by its checksums alone, so whatever stands in the file, nothing comes out that was never written.
SQLite's file format is what is read here: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from resilience.journal import sums
from resilience.journal.schema import ErrorRecord, EventRecord

_ROWS: Final = 200
_PAGE_BYTES: Final = 4096
_LEAF, _OTHER_PAGES = 13, frozenset((2, 5, 10))
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_WAL_HEADER, _FRAME_HEADER = 32, 24
Row = tuple[int, Any]


def rows(path: Path, is_wanted: Callable[[int], bool], is_ending: Callable[[], bool]) -> Iterator[tuple[str, list[Row]]]:
    """What stands in any page of the file and of its write-ahead log, as (table, records with their ids), some at a time.

    Args:
        is_wanted: of an id, whether there is any need of it. is_ending: asked in between, whether nobody wants any more.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, list[Row]] = {"errors": [], "events": []}
    with _Pages(path) as pages:
        for number in pages.numbers:
            if is_ending():
                return
            for rowid, payload in _cells(pages, number, is_wanted):
                if (one := _record(rowid, payload)) is not None:
                    table = "errors" if isinstance(one, ErrorRecord) else "events"
                    found[table].append((rowid, one))
            for table, some in found.items():
                if len(some) >= _ROWS:
                    yield table, some
                    found[table] = []
    yield from ((table, some) for table, some in found.items() if some)


class _Pages:
    """The pages of a file, each as its write-ahead log has it last."""

    def __init__(self, path: Path) -> None:
        self._file, self._path = path.open("rb"), path
        head = self._file.read(18)
        size = int.from_bytes(head[16:18], "big")
        self.size = size if size.bit_count() == 1 and size >= _PAGE_BYTES // 8 else _PAGE_BYTES
        self._log: BinaryIO | None = None
        self._places: dict[int, int] = {}
        log = path.with_name(f"{path.name}-wal")
        if log.exists():
            self._log = log.open("rb")
            self._places = self._committed(self._log)
        in_file = range(1, path.stat().st_size // self.size + 1)
        self.numbers = sorted({*in_file, *self._places})  # not all up to the last one, which may be one that has flipped
        self.count = max(self.numbers, default=0)

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._log is not None:
            self._log.close()

    def __getitem__(self, number: int) -> bytes:
        place = self._places.get(number)
        file = self._file if place is None or self._log is None else self._log
        file.seek((number - 1) * self.size if place is None else place)
        return file.read(self.size)

    def _committed(self, log: BinaryIO) -> dict[int, int]:
        """Where in the log each page stands last that a transaction has left there."""
        header, places, group = log.read(_WAL_HEADER), dict[int, int](), dict[int, int]()
        salts, place = header[16:24], _WAL_HEADER
        while len(frame := log.read(_FRAME_HEADER)) == _FRAME_HEADER and frame[8:16] == salts:
            number, is_last = struct.unpack(">II", frame[:8])
            group[number] = place + _FRAME_HEADER
            place += _FRAME_HEADER + self.size
            log.seek(place)
            if is_last:
                places |= group
                group = {}
        return {number: at for number, at in places.items() if number < 2**31}


def _cells(pages: _Pages, number: int, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, bytes]]:
    """The rows of a page, as ids and payloads; none, if it is another sort of page."""
    page, begins = pages[number], 100 if number == 1 else 0
    if len(page) < pages.size or page[begins] in _OTHER_PAGES:
        return
    first = begins + 8
    # Not the number of cells that the page says it has: that may be what is damaged.
    pointers = struct.unpack(f">{(pages.size - first) // 2}H", page[first : first + (pages.size - first) // 2 * 2])
    content = int.from_bytes(page[begins + 5 : begins + 7], "big") or 65536
    said = int.from_bytes(page[begins + 3 : begins + 5], "big")
    likely = min(max((content - first) // 2, said), len(pointers))
    seen = set()
    for pointer in pointers[:likely]:
        if first < pointer < pages.size and pointer not in seen:
            seen.add(pointer)
            try:
                size, place = _varint(page, pointer)
                rowid, place = _varint(page, place)
                if is_wanted(rowid):
                    yield rowid, _payload(pages, page, place, size)
            except (IndexError, ValueError):
                continue


def _payload(pages: _Pages, page: bytes, place: int, size: int) -> bytes:
    """A payload whole, with what of it overflows into other pages."""
    most = pages.size - 35
    if size > pages.count * pages.size:
        raise ValueError("it is longer than the file")
    if size <= most:
        return page[place : place + size]
    least = (pages.size - 12) * 32 // 255 - 23
    local = least + (size - least) % (pages.size - 4)
    local = local if local <= most else least
    payload, following = page[place : place + local], int.from_bytes(page[place + local : place + local + 4], "big")
    while len(payload) < size:
        if not 0 < following <= pages.count:
            raise ValueError("it goes on nowhere")
        page = pages[following]
        following = int.from_bytes(page[:4], "big")
        if len(page) < pages.size:
            raise ValueError("it goes on behind the end")
        payload += page[4 : 4 + size - len(payload)]
    return payload


def _record(rowid: int, payload: bytes) -> ErrorRecord | EventRecord | None:
    """The record that a payload is, by its checksums; None if it is none."""
    try:
        values = _values(payload)
    except (IndexError, ValueError, struct.error):
        return None
    told, checksums = values[1:], list[Any]()  # without the id, which stands before the payload
    one: ErrorRecord | EventRecord
    match len(told):
        case 18 if isinstance(told[15], bytes) and isinstance(told[11], int):
            one, checksums = ErrorRecord(*told[:16]), told[16:]
            right = [*sums.of_error(rowid, one)]
        case 5 if isinstance(told[3], bytes):
            one, checksums = EventRecord(*told[:4]), told[4:]
            right = [sums.of_event(rowid, one)]
        case _:
            return None
    return one if checksums == right else None


def _values(payload: bytes) -> list[Any]:
    """The values of a record."""
    header, place = _varint(payload, 0)
    kinds = []
    while place < header:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        if kind in _INTEGERS:
            size = _INTEGERS[kind]
            values.append(int.from_bytes(payload[place : place + size], "big", signed=True))
        elif kind >= 12:
            size = (kind - 12) // 2
            raw = payload[place : place + size]
            values.append(raw.decode() if kind % 2 else raw)
        else:
            size = 0
            values.append({8: 0, 9: 1}.get(kind))
        place += size
        if place > len(payload):
            raise ValueError("the payload is too short")
    return values


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    number = 0
    for step in range(8):
        byte = data[place + step]
        number = number << 7 | byte & 0x7F
        if byte < 128:
            return number, place + step + 1
    return number << 8 | data[place + 8], place + 9
