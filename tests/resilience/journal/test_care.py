"""The care of the journal: what can be read of a damaged one comes back, damage is looked for, and backups are made."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from resilience import home
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.events import EventType
from resilience.journal.care import JournalCare
from resilience.journal.health import Repaired
from resilience.journal.history import MAX_ROWS, ErrorFilter
from resilience.journal.journal import Journal
from resilience.journal.schema import MIGRATIONS, ErrorRecord
from resilience.recovery.policy import Recovering
from resilience.testing import FakeClock
from tests.resilience.core.cores import choose, core_on, end, report
from tests.resilience.journal.journals import Stored, filled, flip, is_whole, read, root_of, spoil
from tests.resilience.records import NOW, an_error, an_event

ROWS = 2000


class World:
    """A core on a journal, and its care, which is called by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.clock = folder, folder / home.JOURNAL, FakeClock(NOW)
        self.cores: list[Core] = []

    def start(self, **recovery: Any) -> Core:
        """Another life, on what the one before has left."""
        self.core = core_on(Journal(self.path, self.clock.now()), self.clock, Settings(recovery=Recovering(**recovery)))
        self.cores.append(self.core)
        self.care = JournalCare(self.path, folder_of_backups(self.folder), self.core, self.clock)
        return self.core

    def stop(self) -> None:
        self.care.stop()
        end([self.core])

    def settle(self) -> None:
        """Does all that there is to do, a minute after the start."""
        self.clock.advance(61)
        while self.care.look():
            pass

    def old(self, stored: Stored) -> Stored:
        """What stands in the journal of what was ``stored``, which is right to the last letter, or this fails."""
        found = {number: one for number, one in read(self.path).items() if number in stored}
        assert found == {number: stored[number] for number in found}
        return found

    def outcome(self) -> Repaired:
        repaired = self.core.state.health.repaired
        assert repaired is not None
        return repaired

    def events(self, kind: EventType) -> list[dict[str, Any]]:
        return [one.body for one in self.core.history.events(0, MAX_ROWS, newest=True) if one.type == kind]


def folder_of_backups(folder: Path) -> Path:
    return folder / home.BACKUPS


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.care.stop()
    end(made.cores)


def served(core: Core) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every error that the core tells, whole."""
    before: int | None = None
    while page := core.history.errors(ErrorFilter(before=before), MAX_ROWS):
        before = page[-1].id
        for one in page:
            found = core.history.error(one.id)
            if found is not None:
                yield one.id, found.view()


def test_what_can_be_read_of_a_damaged_journal_comes_back(world: World) -> None:
    stored = filled(world.path, ROWS)
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    assert "being brought back" in core.state.notices[0].cause
    new = core.report([report(key="new")]).result(10)
    assert new[0] > max(stored)
    world.settle()
    assert world.old(stored) == stored
    assert is_whole(world.path)
    outcome = world.outcome()
    errors = sum(isinstance(one, ErrorRecord) for one in stored.values())
    assert (outcome.errors, outcome.events, outcome.from_backups, outcome.lost, outcome.gaps) == (errors, ROWS - errors, 0, 0, ())
    [said] = world.events(EventType.JOURNAL_REPAIRED)
    assert (said["errors"], said["events"], said["lost"]) == (errors, ROWS - errors, 0)
    [notice] = core.state.notices
    assert notice.name == "journal_set_aside"
    assert f"{errors} errors and {ROWS - errors} events were brought back; nothing else is known to be lost." in notice.cause
    assert core.state.health.to_repair == ()


def test_what_a_person_searches_for_is_found_again(world: World) -> None:
    stored = filled(world.path, 300)
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    number, wanted = next((number, ErrorFilter(text=f'"error {number - 1}"')) for number, one in stored.items() if isinstance(one, ErrorRecord))
    assert core.history.errors(wanted) == []
    world.settle()
    assert [one.id for one in core.history.errors(wanted)] == [number]


def test_the_words_of_a_group_stay_those_of_its_newest_error(world: World) -> None:
    filled(world.path, 300)
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    [new] = core.report([report(message="Too many requests")]).result(10)
    fingerprint = core.history.errors(ErrorFilter())[0].body["fingerprint"]
    world.settle()
    first = core.history.groups()[0]
    assert (first["fingerprint"], first["last_id"], first["count"]) == (fingerprint, new, 1)
    assert is_whole(world.path)


def test_what_an_agent_sent_again_meanwhile_is_not_there_twice(world: World) -> None:
    """Its key tells."""
    journal = Journal(world.path, NOW)
    journal.commit([an_error(key=f"k{number}") for number in range(500)])
    journal.close()
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    core.report([report(key="k7")]).result(10)
    world.settle()
    keys = [one.key for one in read(world.path).values() if isinstance(one, ErrorRecord)]
    assert sorted(keys) == sorted(f"k{number}" for number in range(500))
    assert world.outcome().errors == 499


def test_a_page_that_is_gone_takes_only_its_own_rows(world: World) -> None:
    stored = filled(world.path, ROWS)
    content = world.path.read_bytes()
    # Leaves of a table begin with 13; of the tables, only that of the errors has their operation in it as it is.
    leaves = [at for at in range(4096, len(content), 4096) if content[at] == 13 and b"ask" in content[at : at + 4096]]
    spoil(world.path, leaves[5])
    world.start()
    world.settle()
    found = world.old(stored)
    assert ROWS - 40 < len(found) < ROWS
    outcome = world.outcome()
    assert outcome.lost == ROWS - len(found)
    missing = set(stored) - set(found)
    spans = [tuple(map(int, gap.split("-"))) for gap in outcome.gaps]
    assert all(any(span[0] <= number <= span[-1] for span in spans) for number in missing)
    assert is_whole(world.path)


@pytest.mark.parametrize("what", ["errors", "events", "sqlite_master"])
def test_rows_that_sqlite_finds_no_more_are_read_from_their_pages(world: World, what: str) -> None:
    """Where the page that a table begins with is gone, all others are still there."""
    stored = filled(world.path, ROWS)
    spoil(world.path, 0 if what == "sqlite_master" else root_of(world.path, what))
    world.start()
    world.settle()
    assert world.old(stored) == stored
    assert is_whole(world.path)


def test_what_stands_in_the_log_alone_is_read_from_there(world: World) -> None:
    """As after a kill, when nothing was folded back into the file."""
    stored = filled(world.path, 1000)
    journal = Journal(world.path, NOW)
    late = journal.commit([an_error(key=f"late {number}", detail=b'{"stack":"' + b"z" * 9000 + b'"}') for number in range(50)])
    copies = {ending: world.path.with_name(world.path.name + ending).read_bytes() for ending in ("", "-wal")}
    journal.close()
    for ending, content in copies.items():
        world.path.with_name(world.path.name + ending).write_bytes(content)
    assert len(copies["-wal"]) > 50 * 9000
    spoil(world.path, 0)
    world.start()
    world.settle()
    assert world.old(stored) == stored
    assert {entry.id for entry in late} <= read(world.path).keys()


def test_what_is_missing_comes_from_the_newest_good_backup(world: World) -> None:
    stored = filled(world.path, ROWS)
    world.start()
    world.settle()
    assert world.core.state.health.backup is not None
    later = world.core.report([report(key="later")]).result(10)
    world.stop()
    newest = world.folder / home.BACKUPS / "journal-20990101-000000.db"
    newest.write_bytes(b"rubbish" * 1000)
    spoil(world.path, 4096, world.path.stat().st_size - 4096)
    world.start()
    world.settle()
    assert world.old(stored) == stored
    outcome = world.outcome()
    assert outcome.from_backups == ROWS
    assert outcome.lost is None, "nobody knows any more which id was the last"
    assert later[0] not in read(world.path)
    assert "of them from a backup" in outcome.said
    assert is_whole(world.path)


def test_of_a_file_that_is_none_nobody_can_tell_what_is_lost(world: World) -> None:
    world.path.write_bytes(os.urandom(50_000))
    world.start()
    world.settle()
    outcome = world.outcome()
    assert (outcome.errors, outcome.events, outcome.lost) == (0, 0, None)
    assert "nobody can tell" in world.core.state.notices[0].cause


def test_a_damaged_file_that_somebody_has_removed_is_no_longer_waited_for(world: World) -> None:
    filled(world.path, 300)
    spoil(world.path, root_of(world.path, "errors"))
    core = world.start()
    (world.folder / core.state.health.to_repair[0]).unlink()
    world.settle()
    assert core.state.health.to_repair == ()
    assert world.outcome().lost is None


def test_what_is_older_than_errors_are_kept_does_not_come_back(world: World) -> None:
    filled(world.path, 300)
    spoil(world.path, root_of(world.path, "errors_component"))
    world.clock.advance(200 * 86_400)
    world.start()
    world.settle()
    assert (world.outcome().errors, world.outcome().events) == (0, 0)


@pytest.mark.parametrize("seed", range(12))
def test_bits_that_flip_never_make_a_wrong_row_and_take_few(world: World, seed: int) -> None:
    """One to eight bits anywhere in a file with thousands of rows: WinClaw starts, and tells nothing that was never written."""
    dice = random.Random(seed)
    stored = filled(world.path, ROWS)
    bits = world.path.stat().st_size * 8
    flip(world.path, [dice.randrange(bits) for _ in range(dice.randint(1, 8))])
    core = world.start()
    right = {number: one.message for number, one in stored.items() if isinstance(one, ErrorRecord)}
    for number, event in served(core):
        assert event["message"] == right[number]
        assert event["stack"] == _stack(stored[number])
    world.settle()
    world.settle()
    found = world.old(stored)
    assert len(found) > ROWS * 0.98
    assert is_whole(world.path)
    assert dict(served(core)).keys() == {number for number, one in read(world.path).items() if isinstance(one, ErrorRecord)}
    repaired = core.state.health.repaired
    if repaired is not None:
        assert repaired.errors + repaired.events == len(found)
    assert len(found) == ROWS or repaired is not None


def _stack(one: object) -> str:
    assert isinstance(one, ErrorRecord)
    import msgspec

    return str(msgspec.json.decode(one.detail)["stack"])


@pytest.mark.parametrize(("what", "offset"), [("errors", 0), ("errors", 5), ("events", 3), ("state", 8), ("errors_fts_data", 20), ("groups", 30)])
def test_a_bit_at_a_chosen_place_never_makes_a_wrong_row(world: World, what: str, offset: int) -> None:
    """The heads of the pages that all else hangs from."""
    stored = filled(world.path, ROWS, state={"standing": None})
    for bit in range(8):
        flip(world.path, [(root_of(world.path, what) + offset) * 8 + bit])
    world.start()
    world.settle()
    world.settle()
    world.old(stored)
    assert is_whole(world.path)


def test_a_letter_that_flips_inside_a_text_is_not_told_and_found_at_once(world: World) -> None:
    """SQLite sees nothing wrong; the row's checksum does, and the check sets the file aside, all others in the new one."""
    stored = filled(world.path, 300)
    core = world.start()
    world.settle()
    world.stop()
    content = world.path.read_bytes()
    place = content.index(b"error 17 ")
    flip(world.path, [place * 8 + 1])
    core = world.start()
    assert core.state.notices == ()
    assert [event["message"] for _, event in served(core) if " 17 " in event["message"]] == []
    assert core.history.saw_damage
    while world.care.look():
        pass
    assert [one.name for one in core.state.notices] == ["journal_set_aside"]
    assert world.old(stored) == stored, "the one from the backup"
    assert (world.outcome().from_backups, world.outcome().lost) == (1, 0)
    world.settle()
    assert core.state.health.checked is not None
    assert core.state.health.checked.finding == ""


def test_rows_of_a_journal_without_checksums_are_told_and_brought_back_if_they_are_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written by a WinClaw that knew none: types and JSON have to do."""
    conn = sqlite3.connect(world.path)
    db = Database(conn)
    MIGRATIONS[0](db)
    conn.execute("PRAGMA user_version = 1")
    number = 0
    for number in range(1, 501):
        one = an_error(key=f"k{number}", message=f"error {number}")
        conn.execute(f"INSERT INTO errors VALUES ({', '.join('?' * 17)})", (number, *one))
        conn.execute("INSERT INTO errors_fts (rowid, message) VALUES (?, ?)", (number, one.message))
    conn.execute("UPDATE errors SET detail = '{' WHERE id = 7")
    conn.execute("INSERT INTO state VALUES ('last_id', '500')")
    conn.commit()
    conn.close()
    core = world.start()
    assert len(core.history.errors(ErrorFilter(), MAX_ROWS)) == 500
    world.stop()
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    [new] = core.report([report(key="new")]).result(10)
    assert new > 500
    world.settle()
    assert (world.outcome().errors, world.outcome().lost, world.outcome().gaps) == (499, 1, ("7",))


def test_the_level_is_no_other_because_a_bit_of_it_has_flipped(world: World) -> None:
    """Whether Safe Mode was on cannot be known any more: it is."""
    world.start()
    from resilience.degradation.levels import DegradationLevel

    choose(world.core, DegradationLevel.MINIMAL)
    world.stop()
    content = world.path.read_bytes()
    place = content.rindex(b'"pinned":')
    flip(world.path, [(place - 3) * 8])
    assert world.start().state.standing.level is DegradationLevel.SAFE_MODE


def test_a_check_is_made_on_schedule_and_kept(world: World) -> None:
    filled(world.path, 300)
    core = world.start(check_every_h=6)
    assert core.state.health.checked is None
    version = core.state.version
    world.settle()
    first = core.state.health.checked
    assert first is not None
    assert first.finding == ""
    assert core.state.version > version, "so that pages hear of it"
    world.clock.advance(5 * 3600)
    world.settle()
    assert core.state.health.checked == first
    world.stop()
    core = world.start(check_every_h=6)
    assert core.state.health.checked == first
    world.clock.advance(3600)
    world.settle()
    assert core.state.health.checked != first


def test_a_check_that_finds_damage_has_the_journal_set_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file that is too large to be checked when it is opened, and where nobody reads that page."""
    stored = filled(world.path, ROWS)
    spoil(world.path, root_of(world.path, "errors_fingerprint"))
    monkeypatch.setattr("resilience.damage._CHECKED_WHOLE_BYTES", 0)
    core = world.start(check_every_h=8760)
    assert core.state.notices == ()
    world.settle()
    assert [one.name for one in core.state.notices] == ["journal_set_aside"]
    assert len(world.events(EventType.JOURNAL_SET_ASIDE)) == 1
    assert world.old(stored) == stored
    assert is_whole(world.path)


def test_a_finding_of_a_file_that_was_set_aside_meanwhile_is_not_held_against_the_new_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", NOW)
    journal.start_anew(NOW)
    journal.suspect("broken", None)
    assert journal.commit([an_event()])
    journal.close()


def test_a_backup_is_whole_private_and_as_the_journal_was(world: World) -> None:
    stored = filled(world.path, 300)
    core = world.start()
    world.settle()
    [made] = (world.folder / home.BACKUPS).iterdir()
    assert core.state.health.backup is not None
    assert (core.state.health.backup.file, core.state.health.backup.bytes) == (made.name, made.stat().st_size)
    assert read(made).items() >= stored.items()
    assert is_whole(made)
    if os.name != "nt":
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_the_newest_backups_are_kept(world: World) -> None:
    world.start(backups=2, backup_every_h=1)
    names = []
    for _ in range(4):
        world.settle()
        names.append(sorted(one.name for one in (world.folder / home.BACKUPS).iterdir())[-1])
        world.clock.advance(3600)
    assert sorted(one.name for one in (world.folder / home.BACKUPS).iterdir()) == sorted(names)[-2:]


def test_no_backup_is_made_where_none_is_to_be_kept(world: World) -> None:
    world.start(backups=0)
    world.settle()
    assert not (world.folder / home.BACKUPS).exists()


def test_a_backup_that_fails_leaves_nothing_is_said_once_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(world.path, 300)
    core = world.start(backup_every_h=24)
    world.settle()
    [good] = (world.folder / home.BACKUPS).iterdir()
    world.clock.advance(24 * 3600)
    with monkeypatch.context() as patch:
        patch.setattr("resilience.journal.backup._prove", _full)
        world.settle()
        world.settle()
    assert [one.name for one in core.state.notices] == ["journal_backup"]
    assert [*(world.folder / home.BACKUPS).iterdir()] == [good]
    world.settle()
    assert [one.name for one in core.state.notices] == ["journal_backup"], "not so soon again"
    world.clock.advance(600)
    world.settle()
    assert core.state.notices == ()
    assert len([*(world.folder / home.BACKUPS).iterdir()]) == 2


def _full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_damage_that_only_a_backup_shows_has_the_journal_set_aside(world: World) -> None:
    """No check looks at the index of words, as nobody could write meanwhile; each backup would fail for it."""
    stored = filled(world.path, 300)
    number, one = next((number, one) for number, one in stored.items() if isinstance(one, ErrorRecord))
    conn = sqlite3.connect(world.path)
    words = (number, one.message, one.type, one.component, one.operation)
    conn.execute("INSERT INTO errors_fts (errors_fts, rowid, message, type, component, operation) VALUES ('delete', ?, ?, ?, ?, ?)", words)
    conn.commit()
    conn.close()
    core = world.start()
    world.settle()
    world.settle()
    assert world.old(stored) == stored
    assert "journal_set_aside" in [one.name for one in core.state.notices]
    world.clock.advance(600)
    world.settle()
    assert core.state.health.backup is not None
    assert is_whole(world.path)


def test_no_backup_is_made_before_all_that_can_be_was_brought_back(world: World) -> None:
    """It would lack that, and push out one that does not."""
    filled(world.path, 300)
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    assert core.state.health.to_repair
    assert not core.state.health.is_backup_due(world.clock.now(), 0.01)
    world.settle()
    assert core.state.health.is_backup_due(world.clock.now().replace(year=2030), 24)


def test_others_write_while_a_backup_is_made(world: World) -> None:
    """It reads one snapshot, and neither waits nor is waited for."""
    filled(world.path, ROWS)
    core = world.start()
    conn = sqlite3.connect(world.path, isolation_level=None)
    conn.execute("BEGIN")
    conn.execute("SELECT count(*) FROM errors").fetchone()
    assert core.report([report(key="meanwhile")]).result(10)
    world.settle()
    conn.close()
    assert core.state.health.backup is not None


def test_ending_breaks_off_what_is_under_way(world: World) -> None:
    filled(world.path, ROWS)
    spoil(world.path, root_of(world.path, "errors_component"))
    core = world.start()
    world.care._ending.set()
    assert not world.care.look()
    assert core.state.health.to_repair, "for the next WinClaw"

