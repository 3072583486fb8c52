"""A damaged journal is set aside and a new one begun, whatever comes in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resilience.damage import is_damage
from resilience.journal.journal import Journal, JournalError
from tests.resilience.journal.journals import edit, rows
from tests.resilience.records import NOW, an_error, an_event


def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)
    journal = Journal(path, NOW)
    assert journal.set_aside == path.with_name("journal.damaged-20260101-120000.db")
    assert journal.set_aside.read_bytes().startswith(b"not a database")
    assert journal.salvaged is None
    assert journal.commit([an_error()])[0].id > 1_000_000  # beyond any id that the lost file may have given out
    journal.close()


def test_a_second_damaged_journal_does_not_overwrite_the_first(path: Path) -> None:
    for content in (b"one" * 5000, b"two" * 5000):
        path.write_bytes(content)
        Journal(path, NOW).close()
    kept = sorted(file.read_bytes()[:3] for file in path.parent.glob("journal.damaged-*.db"))
    assert kept == [b"one", b"two"]


def test_a_journal_with_a_broken_page_is_set_aside_and_its_state_saved(path: Path) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error(message=f"number {number}") for number in range(500)], {"standing": {"level": "SAFE_MODE"}})
    journal.close()
    size = path.stat().st_size
    page = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'errors'")[0][0]
    with path.open("r+b") as file:
        file.seek((int(str(page)) - 1) * 4096)
        file.write(os.urandom(4096))
    assert path.stat().st_size == size
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert again.salvaged["standing"] == {"level": "SAFE_MODE"}
    assert again.commit([an_error()])[0].id == 501  # ids go on, so that nobody who asks "since" misses anything
    again.close()


def test_a_journal_whose_state_is_not_json_is_set_aside_and_the_rest_of_its_state_saved(path: Path) -> None:
    """A text may be anything to SQLite, whose check finds nothing wrong."""
    journal = Journal(path, NOW)
    journal.commit([an_event()], {"standing": {"level": 5}, "heals": []})
    journal.close()
    for broken in ("'{'", "CAST(X'22ff22' AS TEXT)", "'\"many\"'"):
        edit(path, f"UPDATE state SET value = {broken} WHERE name = 'last_id'")
        again = Journal(path, NOW)
        assert again.set_aside is not None
        assert again.salvaged is not None
        assert [again.salvaged[name] for name in ("standing", "heals")] == [{"level": 5}, []]
        again.commit([], again.salvaged)
        again.close()


def test_a_damaged_journal_that_cannot_be_renamed_takes_nothing_until_it_can_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a file cannot be renamed while anybody has it open; the journal must not stay closed for ever."""
    journal = Journal(path, NOW)
    journal.commit([an_error()], {"standing": {"level": 5}})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _in_use)
        for _ in range(2):
            with pytest.raises(JournalError, match="in use"):
                journal.start_anew(NOW)
            with pytest.raises(JournalError) as refusal:
                journal.commit([an_error()])
            assert is_damage(refusal.value.__cause__), "so that who writes sets it aside again"
    assert journal.set_aside is None
    journal.start_anew(NOW)
    assert journal.set_aside is not None
    assert journal.salvaged is not None
    assert journal.salvaged["standing"] == {"level": 5}
    assert journal.commit([an_error()])[0].id == 2
    journal.close()
    assert rows(journal.set_aside, "SELECT count(*) FROM errors") == [(1,)]


def test_where_no_new_journal_can_be_begun_the_damaged_one_stays_in_its_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error()])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", _in_use)
        with pytest.raises(JournalError, match="in use"):
            journal.start_anew(NOW)
    assert rows(path, "SELECT count(*) FROM errors") == [(1,)]
    assert list(path.parent.glob("*damaged*")) == []
    journal.start_anew(NOW)
    assert journal.commit([an_error()])[0].id == 2
    journal.close()


def test_a_damaged_journal_that_cannot_be_renamed_at_the_start_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"not a database at all" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _in_use)
        with pytest.raises(JournalError, match="in use"):
            Journal(path, NOW)
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.skipif(sys.platform == "win32", reason="what somebody has open cannot be renamed there, so no log is left behind")
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_kill_between_the_renames_leaves_what_the_next_start_can_end(path: Path, after: int) -> None:
    """The log of the damaged file stays with it: to the new one it would be other pages' content."""
    killed = subprocess.run([sys.executable, "-c", RENAMER, str(path), str(after)], check=False, timeout=60)
    assert killed.returncode == 9
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.commit([an_event()])[0].id == 61
    again.close()
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "SELECT count(*) FROM errors") == [(0,)]
    assert rows(again.set_aside, "SELECT count(*) FROM errors") == [(60,)]
    assert sorted(file.name for file in path.parent.glob("*new*")) == []


RENAMER = """
import os, sqlite3, sys
from pathlib import Path
from resilience.journal.journal import Journal
from tests.resilience.journal.journals import flip
from tests.resilience.records import NOW, an_error
path, last = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(path, NOW)
journal.commit([an_error(key=str(one)) for one in range(40)])
reader = sqlite3.connect(path)  # so that the log is not folded back when the file is closed
reader.execute("BEGIN")
reader.execute("SELECT * FROM errors").fetchone()
journal.commit([an_error(key=str(one)) for one in range(40, 60)])
rename, done = Path.rename, []

def counted(self, target):
    rename(self, target)
    done.append(self)
    if len(done) == last:
        os._exit(9)

Path.rename = counted
journal.start_anew(NOW)
"""


def test_a_file_that_is_damaged_before_it_was_made_known_does_not_make_the_one_before_forgotten(path: Path) -> None:
    """Both are to be repaired."""
    for _ in range(3):
        path.write_bytes(b"rubbish" * 3000) if not path.exists() else edit(path, "UPDATE state SET value = '{' WHERE name = 'last_id'")
        journal = Journal(path, NOW)
        journal._db.conn.close()  # and nothing was committed
    assert journal.set_aside is not None
    names = [journal.set_aside.name, *journal.aside_before]
    assert len(set(names)) == 3
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert [again.set_aside.name, *again.aside_before] == names
    again.close()


def _in_use(*_: object, **__: object) -> None:
    raise PermissionError(13, "in use")
