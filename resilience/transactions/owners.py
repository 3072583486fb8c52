"""Which process has a transaction: each holds the lock on a file of its own as long as it lives. Standard library only."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
from pathlib import Path
from typing import IO, Final

from resilience import home, locked

_OWNER: Final = re.compile(r"[0-9a-f]{16}")


class Owners:
    """This process among those that share the file of transactions at ``path``. Any thread may call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._me, self._held = "", None  # type: tuple[str, IO[bytes] | None]
        self._dead: set[str] = set()
        self._lock = threading.Lock()

    def me(self) -> str:
        """The name of this process; from the first time on it is seen to be alive.

        Raises:
            OSError: its file cannot be made.
        """
        with self._lock:
            while self._held is None:
                home.make_private_folder(self._path.parent)
                name = uuid.uuid4().hex[:16]
                path = _file_of(self._path, name)
                held = locked.take(path)
                if held is not None and _is_at(held, path):
                    self._me, self._held = name, held
                elif held is not None:  # who cleans up has removed it before it was locked
                    locked.let_go(held)
            return self._me

    def is_dead(self, owner: str) -> bool:
        """Whether the process of that name is gone; then for good."""
        with self._lock:
            if owner in self._dead:
                return True
            if owner == self._me and self._held is not None:
                return False
            if not _bury(_file_of(self._path, owner)):
                return False
            self._dead.add(owner)
            return True

    def clean(self) -> None:
        """Removes the files of processes that are gone, of this agent."""
        for path in self._path.parent.glob("*.alive"):
            name = path.name.removesuffix(".alive").removeprefix(f"{self._path.stem}.")
            if _OWNER.fullmatch(name) and path == _file_of(self._path, name):
                self.is_dead(name)

    def let_go(self) -> None:
        """From now on this process counts as dead."""
        with self._lock:
            if self._held is not None:
                held, self._held = self._held, None
                locked.let_go(held)
                with contextlib.suppress(OSError):
                    _file_of(self._path, self._me).unlink()

    def begin_anew(self) -> None:
        """In a forked child, which is another process: its parent's lock stays, for the parent has it open."""
        self._lock = threading.Lock()
        if self._held is not None:
            self._held.close()
        self._me, self._held = "", None


def is_held(path: Path, owner: str) -> bool:
    """Whether the process lives that is called ``owner`` beside the file of transactions at ``path``; makes no file."""
    try:
        with _file_of(path, owner).open("r+b", buffering=0) as file:
            if not locked.try_lock(file):
                return True
            locked.let_go(file)
    except OSError:
        pass
    return False


def _bury(path: Path) -> bool:
    """Whether nobody holds the lock on ``path``, which is removed then."""
    try:
        held = locked.take(path)
    except OSError:  # nobody can tell
        return False
    if held is None:
        return False
    if os.name == "nt":  # an open file cannot be removed there; one that somebody else has opened meanwhile, neither
        locked.let_go(held)
    with contextlib.suppress(OSError):
        path.unlink()
    if not held.closed:
        locked.let_go(held)
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _file_of(path: Path, owner: str) -> Path:
    return path.with_name(f"{path.stem}.{owner}.alive")
