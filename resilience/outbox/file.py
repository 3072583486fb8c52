"""One SQLite file that several threads, processes and forks use at once. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from resilience import home, locked
from resilience.clock import Clock
from resilience.damage import DamagedError, check, is_damage, name_aside
from resilience.forking import at_fork

_T = TypeVar("_T")
_BUSY_S: Final = 5.0
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class OutboxError(OSError):
    """The outbox's file cannot be read or written; whatever was to be done was not done."""


class OutboxFullError(OutboxError):
    """So many messages wait that no further one is taken; it was not stored."""


def file_of(folder: Path, agent: str) -> Path:
    """Where the outbox of ``agent`` lies: a name that every system takes, and that no other agent's has."""
    folder, name = folder.absolute(), quote(agent, safe="")
    if name == name.lower() and len(name) <= 100 and not _RESERVED.fullmatch(name):
        return folder / f"{name}.db"
    distinct = hashlib.sha256(agent.encode("utf-8", "surrogatepass")).hexdigest()[:8]  # a and A are one file on Windows
    return folder / f"outbox-{name[:100]}-{distinct}.db"


class OutboxFile:
    """Runs transactions, each of them on disk when it has run. Any thread may call.

    Args:
        path: the file; it and its folder are made when they are first needed, for this user alone.
        schema: the statements that make version 1 of it. damaged: told, with an ``OutboxError``, of a damaged file that
            was set aside.
    """

    def __init__(self, path: Path, schema: Sequence[str], clock: Clock, damaged: Callable[[OutboxError], Any]) -> None:
        self.path, self._schema, self._clock, self._damaged = path, schema, clock, damaged
        self._lock = threading.Lock()
        self._conn: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        at_fork(before=self._before_fork, in_parent=self._after_fork, in_child=self._in_child)

    def do(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = True) -> _T:
        """What ``work`` gives; with ``writes`` in a transaction, which is taken back if it raises.

        Raises:
            OutboxError: the file cannot be read or written.
        """
        damage: OutboxError | None = None
        try:
            with self._lock:
                try:
                    return self._try(work, writes=writes)
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise
                    damage = self._set_aside(error)
                return self._try(work, writes=writes)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, OutboxError):
                raise
            raise OutboxError(f"the outbox {self.path} cannot be used: {error}") from error
        finally:
            if damage is not None:
                self._damaged(damage)

    def close(self) -> None:
        """Lets go of the file; a later call opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._conn is not None:
            conn, self._conn = self._conn, None
            conn.close()

    def _try(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool) -> _T:
        if self._conn is not None and _identity(self.path) != self._identity:
            self._close()  # another process set the file aside, or somebody removed it
        conn = self._conn = self._conn or self._open()
        if not writes:
            return work(conn)
        conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(conn)
            conn.execute("COMMIT")
        finally:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
        return result

    def _open(self) -> sqlite3.Connection:
        home.make_private_folder(self.path.parent)
        if not self.path.exists():
            self._make()
        self._identity = _identity(self.path)
        conn = self._connect(self.path)
        try:
            version = conn.execute("PRAGMA user_version").fetchone()[0]
            if version > 1:
                raise OutboxError(f"{self.path} was written by a newer WinClaw (version {version}); install that one again")
            if version == 0:
                raise DamagedError("it has no tables of an outbox")
            check(conn, self.path)
        except BaseException:
            conn.close()
            raise
        return conn

    def _make(self) -> None:
        """Makes the file under another name and puts it in its place whole: SQLite does not let two begin one at once."""
        new = self.path.with_name(f"{uuid.uuid4().hex}.new")
        new.touch(mode=0o600)
        try:
            with contextlib.closing(self._connect(new)) as conn:
                conn.execute("PRAGMA journal_mode = WAL")
                conn.execute("BEGIN")
                for statement in self._schema:
                    conn.execute(statement)
                conn.execute("COMMIT")
            with contextlib.suppress(FileExistsError):  # somebody was faster
                home.put_new(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def _connect(self, path: Path) -> sqlite3.Connection:
        uri = f"{path.as_uri()}?mode=rw"  # never an empty file in place of one that has just been set aside
        conn = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            conn.execute("PRAGMA synchronous = FULL")  # what was accepted survives a power cut
        except BaseException:
            conn.close()  # on Windows a file that is open cannot be renamed
            raise
        return conn

    def _set_aside(self, error: sqlite3.Error) -> OutboxError | None:
        """Renames the damaged file, and says so; None where another process has done so already."""
        seen = self._identity
        self._close()
        mending = locked.take(self.path.with_suffix(".mending"))
        if mending is None:
            raise OutboxError(f"{self.path} is damaged, and another process is setting it aside; try again") from error
        with mending:
            if _identity(self.path) != seen:
                return None
            aside = name_aside(self.path, self._clock.now())
            for ending in ("-wal", "-shm", ""):
                part = self.path.with_name(self.path.name + ending)
                if part.exists():
                    part.rename(aside.with_name(aside.name + ending))
        return OutboxError(f"the outbox {self.path} is damaged ({error}); it is kept as {aside}, a new one begins")

    # SQLite's connections must not be carried into a child; so there is none at the moment of a fork.
    def _before_fork(self) -> None:
        self._lock.acquire()
        self._close()

    def _after_fork(self) -> None:
        self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.Lock()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at ``path`` now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
