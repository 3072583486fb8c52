"""An agent's transactions on disk: one SQLite file an agent, which all of its processes share.

A step is written down before it is done, and what it gave after. A transaction that ended as it should leaves nothing
behind but, where it has a key, what its steps gave, for so long as the key is known.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from resilience import home
from resilience.clock import Clock, as_text
from resilience.shared_file import SharedFile
from resilience.transactions.owners import is_held
from resilience.transactions.steps import Left, Step, Way, newest_first, way_of

_AT_ONCE: Final = 100
_ASIDE: Final = re.compile(r"\.damaged-\d{8}-\d{6}(-\d+)?$")
_SCHEMA: Final = (
    """CREATE TABLE transactions (
        id TEXT PRIMARY KEY, agent TEXT NOT NULL, name TEXT NOT NULL, key TEXT, owner TEXT NOT NULL, state TEXT NOT NULL,
        is_open INTEGER NOT NULL, at TEXT NOT NULL, settled_at TEXT)""",
    """CREATE TABLE steps (
        id TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, undo TEXT NOT NULL, registered INTEGER NOT NULL,
        key TEXT NOT NULL, state TEXT NOT NULL, kept TEXT, why TEXT NOT NULL, PRIMARY KEY (id, number)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX transactions_key ON transactions (name, key) WHERE key IS NOT NULL",
    "CREATE INDEX transactions_open ON transactions (at) WHERE is_open = 1",
    "CREATE INDEX transactions_settled ON transactions (settled_at) WHERE is_open = 0",
    "PRAGMA user_version = 1",
)
_ROW: Final = "SELECT id, agent, name, key, owner, state, is_open, at, settled_at FROM transactions"
_STEPS: Final = "SELECT number, name, undo, registered, key, state, kept, why FROM steps WHERE id = ? ORDER BY number"


class TransactionError(OSError):
    """The file of the transactions cannot be read or written; the step that was to be begun was not begun."""


class TransactionBusyError(TransactionError):
    """A transaction of this name and key is under way, here or in another process."""


class Row(NamedTuple):
    """A transaction as it stands in the file.

    Attributes:
        owner: which process has it. state: ``undone`` where some of its steps could not be. is_open: something of it is
            under way, or left to be undone.
    """

    id: str
    agent: str
    name: str
    key: str | None
    owner: str
    state: Literal["running", "committed", "undone"]
    is_open: bool
    at: str
    settled_at: str | None = None


class Unfinished(NamedTuple):
    """A transaction that is under way or not wholly undone; see ``unfinished_in``."""

    agent: str
    transaction: str
    key: str | None
    id: str
    state: Literal["running", "abandoned", "left"]
    left: tuple[Left, ...]
    since: datetime


class Resumption(NamedTuple):
    """What became of a transaction that was left in the middle.

    Attributes:
        undone: the names of the steps that were undone now, newest first. left: those that still are not.
    """

    transaction: str
    key: str | None
    id: str
    since: datetime
    undone: tuple[str, ...]
    left: tuple[Left, ...]


class TransactionFile:
    """The transactions of one agent; any thread may call. For the arguments see ``SharedFile``.

    Every method raises ``TransactionError`` where the file cannot be read or written.
    """

    def __init__(self, path: Path, clock: Clock, damaged: Callable[[TransactionError], Any]) -> None:
        self.path = path
        self._file = SharedFile(path, "file of transactions", TransactionError, _SCHEMA, clock, damaged)
        self.close = self._file.close

    def begin(self, row: Row, known_since: datetime) -> Row | None:
        """Stores ``row``, unless there is one of its name and key already, which is given back then.

        Args:
            known_since: keys of transactions that were committed before it are forgotten.
        """

        def work(conn: sqlite3.Connection) -> Row | None:
            if row.key is not None:
                found = _row(conn.execute(f"{_ROW} WHERE name = ? AND key = ?", (row.name, row.key)).fetchone())
                if found is not None and (found.is_open or (found.settled_at or "") >= as_text(known_since)):
                    return found
                if found is not None:
                    _remove(conn, found.id)
            conn.execute("INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            return None

        return self._file.do(work)

    def record(self, id_: str, step: Step) -> None:
        """Writes down where a step stands.

        Raises:
            TransactionError: also if the transaction is not in the file any more.
        """

        def work(conn: sqlite3.Connection) -> None:
            if conn.execute("SELECT 1 FROM transactions WHERE id = ?", (id_,)).fetchone() is None:
                raise self._gone(id_)
            _write(conn, id_, [step])

        self._file.do(work)

    def settle(
        self, id_: str, steps: Iterable[Step], now: datetime, *, is_open: bool, committed: bool = False, keyed: bool = False
    ) -> None:
        """Ends a transaction: what must not be remembered is removed. is_open: something is left to be undone.

        Raises:
            TransactionError: also if it is ``keyed``, to be ``committed``, and not in the file any more.
        """
        steps = list(steps)

        def work(conn: sqlite3.Connection) -> None:
            row = _row(conn.execute(f"{_ROW} WHERE id = ?", (id_,)).fetchone())
            if row is None:
                if committed and keyed:
                    raise self._gone(id_)
                return
            if not is_open and (not committed or row.key is None):
                _remove(conn, id_)
                return
            _write(conn, id_, steps)
            conn.execute(
                "UPDATE transactions SET state = ?, is_open = ?, settled_at = ? WHERE id = ?",
                ("committed" if committed else "undone", is_open, row.settled_at or as_text(now), id_),
            )

        self._file.do(work)

    def open_ones(self) -> list[tuple[Row, list[Step]]]:
        """The transactions that are under way or not wholly undone, oldest first."""
        return self._file.do(lambda conn: list(_open_ones(conn)), writes=False)

    def load(self, id_: str) -> tuple[Row, list[Step]] | None:
        """One transaction; None if it is not there any more."""

        def work(conn: sqlite3.Connection) -> tuple[Row, list[Step]] | None:
            row = _row(conn.execute(f"{_ROW} WHERE id = ?", (id_,)).fetchone())
            return None if row is None else (row, _steps(conn, id_))

        return self._file.do(work, writes=False)

    def adopt(self, id_: str, before: str, owner: str) -> bool:
        """Has ``owner`` have what ``before`` had; False where somebody else was faster."""
        query = "UPDATE transactions SET owner = ? WHERE id = ? AND owner = ? AND is_open = 1"
        return self._file.do(lambda conn: conn.execute(query, (owner, id_, before)).rowcount == 1)

    def note(self, id_: str, whys: Iterable[tuple[int, str]]) -> bool:
        """Writes down why steps are left, of those of which that was not known; returns whether there were any."""
        query = "UPDATE steps SET why = ? WHERE id = ? AND number = ? AND why = ''"
        values = [(why, id_, number) for number, why in whys]
        return self._file.do(lambda conn: sum(conn.execute(query, one).rowcount for one in values) > 0)

    def forget(self, before: datetime, left_before: datetime) -> bool:
        """Removes some that were committed ``before``, or begun ``left_before`` and never ended; says whether any."""

        def work(conn: sqlite3.Connection) -> bool:
            query = (
                "SELECT id FROM transactions WHERE is_open = 0 AND settled_at < ? UNION ALL "
                "SELECT id FROM transactions WHERE is_open = 1 AND at < ? LIMIT ?"
            )
            found = conn.execute(query, (as_text(before), as_text(left_before), _AT_ONCE)).fetchall()
            for (id_,) in found:
                _remove(conn, id_)
            return bool(found)

        return self._file.do(work)

    def _gone(self, id_: str) -> TransactionError:
        return TransactionError(f"the transaction {id_} is not in {self.path} any more, which was damaged or removed")


def file_of(folder: Path, agent: str) -> Path:
    """Where the transactions of ``agent`` lie."""
    return folder.absolute() / f"{home.file_name(agent, 'transactions')}.db"


def unfinished_in(folder: Path) -> list[Unfinished]:
    """What is under way or left to be undone, of all agents whose files lie in ``folder``, oldest first.

    ``abandoned``: its process died, and the agent's next start undoes it. ``left``: a person has to see to it, unless
    the next try succeeds. A file that cannot be read now is left out.
    """
    found: list[Unfinished] = []
    for path in sorted(folder.glob("*.db")):
        if _ASIDE.search(path.stem):  # as resilience.damage names it; an agent's own name may hold the word
            continue
        uri = f"{path.absolute().as_uri()}?mode=rw"  # never an empty file in place of one that has just been set aside
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.2)) as conn:
            conn.execute("PRAGMA query_only = 1")
            found += [as_unfinished(path, row, steps) for row, steps in _open_ones(conn)]
    return sorted(found, key=lambda one: one.since)


def as_unfinished(path: Path, row: Row, steps: list[Step]) -> Unfinished:
    """What there is to say of an open transaction of the file at ``path``."""
    is_left = row.state != "running" or any(step.why for step in steps)
    state: Any = "left" if is_left else "running" if is_held(path, row.owner) else "abandoned"
    since = datetime.fromisoformat(row.at)
    return Unfinished(row.agent, row.name, row.key, row.id, state, _what(steps, is_left), since)


def _what(steps: list[Step], is_left: bool) -> tuple[Left, ...]:
    """What of ``steps`` is left; of a transaction that nobody has tried to undo, all that is to be undone."""
    return tuple(
        Left(step.number, step.name, step.undo, step.key, step.kept, step.state == "begun", step.why)
        for step in newest_first(steps)
        if (step.why or not is_left) and way_of(step, can_undo=True, can_find=True) is not Way.NOTHING
    )


def _open_ones(conn: sqlite3.Connection) -> Iterator[tuple[Row, list[Step]]]:
    for found in conn.execute(f"{_ROW} WHERE is_open = 1 ORDER BY at").fetchall():
        row = _row(found)
        assert row is not None
        yield row, _steps(conn, row.id)


def _steps(conn: sqlite3.Connection, id_: str) -> list[Step]:
    return [Step._make(one)._replace(registered=bool(one[3])) for one in conn.execute(_STEPS, (id_,))]


def _row(found: tuple[Any, ...] | None) -> Row | None:
    return None if found is None else Row._make(found)._replace(is_open=bool(found[6]))


def _write(conn: sqlite3.Connection, id_: str, steps: Iterable[Step]) -> None:
    conn.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(id_, *step) for step in steps])


def _remove(conn: sqlite3.Connection, id_: str) -> None:
    conn.execute("DELETE FROM steps WHERE id = ?", (id_,))
    conn.execute("DELETE FROM transactions WHERE id = ?", (id_,))
