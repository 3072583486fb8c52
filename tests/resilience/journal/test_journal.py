from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.clock import as_text
from resilience.damage import is_damage
from resilience.journal import journal as journal_module
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError
from resilience.journal.schema import Record
from tests.resilience.journal.journals import flip
from tests.resilience.records import NOW, an_error, an_event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path, NOW)
    yield opened
    opened.close()


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    conn = sqlite3.connect(path)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def edit(path: Path, sql: str) -> None:
    conn = sqlite3.connect(path)
    conn.execute(sql)
    conn.commit()
    conn.close()


def test_errors_and_events_get_ids_from_one_sequence(journal: Journal) -> None:
    written = journal.commit([an_error(), an_event(), an_error()])
    assert [entry.id for entry in written] == [1, 2, 3]


def test_a_key_sent_twice_is_stored_once(journal: Journal, path: Path) -> None:
    """Within one group as well as later: the second time it gets the id of the first."""
    first = journal.commit([an_error(key="k"), an_error(key="k"), an_error(key="other")])
    again = journal.commit([an_error(key="k")])
    assert [(entry.id, entry.new) for entry in [*first, *again]] == [(1, True), (1, False), (2, True), (1, False)]
    assert rows(path, "SELECT count(*) FROM errors") == [(2,)]


def test_a_group_is_written_whole_or_not_at_all(journal: Journal, path: Path) -> None:
    bad = an_error(severity=object())
    with pytest.raises(JournalError):
        journal.commit([an_error(), bad], {"standing": {"level": 5}})
    assert rows(path, "SELECT (SELECT count(*) FROM errors) + (SELECT count(*) FROM groups)") == [(0,)]
    assert journal.state("standing") is None
    assert journal.commit([an_error()])[0].id == 1


@pytest.mark.parametrize(
    ("record", "state"),
    [(an_event(component="\ud800"), None), (an_error(message="\ud800"), None), (an_event(), {"circuits": ["\ud800"]})],
    ids=["event", "error", "state"],
)
def test_half_a_character_refuses_its_group_and_no_other(journal: Journal, record: Record, state: dict[str, object] | None) -> None:
    """A lone surrogate is no UTF-8; SQLite never hears of it, and the transaction must not stay open."""
    with pytest.raises(UnicodeEncodeError):
        journal.commit([an_error(), record], state)
    assert [entry.id for entry in journal.commit([an_error()])] == [1]


def test_of_a_group_of_errors_the_group_keeps_the_latest_words(journal: Journal, path: Path) -> None:
    """As it does of errors that come one by one."""
    journal.commit([an_error(message="first", severity=2), an_error(message="second", severity=4, kind="security")])
    assert rows(path, "SELECT message, severity, kind, count, last_id FROM groups") == [("second", 4, "security", 2, 2)]


def test_state_is_written_with_the_records_and_read_back(path: Path) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_event()], {"standing": {"level": "SAFE_MODE"}})
    journal.close()
    again = Journal(path, NOW)
    assert again.state("standing") == {"level": "SAFE_MODE"}
    again.close()


def test_ids_go_on_even_when_everything_was_forgotten(path: Path) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error(), an_error()])
    journal.forget(NOW + timedelta(days=1), max_mb=1000)
    journal.close()
    again = Journal(path, NOW)
    assert again.commit([an_error()])[0].id == 3
    again.close()


def test_errors_are_rolled_up_by_fingerprint_and_minute(journal: Journal, path: Path) -> None:
    early, late = as_text(NOW), as_text(NOW + timedelta(seconds=90))
    journal.commit([an_error(at=early), an_error(at=late, message="newer"), an_error(fingerprint="f2")])
    journal.commit([an_error(at=late)])
    assert rows(path, "SELECT fingerprint, count, first_at, last_at, last_id FROM groups ORDER BY fingerprint") == [
        ("f1", 3, early, late, 4),
        ("f2", 1, early, early, 3),
    ]
    assert rows(path, "SELECT minute, count FROM minutes WHERE fingerprint = 'f1' ORDER BY minute") == [
        ("2026-01-01T12:00", 1),
        ("2026-01-01T12:01", 2),
    ]


def test_what_is_too_old_is_forgotten_everywhere(journal: Journal, path: Path) -> None:
    old = as_text(NOW - timedelta(days=100))
    journal.commit([an_error(at=old, fingerprint="old", message="ancient words"), an_error(fingerprint="new")])
    while journal.forget(NOW - timedelta(days=90), max_mb=1000):
        pass
    assert rows(path, "SELECT fingerprint FROM errors") == [("new",)]
    assert rows(path, "SELECT fingerprint FROM groups") == [("new",)]
    assert rows(path, "SELECT count(*) FROM minutes WHERE minute < '2026'") == [(0,)]
    assert rows(path, "SELECT count(*) FROM errors_fts WHERE errors_fts MATCH 'ancient'") == [(0,)]


def test_what_a_clock_left_that_was_ahead_keeps_nothing_else_from_being_forgotten(journal: Journal, path: Path) -> None:
    """Rows of next year stand before those that are too old, in whatever number; they stay until their time has come."""
    ahead, old, new = (as_text(NOW + timedelta(days=days)) for days in (400, -100, -1))
    journal.commit([an_error(at=ahead, fingerprint="ahead") for _ in range(7)] + [an_event()._replace(at=ahead) for _ in range(7)])
    journal.commit([an_error(at=old, fingerprint="old"), an_event()._replace(at=old)] * 20)
    journal.commit([an_error(at=new, fingerprint="new"), an_event()._replace(at=new)])
    looks = 1
    while journal.forget(NOW - timedelta(days=90), max_mb=1000, chunk=5):
        looks += 1
    assert looks == 5, "four that took five of each, and one that found nothing"
    for table in ("errors", "events"):
        assert rows(path, f"SELECT at, count(*) FROM {table} GROUP BY at ORDER BY at") == [(new, 1), (ahead, 7)]
    assert rows(path, "SELECT fingerprint, count FROM groups ORDER BY fingerprint") == [("ahead", 7), ("new", 1)]
    assert rows(path, "SELECT minute FROM minutes ORDER BY minute") == [(new[:16],), (ahead[:16],)]


def test_a_group_stays_while_one_of_its_errors_does(journal: Journal, path: Path) -> None:
    """The last to arrive need not be the youngest: an agent that was away sends late."""
    journal.commit([an_error(), an_error(at=as_text(NOW - timedelta(days=100)))])
    assert not journal.forget(NOW - timedelta(days=90), max_mb=1000)
    assert rows(path, "SELECT id FROM errors") == [(1,)]
    assert rows(path, "SELECT fingerprint FROM groups") == [("f1",)]
    assert not journal.forget(NOW + timedelta(days=1), max_mb=1000)
    assert rows(path, "SELECT (SELECT count(*) FROM groups) + (SELECT count(*) FROM minutes)") == [(0,)]


def test_damage_that_forgetting_finds_is_told_by_the_next_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which sets the file aside; else nothing old would ever be deleted again, for what is new is written elsewhere."""
    journal = Journal(path, NOW)
    journal.commit([an_error(at=as_text(NOW - timedelta(days=100)), message="x" * 3000) for _ in range(500)])
    journal.close()
    page = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'errors_at'")[0][0]
    with path.open("r+b") as file:
        file.seek((int(str(page)) - 1) * 4096)
        file.write(b"\xff" * 4096)
    monkeypatch.setattr("resilience.damage._CHECKED_WHOLE_BYTES", 0)
    journal = Journal(path, NOW)
    with pytest.raises(sqlite3.DatabaseError) as found:
        journal.forget(NOW - timedelta(days=90), max_mb=1000)
    with pytest.raises(JournalError) as refusal:
        journal.commit([an_event()])
    assert refusal.value.__cause__ is found.value
    assert is_damage(found.value)
    journal.start_anew(NOW)
    assert journal.commit([an_event()])[0].id == 501
    assert not journal.forget(NOW - timedelta(days=90), max_mb=1000)
    journal.close()


def test_the_oldest_go_first_when_the_file_is_too_large(journal: Journal, path: Path) -> None:
    journal.commit([an_error(detail=b'{"stack": "' + b"x" * 5000 + b'"}') for _ in range(1000)])
    while journal.forget(NOW - timedelta(days=90), max_mb=2, chunk=100):
        pass
    left = rows(path, "SELECT count(*), max(id) FROM errors")[0]
    assert 0 < left[0] < 500  # type: ignore[operator]
    assert left[1] == 1000


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


def test_a_schema_that_is_no_text_any_more_is_damage(path: Path) -> None:
    """Python says so by another error than those of SQLite."""
    journal = Journal(path, NOW)
    journal.commit([an_error()])
    journal.close()
    spoil_schema(path)
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.commit([an_error()])[0].id > 1
    again.close()


def test_a_schema_that_becomes_no_text_in_use_is_damage_to_whoever_reads_or_writes(path: Path) -> None:
    journal, history = Journal(path, NOW), History(path)
    journal.commit([an_error()])
    journal._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil_schema(path)
    conn = journal._db.conn
    journal._db = journal_module.Database(sqlite3.connect(path, isolation_level=None))  # another connection, which reads it anew
    conn.close()
    asks: list[Callable[[], object]] = [
        lambda: journal.commit([an_error()]), lambda: journal.state("x"), lambda: journal.states("x"),
        lambda: journal.forget(NOW, 1), lambda: history.events(0),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises((sqlite3.DatabaseError, JournalError)) as refusal:
            ask()
        error = refusal.value
        assert is_damage(error.__cause__ if isinstance(error, JournalError) else error)
    journal.close()


def spoil_schema(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"events_at ON events") + len(b"events_at ON ")
    path.write_bytes(content[:place] + b"\xe5" + content[place + 1 :])


def _in_use(*_: object, **__: object) -> None:
    raise PermissionError(13, "in use")


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version = 999")
    conn.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="newer WinClaw"):
        Journal(path, NOW)
    assert path.read_bytes() == before


@pytest.mark.parametrize("bit", range(32))
def test_a_version_that_has_flipped_is_damage_and_no_newer_version(path: Path, bit: int) -> None:
    """It would be refused at each start, or its tables made once more."""
    journal = Journal(path, NOW)
    journal.commit([an_error()], {"standing": {"level": 5}})
    journal.close()
    flip(path, [60 * 8 + bit])
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert (again.salvaged["standing"], again.last_id) == ({"level": 5}, 1)
    again.close()


def test_a_newer_version_with_tables_of_its_own_is_refused(path: Path) -> None:
    Journal(path, NOW).close()
    edit(path, "CREATE TABLE newer (x)")
    edit(path, "PRAGMA user_version = 3")
    with pytest.raises(JournalError, match="newer WinClaw"):
        Journal(path, NOW)


def test_a_journal_of_which_nothing_is_left_is_damaged(path: Path) -> None:
    """Ids go on from where none has been, and whether Safe Mode was on nobody knows."""
    path.touch()
    journal = Journal(path, NOW)
    assert journal.set_aside is not None
    assert journal.commit([an_error()])[0].id > 1_000_000
    journal.close()


def test_a_new_journal_that_cannot_be_begun_leaves_nothing_that_looks_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when WinClaw starts for the first time."""
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "MIGRATIONS", (_full,))
        with pytest.raises(JournalError, match="full"):
            Journal(path, NOW)
    assert list(path.parent.iterdir()) == []
    journal = Journal(path, NOW)
    assert journal.set_aside is None
    journal.close()


def _full(_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("name", ["standing", "last_id"])
@pytest.mark.parametrize("bit", range(8))
def test_a_name_in_the_state_that_has_flipped_is_damage(path: Path, name: str, bit: int) -> None:
    """Else Safe Mode would be forgotten, and ids begin again from one."""
    journal = Journal(path, NOW)
    journal.commit([an_error()], {"standing": {"level": 5}})
    journal.close()
    content = path.read_bytes()
    flip(path, [(content.rindex(name.encode()) + 3) * 8 + bit])
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert name not in again.salvaged
    assert again.commit([an_error()])[0].id > 1
    again.close()


@pytest.mark.parametrize("sql", ["DELETE FROM state", "DELETE FROM state WHERE name = 'last_id'"])
def test_a_journal_that_lacks_its_last_id_is_damaged(path: Path, sql: str) -> None:
    journal = Journal(path, NOW)
    journal.commit([an_error(), an_event()], {"standing": {"level": 5}})
    journal.close()
    edit(path, sql)
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.commit([an_error()])[0].id > 2
    again.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(path, NOW).close()

    def half(db: journal_module.Database) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("CREATE TABLE nonsense (")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "MIGRATIONS", (*journal_module.MIGRATIONS, half))
        with pytest.raises(JournalError):
            Journal(path, NOW)
    again = Journal(path, NOW)
    assert again.set_aside is None
    assert rows(path, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]
    again.close()


def test_of_a_file_that_is_too_large_the_oldest_goes_whatever_it_is(path: Path) -> None:
    """The audit log is short, and would be gone before the first error if each table were cut by itself."""
    journal = Journal(path, NOW)
    journal.commit([an_error(key=str(number)) for number in range(1500)])
    journal.commit([an_event(), an_event()])
    assert journal.forget(NOW - timedelta(days=90), max_mb=0.01)
    journal.close()
    assert rows(path, "SELECT count(*) FROM events") == [(2,)]
    assert rows(path, "SELECT count(*), min(id) FROM errors") == [(1000, 501)]


def test_of_few_rows_that_are_too_large_the_younger_half_stays_each_time(journal: Journal, path: Path) -> None:
    """A chunk may be all there is; what was acknowledged a moment ago does not go with what is old."""
    assert not journal.forget(NOW - timedelta(days=90), max_mb=0), "there is nothing yet"
    journal.commit([an_event() for _ in range(4)])
    left = []
    for _ in range(4):
        assert not journal.forget(NOW - timedelta(days=90), max_mb=0)
        left.append([row[0] for row in rows(path, "SELECT id FROM events")])
    assert left == [[3, 4], [4], [4], [4]]


WRITER = """
import sys
from pathlib import Path
from resilience.journal.journal import Journal
from resilience.journal.schema import Record
from tests.resilience.journal.journals import flip
from tests.resilience.records import NOW, an_error
journal = Journal(Path(sys.argv[1]), NOW)
number = 0
while True:
    journal.commit([an_error(key=str(number + one)) for one in range(7)])
    number += 7
    print(number, flush=True)
"""


@pytest.mark.parametrize("groups", [1, 5, 23])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX; the Windows bench has its own")
def test_what_was_committed_survives_kill_9(path: Path, groups: int) -> None:
    """A writer is killed in the middle of its work: everything it announced is there, and no group is there by half."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    announced = 0
    for _ in range(groups):
        announced = int(writer.stdout.readline())
    writer.kill()
    announced = max([announced, *(int(line) for line in writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()
    Journal(path, NOW).close()
    stored = rows(path, "SELECT count(*) FROM errors")[0][0]
    assert isinstance(stored, int)
    assert stored >= announced
    assert stored % 7 == 0
    assert rows(path, "SELECT sum(count) FROM groups") == [(stored,)]
