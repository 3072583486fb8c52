"""One SQLite file that several threads, processes and forks use at once. Standard library only."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from resilience import home, locked
from resilience.clock import Clock
from resilience.damage import DamagedError, check, is_damage, name_aside
from resilience.forking import at_fork

_T = TypeVar("_T")
_E = TypeVar("_E", bound=OSError)
_BUSY_S: Final = 5.0


class SharedFile(Generic[_E]):
    """Runs transactions, each of them on disk when it has run. Any thread may call.

    Args:
        path: the file; it and its folder are made when they are first needed, for this user alone.
        what: what its errors call it, e.g. ``outbox``. error: the class of errors that are raised where it cannot be used.
        schema: the statements that make version 1 of it. damaged: told, with such an error, of a damaged file that was
            set aside.
    """

    def __init__(
        self, path: Path, what: str, error: type[_E], schema: Sequence[str], clock: Clock, damaged: Callable[[_E], Any]
    ) -> None:
        self.path, self._what, self._error = path, what, error
        self._schema, self._clock, self._damaged = schema, clock, damaged
        self._lock = threading.Lock()
        self._conn: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        at_fork(before=self._before_fork, in_parent=self._after_fork, in_child=self._in_child)

    def do(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = True) -> _T:
        """What ``work`` gives; with ``writes`` in a transaction, which is taken back if it raises.

        Raises:
            The class of errors that was chosen: the file cannot be read or written.
        """
        damage: _E | None = None
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
            if isinstance(error, self._error):
                raise
            raise self._error(f"the {self._what} {self.path} cannot be used: {error}") from error
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
        if conn.in_transaction:  # an exit that came right after one had begun or before it was taken back
            conn.execute("ROLLBACK")
        try:
            conn.execute("BEGIN IMMEDIATE")
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
                raise self._error(f"{self.path} was written by a newer WinClaw (version {version}); install that one again")
            if version == 0:
                raise DamagedError("it has no tables")
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

    def _set_aside(self, error: sqlite3.Error) -> _E | None:
        """Renames the damaged file, and says so; None where another process has done so already."""
        seen = self._identity
        self._close()
        mending = locked.take(self.path.with_suffix(".mending"))
        if mending is None:
            raise self._error(f"{self.path} is damaged, and another process is setting it aside; try again") from error
        with mending:
            if _identity(self.path) != seen:
                return None
            aside = name_aside(self.path, self._clock.now())
            for ending in ("-wal", "-shm", ""):
                part = self.path.with_name(self.path.name + ending)
                if part.exists():
                    part.rename(aside.with_name(aside.name + ending))
        return self._error(f"the {self._what} {self.path} is damaged ({error}); it is kept as {aside}, a new one begins")

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
