"""A home is exported to one file and restored from it: all that makes the state is the same, and nothing is ever half."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from resilience.damage import DamagedError
from resilience.exporting import placing
from resilience.exporting.archive import Archive
from resilience.exporting.bundle import TABLES, Kind
from resilience.exporting.export import ExportError
from resilience.exporting.restore import RestoreError, compare, restore
from resilience.journal.journal import Journal
from resilience.outbox.store import waiting_in
from resilience.transactions.file import unfinished_in
from tests.disks import small_disk
from tests.program import REPOSITORY
from tests.resilience.exporting.exporting import (
    Machine,
    a_machine,
    contents,
    is_private,
    process_record,
    reading,
    restored,
    rows_of,
)
from tests.resilience.records import NOW, an_error

NOT_STATE = ("endpoint.json", "operator.json", "logs/", "backups/", "processes/gateway/output.log", "alive")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return a_machine(tmp_path / "home")


def test_restore_of_an_export_on_an_empty_home_equals_the_original(machine: Machine, tmp_path: Path) -> None:
    """Compared by another code than the product's own: files by their bytes, databases by all rows of all tables."""
    manifest = machine.export(tmp_path / "x.zip")
    done = restored(tmp_path / "x.zip", tmp_path / "new")
    assert done.is_same
    before = {name: held for name, held in contents(machine.folder).items() if not name.startswith(NOT_STATE)}
    after = contents(tmp_path / "new")
    record = "processes/gateway/process.json"
    assert process_record(after.pop(record)) == {**process_record(before.pop(record)), "identity": None}
    assert after == before
    assert len(after) == len(manifest.parts) - 1
    assert manifest.left_out == ()
    assert all(is_private(path) for path in (tmp_path / "new").rglob("*"))
    assert is_private(tmp_path / "x.zip")


def test_every_line_of_the_comparison_says_what_there_is(machine: Machine, tmp_path: Path) -> None:
    machine.export(tmp_path / "x.zip")
    done = restored(tmp_path / "x.zip", tmp_path / "new")
    assert {one.what: (one.held, one.differs) for one in done.compared} == {
        "checkpoints": ("4 files", ()), "config_versions": ("1 file", ()), "error_handling_config.yaml": ("1 file", ()),
        "held.json": ("1 file", ()), "journal.db": ("20 errors, 1 events, 3 groups, 3 minutes, 3 state, 0 samples", ()),
        "outbox/mailer.db": ("1 messages", ()), "processes": ("1 file", ()), "spool": ("1 file", ()),
        "transactions/mailer.db": ("1 transactions, 1 steps", ()),
    }  # fmt: skip


def test_what_is_not_in_it_is_named_with_the_reason(machine: Machine, tmp_path: Path) -> None:
    machine.write("journal.damaged-20260101-000000.db", b"x")
    machine.write("notes.txt", b"mine")
    assert {one.name: one.why for one in machine.export(tmp_path / "x.zip").not_in} == {
        "endpoint.json": "a secret of its own, made anew", "operator.json": "a secret of its own, made anew",
        "logs": "logs; --with-logs adds them", "backups": "copies of the journal",
        "processes": "output and working folders of processes", "notes.txt": "no part of WinClaw's state",
        "journal.damaged-20260101-000000.db": "damaged, and kept where it is",
    }  # fmt: skip


def test_logs_are_added_where_that_is_wanted_but_not_what_would_tell_of_a_death(machine: Machine, tmp_path: Path) -> None:
    machine.export(tmp_path / "x.zip", with_logs=True)
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same
    assert [path.name for path in (tmp_path / "new" / "logs").iterdir()] == ["winclaw.jsonl"]


def test_what_was_restored_is_used_as_it_was_before(machine: Machine, tmp_path: Path) -> None:
    """The journal goes on with its ids, checkpoints load, the message waits once, the transaction is still to be undone."""
    machine.export(tmp_path / "x.zip")
    restored(tmp_path / "x.zip", tmp_path / "new")
    other = Machine.__new__(Machine)
    other.folder = tmp_path / "new"
    journal = Journal(tmp_path / "new" / "journal.db", NOW)
    assert journal.set_aside is None
    assert [one.id for one in journal.commit([an_error()])] == [22]
    journal.close()
    assert machine.checkpoints.get_latest_checkpoint("memory").state["notes"] == ["ö", 2]  # type: ignore[union-attr]
    assert waiting_in(tmp_path / "new" / "outbox" / "mailer.db") == {"courier": 1}
    [one] = unfinished_in(tmp_path / "new" / "transactions")
    assert (one.transaction, one.state, one.left[0].kept) == ("send", "abandoned", '{"draft": 7}')
    with reading(tmp_path / "new" / "outbox" / "mailer.db") as conn:
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_winclaw_that_ran_has_said_goodbye_in_the_export(machine: Machine, tmp_path: Path) -> None:
    """Else the restored one would take the export for a crash, and three restores for a crash loop."""
    machine.journal(lives={"crashes": ["2026-01-01T11:59:00Z"], "running": True})
    manifest = machine.export(tmp_path / "x.zip")
    restored(tmp_path / "x.zip", tmp_path / "new")
    journal = Journal(tmp_path / "new" / "journal.db", NOW)
    assert journal.state("lives") == {"crashes": ["2026-01-01T11:59:00Z"], "running": False}
    journal.close()
    assert any("goodbye" in one for one in manifest.changed)
    assert next(row for row in rows_of(machine.folder / "journal.db")["state"] if row[0] == "lives")[1].endswith('"running":true}')


def test_an_older_journal_without_checksums_is_exported_too(machine: Machine, tmp_path: Path) -> None:
    with reading(machine.folder / "journal.db") as conn:
        for table, column in (("errors", "sum"), ("errors", "detail_sum"), ("events", "sum"), ("state", "sum")):
            conn.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        conn.execute("DROP TABLE samples")
        conn.execute("DROP INDEX events_component")
        conn.execute("""UPDATE state SET value = '{"crashes":[],"running":true}' WHERE name = 'lives'""")
        conn.execute("UPDATE errors SET message = 'passphrase=geheim1' WHERE id = 1")
        conn.execute("PRAGMA user_version = 1")
        conn.commit()
    manifest = machine.export(tmp_path / "x.zip", names=["passphrase"])
    assert (manifest.journal, manifest.left_out[0].places) == (1, ("error 1, message",))
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same
    journal = Journal(tmp_path / "new" / "journal.db", NOW)
    assert (journal.set_aside, journal.state("lives")["running"]) == (None, False)
    journal.close()


def test_it_is_exported_while_it_is_written(machine: Machine, tmp_path: Path) -> None:
    """A snapshot: all rows up to one id, each whole, and no later one; whoever writes goes on."""
    ending, journal = threading.Event(), Journal(machine.folder / "journal.db", NOW)

    def write() -> None:
        number = 0
        while not ending.is_set():
            number += 1
            journal.commit([an_error(message=f"more {number}", fingerprint="f0")], {"number": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        machine.export(tmp_path / "x.zip")
    finally:
        ending.set()
        writer.join()
    journal.close()
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same
    now, then = rows_of(machine.folder / "journal.db"), rows_of(tmp_path / "new" / "journal.db")
    assert 20 <= len(then["errors"]) <= len(now["errors"])
    last = max(row[0] for row in then["errors"])
    assert then["errors"] == [row for row in now["errors"] if row[0] <= last]
    [count] = [row[7] for row in then["groups"] if row[0] == "f0"]
    assert count == sum(row[10] == "f0" for row in then["errors"])


def test_a_file_that_is_there_is_not_replaced_unless_that_was_said(machine: Machine, tmp_path: Path) -> None:
    target = tmp_path / "x.zip"
    target.write_bytes(b"mine")
    with pytest.raises(ExportError, match="already"):
        machine.export(target)
    assert target.read_bytes() == b"mine"
    machine.export(target, force=True)
    assert zipfile.is_zipfile(target)
    with pytest.raises(ExportError, match="already"):
        machine.export(tmp_path, force=True)
    with pytest.raises(ExportError, match="no folder"):
        machine.export(tmp_path / "gone" / "x.zip")


@pytest.mark.parametrize("name", ["x.zip", "x [1].zip"])
def test_an_export_that_was_killed_leaves_nothing_that_stays(machine: Machine, tmp_path: Path, name: str) -> None:
    left = tmp_path / f".{name}.abc.partial"
    left.mkdir()
    (left / "export.zip").write_bytes(b"half")
    machine.export(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", name]


def test_nothing_is_exported_of_an_empty_home(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nothing to export"):
        Machine(tmp_path / "home").export(tmp_path / "x.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_damaged_journal_is_not_exported_and_it_is_said_what_to_do(machine: Machine, tmp_path: Path) -> None:
    (machine.folder / "journal.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(ExportError, match="start WinClaw"):
        machine.export(tmp_path / "x.zip")


def test_what_else_is_damaged_is_named_and_the_rest_is_exported(machine: Machine, tmp_path: Path) -> None:
    [path, *_] = sorted((machine.folder / "checkpoints" / "memory" / "component").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (machine.folder / "outbox" / "mailer.db").write_bytes(b"no database at all" * 1000)
    (machine.folder / "held.json").write_bytes(b"{")
    manifest = machine.export(tmp_path / "x.zip")
    told = {one.name: one.why for one in manifest.not_in if one.why.startswith("damaged")}
    assert sorted(told) == [path.relative_to(machine.folder).as_posix(), "held.json", "outbox/mailer.db"]
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same


def test_a_home_that_is_not_empty_is_refused_and_named(machine: Machine, tmp_path: Path) -> None:
    machine.export(tmp_path / "x.zip")
    before = contents(machine.folder)
    with pytest.raises(RestoreError, match=r"not empty: there is alive, backups, checkpoints, config_versions.*--force"):
        restored(tmp_path / "x.zip", machine.folder)
    assert contents(machine.folder) == before


def test_folders_without_anything_in_them_are_no_reason_to_refuse(machine: Machine, tmp_path: Path) -> None:
    machine.export(tmp_path / "x.zip")
    (tmp_path / "new" / "spool").mkdir(parents=True)
    (tmp_path / "new" / "spool" / "1-abc.spool").touch()  # of an agent that has just begun
    (tmp_path / "new" / "winclaw.lock").touch()
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same


def test_with_force_what_is_there_is_set_aside_and_nothing_is_deleted(machine: Machine, tmp_path: Path) -> None:
    machine.export(tmp_path / "x.zip")
    before = contents(machine.folder)
    done = restored(tmp_path / "x.zip", machine.folder, force=True)
    assert done.is_same
    assert done.aside is not None
    assert contents(done.aside) == before
    again = restored(tmp_path / "x.zip", machine.folder, force=True)
    assert again.aside is not None
    assert again.aside != done.aside


@pytest.mark.skipif(sys.platform == "win32", reason="there, a link needs rights that not every user has")
def test_a_link_that_leads_nowhere_is_set_aside_like_all_else(machine: Machine, tmp_path: Path) -> None:
    """A browser in the working folder of a process has such a lock."""
    machine.export(tmp_path / "x.zip")
    link = tmp_path / "new" / "processes" / "SingletonLock"
    link.parent.mkdir(parents=True)
    link.symlink_to("host-123")
    with pytest.raises(RestoreError, match="is not empty: there is processes"):
        restored(tmp_path / "x.zip", tmp_path / "new")
    done = restored(tmp_path / "x.zip", tmp_path / "new", force=True)
    assert done.aside is not None
    assert (done.aside / "processes" / "SingletonLock").is_symlink()


def test_what_differs_is_named_row_by_row(machine: Machine, tmp_path: Path) -> None:
    manifest = machine.export(tmp_path / "x.zip")
    restored(tmp_path / "x.zip", tmp_path / "new")
    with reading(tmp_path / "new" / "journal.db") as conn:
        conn.execute("PRAGMA journal_mode = DELETE")
        conn.execute("UPDATE errors SET message = 'other' WHERE id = 3")
        conn.execute("DELETE FROM events")
        conn.commit()
    (tmp_path / "new" / "held.json").unlink()
    (tmp_path / "new" / "error_handling_config.yaml").write_text("")
    assert [said for one in compare(tmp_path / "new", manifest) for said in one.differs] == [
        "error_handling_config.yaml is another file", "held.json is missing", "journal.db: rows of errors are others",
        "journal.db: events has 0 rows, and had 1", "journal.db is another file",
    ]  # fmt: skip


def test_a_full_disk_leaves_no_half_export_and_says_so(machine: Machine, tmp_path: Path) -> None:
    machine.journal(2000)
    with small_disk(tmp_path / "small") as disk:
        with pytest.raises(ExportError, match=r"full|space"):
            machine.export(disk / "x.zip")
        assert list(disk.iterdir()) == []


def test_a_disk_without_room_is_refused_before_anything_is_written(machine: Machine, tmp_path: Path) -> None:
    machine.journal(2000)
    machine.export(tmp_path / "x.zip")
    with small_disk(tmp_path / "small") as disk:
        with pytest.raises(RestoreError, match="free"):
            restored(tmp_path / "x.zip", disk / "home")
        assert list((disk / "home").iterdir()) == []


def test_a_disk_that_fills_up_in_the_middle_of_a_restore_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    """Each file takes a page at least, so many small ones need more than their bytes."""
    for number in range(40):
        machine.checkpoints.create_checkpoint("component", "memory", {"number": number})
    for name in ("journal.db", "outbox/mailer.db", "transactions/mailer.db"):
        (machine.folder / name).unlink()
    machine.export(tmp_path / "x.zip")
    with small_disk(tmp_path / "small", size_kb=128) as disk:
        with pytest.raises(RestoreError, match="cannot be written: No space"):
            restored(tmp_path / "x.zip", disk)
        assert list(disk.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from tests.resilience.exporting.exporting import restored
left = int(sys.argv[3])
def hook(event, args):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(hook)
restored(Path(sys.argv[1]), Path(sys.argv[2]), force=True)
"""


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one_and_the_other_aside(machine: Machine, tmp_path: Path) -> None:
    """At each renaming: what was decided on is brought to its end by the next one, what was not is as if it had not begun."""
    machine.export(tmp_path / "x.zip")
    restored(tmp_path / "x.zip", tmp_path / "new")
    new, old = contents(tmp_path / "new"), {"held.json": b'{"level":"FULL"}', "notes/a.txt": b"mine"}
    decided = list[bool]()
    for at in range(100):
        folder = tmp_path / f"killed{at}"
        for name, content in old.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x.zip"), str(folder), str(at)], cwd=REPOSITORY, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9
        decided.append(placing.finish(folder, NOW))
        found = contents(folder)
        kept = {name.partition("/")[2]: one for name, one in found.items() if name.startswith("before-restore-")}
        stands = {name: one for name, one in found.items() if not name.startswith("before-restore-")}
        assert (stands, {name.partition("/")[2] or name: one for name, one in kept.items()} if not decided[-1] else kept) == (
            (new, old) if decided[-1] else (old, {})
        )
    assert decided == sorted(decided)
    assert len(decided) > 10
    assert not decided[0]
    assert decided[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there, a link needs rights that not every user has")
def test_what_cannot_be_moved_leaves_all_as_it_was(machine: Machine, tmp_path: Path) -> None:
    """As on Windows, where an agent has a file open: a lock file that nobody may remove stands in for that."""
    machine.export(tmp_path / "x.zip")
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "held.json").write_bytes(b"{}")
    blocked = folder / f"{placing.ASIDE}{NOW:%Y%m%d-%H%M%S}"
    blocked.symlink_to(tmp_path / "nowhere")  # is not there to be seen, and cannot be made
    with pytest.raises(RestoreError), Archive(tmp_path / "x.zip") as archive:
        restore(archive, folder, NOW, force=True)
    assert sorted(path.name for path in folder.iterdir()) == [blocked.name, "held.json"]


def test_all_tables_of_all_databases_are_compared(machine: Machine) -> None:
    """A table that is added to one of them must be added there, too, or its rows would be proven by nobody."""
    for kind, name in ((Kind.JOURNAL, "journal.db"), (Kind.OUTBOX, "outbox/mailer.db"), (Kind.TRANSACTIONS, "transactions/mailer.db")):
        assert sorted(rows_of(machine.folder / name)) == sorted(TABLES[kind])


def test_a_database_with_a_trigger_is_refused(machine: Machine, tmp_path: Path) -> None:
    with reading(machine.folder / "journal.db") as conn:
        conn.execute("CREATE TRIGGER evil AFTER INSERT ON errors BEGIN DELETE FROM events; END")
    with pytest.raises(ExportError, match="trigger"):
        machine.export(tmp_path / "x.zip")
    assert issubclass(DamagedError, sqlite3.DatabaseError)


def test_a_text_that_is_none_is_compared_as_the_bytes_that_it_is(machine: Machine, tmp_path: Path) -> None:
    with reading(machine.folder / "journal.db") as conn:
        conn.execute("UPDATE errors SET message = CAST(x'ff' AS TEXT) WHERE id = 2")
        conn.commit()
    machine.export(tmp_path / "x.zip")
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as found:
        return found.namelist()


def test_the_file_is_a_plain_zip_that_any_program_opens(machine: Machine, tmp_path: Path) -> None:
    manifest: Any = machine.export(tmp_path / "x.zip")
    assert sorted(names_in(tmp_path / "x.zip")) == sorted([*(part.name for part in manifest.parts), "manifest.json"])
