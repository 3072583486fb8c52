"""The folders that sandboxed programs get. What lies there may be anything, made to deceive whoever looks.

A folder is held by a lock for as long as its owner lives, so what was left by owners that were killed can be told from the rest.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Literal
from uuid import uuid4

from resilience import locked

_PREFIX: Final = "winclaw-sandbox-"
_OWNER: Final = "owner"
"""Locked by the owner; empty until it is, so who finds something in it that nobody has locked knows that the owner is gone."""
_FILES: Final = "files"
_JUNCTION: Final = 0xA000_0003  # how Windows marks a folder that is a link


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that belongs to this process until the block ends, and is then gone."""
    base = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        owner = locked.take(base / _OWNER)  # None: there are no locks on this disk; then nobody ever takes it for left behind
        try:
            if owner is not None:
                owner.seek(0)
                with suppress(OSError):  # the disk is full
                    owner.write(str(os.getpid()).encode())
            (base / _FILES).mkdir(0o700)
            yield base / _FILES
        finally:
            remove(base / _FILES)
            if owner is not None:
                locked.let_go(owner)
    finally:
        remove(base)


def remove_orphans() -> None:
    """Removes this user's folders whose owners have died without doing so."""
    me = getattr(os, "geteuid", int)()  # Windows has no numbers of users, and a temporary folder for each
    with suppress(OSError):
        for base in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):
                info = base.lstat()
                if _is_folder(info) and info.st_uid == me:
                    _remove_if_left(base)


def _remove_if_left(base: Path) -> None:
    with open_left(base / _OWNER, "r+b") as owner:
        if os.fstat(owner.fileno()).st_size == 0 or not locked.try_lock(owner):
            return
        remove(base / _FILES)
        if (base / _FILES).exists():
            return  # something still writes there; the mark stays, so that the next one tries again
    remove(base)


def remove(folder: Path) -> int:
    """Removes ``folder`` with all that is in it, however deep it is; links are removed, and not followed. What will not go stays.

    Each folder is moved up into ``folder`` before anybody looks into it: so no path gets long, and nothing recurses.

    Returns:
        How many bytes were in it.
    """
    try:
        if not _is_folder(folder.lstat()):
            folder.unlink()
            return 0
    except OSError:
        return 0  # there is none, or it is a link that cannot be removed
    with suppress(OSError):
        folder.chmod(0o700)  # a program may have locked itself out
    size, left = 0, [folder]
    while left:
        here = left.pop()
        for one in _entries(here):
            with suppress(OSError):
                info = one.lstat()
                size += info.st_size
                if not _is_folder(info):
                    one.unlink()
                    continue
                one.chmod(0o700)
                left.append(one if here == folder else one.rename(folder / uuid4().hex))
        with suppress(OSError):
            here.rmdir()
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)  # what could not be moved
    return size


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


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _is_folder(info: os.stat_result) -> bool:
    return stat.S_ISDIR(info.st_mode) and getattr(info, "st_reparse_tag", 0) != _JUNCTION
