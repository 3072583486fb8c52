"""An export's file: written part by part, and read as something that anybody may have made."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from resilience import home
from resilience.exporting.bundle import (
    MANIFEST,
    Entry,
    Manifest,
    Part,
    Table,
    UnfitExportError,
    read_manifest,
    refuse_entries,
    refuse_lies,
)
from resilience.journal.schema import MIGRATIONS

_CHUNK: Final = 1 << 20
_MOST_MANIFEST: Final = 512_000_000
_LEVEL: Final = 3
_BROKEN: Final = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error,
    OverflowError, LookupError,
)  # fmt: skip
"""What ``zipfile`` raises where a file is damaged or no zip file."""


class Packing:
    """An export that is being written.

    Args:
        file: open for writing.
    """

    def __init__(self, file: IO[bytes], now: datetime) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._stamp = now.timetuple()[:6]
        self.parts: list[Part] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:  # what is in it is thrown away, and what it would write now has no room
            with suppress(OSError, ValueError):
                self._zip.close()

    def add(self, name: str, chunks: Iterable[bytes], size: int, tables: dict[str, Table] | None = None) -> None:
        """Adds a part of about ``size`` bytes."""
        digest, length = hashlib.sha256(), 0
        with self._zip.open(self._entry(name), "w", force_zip64=size > 1 << 30) as packed:
            for chunk in chunks:
                packed.write(chunk)
                digest.update(chunk)
                length += len(chunk)
        self.parts.append(Part(name=name, bytes=length, sha256=digest.hexdigest(), tables=tables or {}))

    def end(self, manifest: Manifest) -> None:
        """Adds the manifest, and ends the file."""
        self._zip.writestr(self._entry(MANIFEST), msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        self._zip.close()

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, (max(self._stamp[0], 1980), *self._stamp[1:]))
        entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
        entry.external_attr = (stat.S_IFREG | 0o600) << 16
        return entry


class Archive:
    """A file that claims to be an export, open for reading; whatever is in it may be a lie.

    Raises:
        UnfitExportError: it is none, or not whole, as far as can be said without reading all of it. OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable("the end of it"):
            self._zip = zipfile.ZipFile(path)
        try:
            infos = self._zip.infolist()
            entries = [_as_entry(one) for one in infos]
            refuse_entries(entries)
            self._infos = {one.filename: one for one in infos}
            if self._infos[MANIFEST].file_size > _MOST_MANIFEST:
                raise UnfitExportError("its manifest is too large")
            content = b"".join(self._chunks(MANIFEST, self._infos[MANIFEST].file_size))
            self.manifest = read_manifest(content, len(MIGRATIONS))
            refuse_lies(self.manifest, entries)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    @property
    def total_bytes(self) -> int:
        """How large all of it is, unpacked."""
        return sum(part.bytes for part in self.manifest.parts)

    def prove(self) -> None:
        """Reads every part, and writes nothing.

        Raises:
            UnfitExportError: one is not what the manifest says.
        """
        for part in self.manifest.parts:
            for _ in self._proven(part):
                pass

    def unpack(self, folder: Path) -> None:
        """Writes every part into ``folder``, for this user alone, and has all on disk.

        Raises:
            UnfitExportError: as ``prove``. OSError: the disk refuses. What was written stays.
        """
        made = {folder}
        for part in self.manifest.parts:
            path = folder.joinpath(*part.name.split("/"))
            for one in reversed(path.parents):
                if one.is_relative_to(folder) and one not in made:
                    one.mkdir(mode=0o700)
                    made.add(one)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                for chunk in self._proven(part):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        for one in made:
            home.sync_folder(one)

    def read(self, name: str) -> bytes | None:
        """What stands in one part, proven; None if there is none of that name.

        Raises:
            UnfitExportError: as ``prove``.
        """
        part = next((one for one in self.manifest.parts if one.name == name), None)
        return None if part is None else b"".join(self._proven(part))

    def _proven(self, part: Part) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in self._chunks(part.name, part.bytes):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != part.sha256:
            raise UnfitExportError(f"{part.name!r} in it is damaged: its checksum does not fit")

    def _chunks(self, name: str, size: int) -> Iterator[bytes]:
        """The content of one file in it, which must be as long as it says, and is never read any further."""
        with _readable(f"{name!r} in it"):
            stream = self._zip.open(self._infos[name])
        with stream:
            left = size
            while True:
                with _readable(f"{name!r} in it"):
                    chunk = stream.read(min(_CHUNK, left + 1))
                if not chunk:
                    break
                left -= len(chunk)
                if left < 0:
                    raise UnfitExportError(f"{name!r} in it is longer than it says")
                yield chunk
        if left:
            raise UnfitExportError(f"{name!r} in it is shorter than it says")


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise UnfitExportError(f"it is no zip file, or {what} is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # that is a place in the file that cannot be
            raise
        raise UnfitExportError(f"it is no zip file, or {what} is damaged: {error.strerror}") from error


def _as_entry(info: zipfile.ZipInfo) -> Entry:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    is_plain = (
        not info.is_dir() and mode in (0, stat.S_IFREG) and not info.flag_bits & 0x1
        and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    )  # fmt: skip
    return Entry(name=info.filename, bytes=info.file_size, is_plain=is_plain)
