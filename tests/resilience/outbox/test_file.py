"""The outbox's file: its name, its rights, and what happens when it is damaged or goes away."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from resilience.outbox.file import OutboxError, file_of
from tests.resilience.outbox.conftest import Desk


@pytest.mark.parametrize(
    ("agent", "name"),
    [("mailer", "mailer.db"), ("my agent", "my%20agent.db"), ("a/ä", None), ("con", None), ("Mailer", None), ("x" * 300, None)],
)
def test_every_agents_file_has_a_name_that_windows_takes(agent: str, name: str | None, tmp_path: Path) -> None:
    path = file_of(tmp_path, agent)
    assert re.fullmatch(r"[\w%.~-]{1,140}\.db", path.name, re.ASCII)
    assert not re.match(r"(?i)(con|nul)\.", path.name)
    assert name is None or path.name == name


def test_names_that_differ_have_files_that_differ_whatever_their_case() -> None:
    names = ["a", "A", "a.", "a..", "con", "CON", "a/b", "a%2Fb", "x" * 300, "x" * 301, ".", "..", "ä", "Ä"]
    assert len({file_of(Path(), name).name.lower() for name in names}) == len(names)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
def test_the_file_is_its_owners_alone(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    parts = list(desk.outbox.path.parent.glob("mailer.db*"))
    assert {part.stat().st_mode & 0o777 for part in parts} == {0o600}
    assert desk.outbox.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path) -> None:
    path = file_of(tmp_path, "mailer")
    path.write_bytes(b"this is no database " * 1000)
    desk = Desk(tmp_path)
    desk.outbox.send("mail", 1, key="a")
    [(error, component, operation)] = desk.reported
    assert (component, operation) == ("outbox", "open")
    [aside] = tmp_path.glob("mailer.damaged-20260101-000000.db")
    assert str(aside) in str(error)
    assert aside.read_bytes().startswith(b"this is no database")
    desk.register("mail")
    desk.run()
    assert desk.keys == ["a"]
    desk.outbox.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there; it is set aside when all have closed it")
def test_all_processes_go_on_with_the_new_file(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    for number in range(50):
        one.outbox.send("mail", "x" * 1000, key=f"lost-{number}")
    one.outbox._store.close()
    other.outbox.send("mail", 1)
    with one.outbox.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 5)
    one.outbox.send("mail", 1, key="a")
    other.outbox.send("mail", 2, key="b")
    assert len(list(tmp_path.glob("*.damaged-*.db"))) == 1
    other.outbox.close()
    one.outbox.send("mail", 3, key="c")
    one.outbox.close()
    last = Desk(tmp_path)
    last.register("mail")
    last.run(10)
    assert last.keys == ["a", "b", "c"]
    last.outbox.close()


def test_a_newer_versions_file_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file_of(tmp_path, "mailer"))) as conn:
        conn.execute("PRAGMA user_version = 2")
    desk = Desk(tmp_path)
    with pytest.raises(OutboxError, match="newer WinClaw"):
        desk.outbox.send("mail", 1)
    desk.outbox.close()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    desk = Desk(tmp_path / "file")
    with pytest.raises(OutboxError, match=re.escape(str(desk.outbox.path))):
        desk.outbox.send("mail", 1)
    desk.register("mail")
    with pytest.raises(OutboxError, match="lock"):
        desk.outbox.step()
    desk.outbox.close()


def test_a_file_that_is_removed_while_it_is_open_is_begun_anew(desk: Desk) -> None:
    """As another process does that sets it aside."""
    desk.register("mail")
    desk.outbox.send("mail", 1, key="a")
    desk.outbox._store.close()
    desk.outbox.path.unlink()
    desk.outbox.send("mail", 2, key="b")
    desk.run()
    assert desk.keys == ["b"]
    assert not list(desk.outbox.path.parent.glob("*.new"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_letting_go_of_a_file_that_was_set_aside_leaves_the_new_one_whole(tmp_path: Path) -> None:
    """SQLite removes a log by its name when the last one closes, though the name may be another file's by then."""
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.outbox.send("mail", 0)
    other.outbox.send("mail", 0)
    for ending in ("", "-wal", "-shm"):
        Path(f"{one.outbox.path}{ending}").rename(tmp_path / f"aside.db{ending}")
    one.outbox.send("mail", 1, key="a")
    log = Path(f"{one.outbox.path}-wal").stat().st_ino
    other.outbox.send("mail", 2, key="b")
    assert Path(f"{one.outbox.path}-wal").stat().st_ino == log
    one.register("mail")
    one.run(10)
    assert one.keys == ["a", "b"]
    one.outbox.close()
    other.outbox.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_of_two_that_see_the_damage_one_sets_the_file_aside(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.outbox.send("mail", 1, key="lost")
    other.outbox.send("mail", 1, key="lost")
    damage = sqlite3.DatabaseError("damaged")
    one.outbox._store._file._set_aside(damage)
    one.outbox.send("mail", 1, key="a")
    other.outbox._store._file._set_aside(damage)
    other.outbox.send("mail", 1, key="b")
    assert one.outbox.waiting() == other.outbox.waiting() == {"mail": 2}
    assert len(list(tmp_path.glob("*.damaged-*.db"))) == 1
    one.outbox.close()
    other.outbox.close()
