"""Disks that are full, files that are damaged or gone: what a step did is never forgotten silently."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from resilience.transactions.file import TransactionError, file_of, unfinished_in
from tests.resilience.transactions.transacting import NoThread, Way, World


class FullAfter:
    """A disk that takes so many more writes, and from then on none, until ``is_full`` is taken back.

    SQLite itself refuses: the file may grow no further, and what is written is larger than what is free.
    """

    def __init__(self, world: World, writes: int) -> None:
        self.writes, self.is_full = writes, False
        file = world.manager._ground.file._file
        do = file.do

        def counted(work: Any, *, writes: bool = True) -> Any:
            if writes and not self.is_full:
                self.is_full = self.writes == 0
                self.writes -= 1
            if not (writes and self.is_full):
                return do(work, writes=writes)

            def fill(conn: sqlite3.Connection) -> Any:
                pages = conn.execute("PRAGMA page_count").fetchone()[0]
                conn.execute(f"PRAGMA max_page_count = {pages}")
                try:
                    conn.execute("CREATE TABLE large (content)")
                    conn.execute("INSERT INTO large VALUES (zeroblob(1000000))")
                    return work(conn)
                finally:
                    conn.execute("PRAGMA max_page_count = 1000000")

            return do(fill, writes=writes)

        file.do = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("writes", range(7))
def test_whichever_write_the_disk_refuses_nothing_is_left_half(way: Way, world: World, writes: int) -> None:
    """Begin, step 1 before and after, step 2 before and after, the end: the first that fails undoes all."""
    disk = FullAfter(world, writes)

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        await tx.do(way.add, 2, undo=way.remove)

    if writes == 6:
        way.run(body)
        assert world.there == [1, 2]
        return
    with pytest.raises(TransactionError, match="full"):
        way.run(body)
    assert world.there == []
    added = [0, 0, 1, 1, 2, 2][writes]
    assert [word for word in world.log if word.startswith("add")] == [f"add {n + 1}" for n in range(added)]
    other = world.process()
    assert other.resume() == [], "another process must leave to this one what it has undone and cannot write"
    disk.is_full, disk.writes = False, 1000
    world.manager.look()
    assert other.unfinished() == []
    other.close()
    assert world.there == []
    assert world.log == [*[f"add {n + 1}" for n in range(added)], *[f"remove {n}" for n in range(added, 0, -1)]]
    assert world.reported == []


def test_a_key_whose_end_the_disk_has_refused_begins_anew_as_soon_as_the_disk_takes_it(way: Way, world: World) -> None:
    disk = FullAfter(world, 2)

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)

    with pytest.raises(TransactionError, match="full"):
        way.run(body, key="k")
    with pytest.raises(TransactionError, match="full"):
        way.run(body, key="k")
    disk.is_full, disk.writes = False, 1000
    way.run(body, key="k")
    assert world.log == ["add 1", "remove 1", "add 1"]


def test_a_real_disk_that_is_full_refuses_before_the_step(tmp_path: Path) -> None:
    """A folder whose file cannot even be made."""
    (tmp_path / "file").touch()
    world = World(tmp_path / "file")
    with pytest.raises(TransactionError, match="cannot be"), world.manager.transaction("t") as tx:
        tx.do(world.add, 1)
    assert world.log == []
    world.close()


def test_a_file_that_somebody_else_keeps_locked_refuses_before_the_step(world: World) -> None:
    with world.manager.transaction("other"), contextlib.closing(sqlite3.connect(world.manager.path, isolation_level=None)) as other:
        file = world.manager._ground.file._file
        assert file._conn is not None
        file._conn.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(TransactionError, match="locked"), world.manager.transaction("t") as tx:
            tx.do(world.add, 1, undo=world.remove)
            other.execute("BEGIN IMMEDIATE")
            tx.do(world.add, 2, undo=world.remove)
        other.execute("ROLLBACK")
    assert world.log == ["add 1", "remove 1"]
    world.manager.look()
    assert world.manager.unfinished() == []


def test_an_exit_right_behind_the_beginning_of_a_write_does_not_refuse_all_later_ones(world: World) -> None:
    with world.manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        conn = world.manager._ground.file._file._conn
        assert conn is not None
        conn.execute("BEGIN IMMEDIATE")  # and here Ctrl-C came
        tx.do(world.add, 2, undo=world.remove)
    assert world.there == [1, 2]
    assert world.manager.unfinished() == []


def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path) -> None:
    file_of(tmp_path, "clerk").write_bytes(b"this is no database " * 1000)
    world = World(tmp_path)
    with world.manager.transaction("t", "k") as tx:
        tx.do(world.add, 1, undo=world.remove)
    [(error, component, operation)] = world.reported
    [aside] = tmp_path.glob("clerk.damaged-*.db")
    assert (component, operation) == ("transactions", "open")
    assert str(aside) in str(error)
    world.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_file_that_goes_away_in_the_middle_begins_no_further_step(way: Way, world: World) -> None:
    """A new file does not know the transaction: its steps would be undone by nobody after a crash."""

    async def body(tx: Any) -> None:
        await tx.do(way.add, 1, undo=way.remove)
        for part in world.manager.path.parent.glob("clerk.db*"):
            part.unlink()
        await tx.do(way.add, 2, undo=way.remove)

    with pytest.raises(TransactionError, match="not in"):
        way.run(body)
    assert world.log == ["add 1", "remove 1"]


def test_what_is_unfinished_of_all_agents_is_read_whatever_else_lies_there(world: World) -> None:
    folder = world.folder
    (folder / "other.db").write_bytes(b"this is no database " * 1000)
    (folder / "empty.db").touch()
    (folder / "clerk.damaged-20260101-000000.db").write_bytes(b"x")
    (folder / "clerk.damaged-20260101-000000-2.db").write_bytes(b"x")
    (folder / "folder.db").mkdir()
    before = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file() and "clerk" not in path.name}
    assert unfinished_in(folder) == []
    with world.manager.transaction("send-report", "k") as tx:
        tx.do(world.add, 1, undo=world.remove, key="a")
        tx.do(world.add, 2)
        [one] = unfinished_in(folder)
        assert (one.agent, one.transaction, one.key, one.state, one.since) == ("clerk", "send-report", "k", "running", world.clock.now())
        assert [(left.number, left.key, left.why) for left in one.left] == [(1, "a", "")]
    assert unfinished_in(folder) == []
    assert before == {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file() and "clerk" not in path.name}
    assert unfinished_in(folder / "nowhere") == []


def test_an_agent_whose_name_looks_like_damage_is_seen(world: World) -> None:
    manager = NoThread(world.folder, world.clock, agent="shop.damaged-goods")
    with manager.transaction("t") as tx:
        tx.do(world.add, 1, undo=world.remove)
        assert [one.agent for one in unfinished_in(world.folder)] == ["shop.damaged-goods"]
    manager.close()


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
def test_the_files_are_their_owners_alone(world: World) -> None:
    with world.manager.transaction("t") as tx:
        tx.do(world.add, 1)
        parts = list(world.folder.glob("clerk.*"))
        assert {part.stat().st_mode & 0o777 for part in parts} == {0o600}
        assert world.folder.stat().st_mode & 0o777 == 0o700
        assert len(parts) == 4  # the file, its log, its index, and this process's lock
