"""A disk that takes nothing, and a journal that another program holds: it is said, decisions go on, and the gap is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience import home
from resilience.core.core import Core
from resilience.core.gap import MAX_OWED
from resilience.core.inputs import Offered, ProcessTold, Waiting
from resilience.degradation.levels import DegradationLevel
from resilience.events import AuditReport, CircuitReport, EventType, Heartbeat
from resilience.journal.care import JournalCare
from resilience.journal.history import MAX_ROWS
from resilience.journal.journal import Journal, JournalError
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.testing import FakeClock
from tests.resilience.core.cores import SAFE, choose, core_on, end, journal_of, report
from tests.resilience.journal.journals import filled, is_whole, read, root_of, spoil
from tests.resilience.records import NOW, an_error, an_event

FULL = sqlite3.OperationalError("database or disk is full")


def events(core: Core) -> list[tuple[str, str]]:
    return [(one.type, one.component) for one in core.history.events(0, MAX_ROWS)]


def gap_of(core: Core) -> dict[str, Any]:
    [body] = [one.body for one in core.history.events(0, MAX_ROWS, newest=True) if one.type == EventType.JOURNAL_GAP]
    return body


# With a journal that refuses when it is told to.


def test_what_happens_while_the_disk_is_full_holds_at_once_and_is_written_first_with_its_own_time(core: Core, clock: FakeClock) -> None:
    journal_of(core).failure = FULL
    began = clock.now()
    opened = CircuitReport(service="gpt-5.2", state="OPEN", change=1, because="3 calls failed", retry_after_s=60)
    core.beat(Heartbeat(agent="a", pid=1, circuits=(opened,))).result(10)
    core.tell(ProcessTold("gateway", ProcessStatus(name="gateway", state=ProcessState.RUNNING, since=clock.now()))).result(10)
    core.tell(Waiting({"mail": 3})).result(10)
    core.tell(Offered("toast", True)).result(10)
    core.announce(EventType.PROCESS_STARTED, "gateway", pid=7).result(10)
    state = core.state
    assert [agent.name for agent in state.agents.values()] == ["a"]
    assert state.services.circuits["gpt-5.2"].state == "OPEN"
    assert (state.processes["gateway"].state, state.waiting, state.offered) == (ProcessState.RUNNING, {"mail": 3}, {"toast"})
    assert [notice.name for notice in state.notices] == ["journal"]
    assert events(core) == [], "nobody sees an event without an id"
    clock.advance(90)
    journal_of(core).failure = None
    ids = core.report([report()]).result(10)
    assert events(core)[:5] == [
        ("agent.connected", "a"), ("circuit.opened", "gpt-5.2"), ("level.changed", "level"), ("process.started", "gateway"),
        ("journal.gap", "journal"),
    ]  # fmt: skip
    told = core.history.events(0, MAX_ROWS)
    assert told[0].at == told[3].at < told[4].at
    assert core.history.error(ids[0]) is not None
    gap = gap_of(core)
    assert (gap["written"], gap["lost"], gap["why"]) == (4, 0, "database or disk is full")
    assert gap["since"][:19] == began.isoformat()[:19]
    assert core.state.notices == ()


def test_commands_and_reports_are_refused_meanwhile(core: Core, clock: FakeClock) -> None:
    journal_of(core).failure = FULL
    who = {"actor": "test", "origin": "here"}
    refused: list[Callable[[], Any]] = [
        lambda: core.set_level(DegradationLevel.MINIMAL, **who), lambda: core.switch_circuit("gpt-5.2", "isolate", **who),
        lambda: core.snooze_alerts(60, **who), lambda: core.report([report()]),
        lambda: core.announce(EventType.COMMAND, "gateway", asked="start", **who),
    ]  # fmt: skip
    for command in refused:
        with pytest.raises(JournalError):
            command().result(10)
    state = core.state
    assert (state.standing.level, state.snoozed_until, dict(state.isolations)) == (DegradationLevel.FULL, None, {})
    journal_of(core).failure = None
    core.announce(EventType.APP_STARTED, "x").result(10)
    assert events(core) == [("journal.gap", "journal"), ("app.started", "x")]


def test_safe_mode_holds_and_who_chose_it_is_in_the_audit_log_later(core: Core) -> None:
    journal_of(core).failure = FULL
    with pytest.raises(JournalError):
        choose(core, SAFE)
    assert core.state.standing.level is SAFE
    journal_of(core).failure = None
    core.announce(EventType.APP_STARTED, "x").result(10)
    assert [kind for kind, _ in events(core)] == ["command", "level.changed", "journal.gap", "app.started"]


def test_of_a_heartbeat_with_an_audit_all_but_that_holds_and_it_is_sent_again(core: Core) -> None:
    journal_of(core).failure = FULL
    beat = Heartbeat(agent="a", pid=1, audit=(AuditReport(service="mail", operation="send", refused=2),))
    with pytest.raises(JournalError):
        core.beat(beat).result(10)
    assert [agent.name for agent in core.state.agents.values()] == ["a"]
    journal_of(core).failure = None
    core.beat(beat).result(10)
    assert [kind for kind, _ in events(core)] == ["agent.connected", "journal.gap", "audit"]


def test_an_error_that_was_refused_counts_once_when_it_is_sent_again(core: Core, start: Callable[[], Core]) -> None:
    """For the rules, for the alerts, and in its group."""
    journal_of(core).failure = FULL
    fatal = report(type="MemoryPressureError", severity="FATAL", key="k")
    for _ in range(5):
        with pytest.raises(JournalError):
            core.report([fatal]).result(10)
    assert core.state.alerts == {}
    before = core.state.tally
    journal_of(core).failure = None
    core.report([fatal]).result(10)
    assert [alert.messages for alert in core.state.alerts.values()] == [1]
    assert [group["count"] for group in core.history.groups()] == [1]
    assert sum(count.errors for bucket in core.state.tally.buckets.values() for count in _counts(bucket)) <= 1
    assert before.buckets == {}


def _counts(bucket: Any) -> list[Any]:
    return [one for one in (bucket.values() if hasattr(bucket, "values") else bucket) if hasattr(one, "errors")]


def test_facts_hold_in_their_order_though_commands_between_them_are_refused(core: Core) -> None:
    """All of one group, while the journal's thread is busy."""
    journal = journal_of(core)
    journal.may_go_on.clear()
    first = core.announce(EventType.APP_STARTED, "x")
    told = [core.tell(Waiting({"mail": number})) for number in range(3)]
    isolated = core.switch_circuit("mail", "isolate", actor="test", origin="here")
    last = core.tell(Waiting({"mail": 7}))
    journal.failure = FULL
    journal.may_go_on.set()
    for future in (first, *told, last):
        assert future.result(10) == []
    with pytest.raises(JournalError):
        isolated.result(10)
    assert core.state.waiting == {"mail": 7}
    assert dict(core.state.isolations) == {}


def test_a_flood_while_the_disk_is_full_stays_in_bounds_and_what_is_lost_is_counted(core: Core) -> None:
    journal_of(core).failure = FULL
    for number in range(MAX_OWED + 250):
        core.announce(EventType.PROCESS_STARTED, f"p{number}", pid=number).result(10)
    journal_of(core).failure = None
    core.announce(EventType.APP_STARTED, "x").result(10)
    assert (gap_of(core)["written"], gap_of(core)["lost"]) == (MAX_OWED, 250)
    assert core.history.events(0, 1)[0].component == "p0"


def test_half_a_character_is_not_owed_to_the_journal(core: Core) -> None:
    """Else nothing that follows it could ever be written."""
    journal_of(core).failure = FULL
    opened = CircuitReport(service="\ud800", state="OPEN", change=1)
    with pytest.raises(UnicodeEncodeError):
        core.beat(Heartbeat(agent="a", pid=1, circuits=(opened,))).result(10)
    assert core.state.agents == {}
    journal_of(core).failure = None
    assert core.report([report()]).result(10)


def test_what_is_owed_is_written_by_the_goodbye(core: Core, start: Callable[[], Core]) -> None:
    journal_of(core).failure = FULL
    core.announce(EventType.PROCESS_STARTED, "gateway").result(10)
    journal_of(core).failure = None
    core.stop()
    assert events(core) == [("process.started", "gateway"), ("journal.gap", "journal")]


# With SQLite's own limits, and real disks.


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Core]:
    """A core on a real journal that may not grow any more."""
    clock = FakeClock(NOW)
    core = core_on(Journal(tmp_path / home.JOURNAL, NOW), clock)
    yield core
    _limit(core, 2**30)
    end([core])


def _limit(core: Core, pages: int | None = None) -> None:
    """Has the journal's file take no more pages than it has, or so many."""

    def limit(journal: Journal) -> None:
        now = journal._db.conn.execute("PRAGMA page_count").fetchone()[0]
        journal._db.conn.execute(f"PRAGMA max_page_count = {pages or now}")

    core.on_journal(limit).result(10)


def test_a_file_that_may_not_grow_refuses_reports_and_takes_them_later(real: Core, tmp_path: Path) -> None:
    _limit(real)
    taken, refused = 0, 0
    for number in range(60):
        try:
            real.report([report(key=f"k{number}", message="x" * 500)]).result(10)
            taken += 1
        except JournalError:
            refused += 1
    assert refused
    assert "full" in real.state.notices[0].cause
    real.beat(Heartbeat(agent="a", pid=1)).result(10)
    _limit(real, 2**30)
    real.report([report(key=f"k{number}", message="x" * 500) for number in range(60)]).result(10)
    stored = read(tmp_path / home.JOURNAL)
    assert len([one for one in stored.values() if getattr(one, "key", None)]) == 60
    assert ("journal.gap", "journal") in events(real)
    assert is_whole(tmp_path / home.JOURNAL)


def test_repair_waits_for_a_file_that_may_grow_and_then_goes_on(tmp_path: Path) -> None:
    stored = filled(tmp_path / home.JOURNAL, 1000)
    spoil(tmp_path / home.JOURNAL, root_of(tmp_path / home.JOURNAL, "errors_component"))
    clock = FakeClock(NOW)
    core = core_on(Journal(tmp_path / home.JOURNAL, NOW), clock)
    care = JournalCare(tmp_path / home.JOURNAL, tmp_path / home.BACKUPS, core, clock)
    core.announce(EventType.APP_STARTED, "x").result(10)
    _limit(core, 60)
    assert not care.look()
    assert core.state.health.to_repair
    assert len(read(tmp_path / home.JOURNAL)) < len(stored)
    _limit(core, 2**30)
    while care.look():
        pass
    repaired = core.state.health.repaired
    assert repaired is not None
    assert repaired.errors + repaired.events == len(stored)
    assert {number: one for number, one in read(tmp_path / home.JOURNAL).items() if number in stored} == stored
    care.stop()
    end([core])


def _may_mount() -> bool:
    return sys.platform == "linux" and shutil.which("mount") is not None and os.geteuid() == 0


@contextmanager
def small_disk(at: Path, kb: int) -> Iterator[Path]:
    """A disk of its own, of so many KB."""
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kb}k", "winclaw-test", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(disk: Path) -> Path:
    """Leaves no room on ``disk``; returns the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


needs_mount = pytest.mark.skipif(not _may_mount(), reason="a small disk of one's own takes Linux and root")


@needs_mount
def test_a_real_disk_that_is_full_refuses_commits_and_takes_them_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        core = core_on(Journal(disk / home.JOURNAL, NOW), FakeClock(NOW))
        core.report([report(key="before")]).result(10)
        ballast = fill(disk)
        refused = [number for number in range(50) if not _taken(core, f"k{number}")]
        assert refused
        core.beat(Heartbeat(agent="a", pid=1)).result(10)
        assert [agent.name for agent in core.state.agents.values()] == ["a"]
        ballast.unlink()
        core.report([report(key=f"k{number}") for number in range(50)]).result(10)
        assert ("agent.connected", "a") in events(core)
        assert gap_of(core)["lost"] == 0
        end([core])
        assert is_whole(disk / home.JOURNAL)
        assert len([one for one in read(disk / home.JOURNAL).values() if getattr(one, "key", None)]) == 51


def _taken(core: Core, key: str) -> bool:
    try:
        core.report([report(key=key, message="x" * 2000)]).result(10)
    except JournalError:
        return False
    return True


@needs_mount
def test_forgetting_on_a_full_disk_deletes_nothing_by_half(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8192) as disk:
        journal = Journal(disk / home.JOURNAL, NOW)
        journal.commit([an_error(fingerprint=f"f{number}", detail=b'{"stack":"' + b"x" * 500 + b'"}') for number in range(2000)])
        journal._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ballast = fill(disk)
        with pytest.raises(sqlite3.Error):
            journal.forget(NOW + timedelta(days=1), max_mb=1000, chunk=2000)
        assert len(read(disk / home.JOURNAL)) == 2000
        ballast.unlink()
        while journal.forget(NOW + timedelta(days=1), max_mb=1000):
            pass
        assert read(disk / home.JOURNAL) == {}
        assert journal.commit([an_event()])[0].id == 2001
        journal.close()
        assert is_whole(disk / home.JOURNAL)


@needs_mount
def test_a_backup_on_a_full_disk_leaves_nothing_and_the_one_before(tmp_path: Path) -> None:
    filled(tmp_path / home.JOURNAL, 500)
    clock = FakeClock(NOW)
    with small_disk(tmp_path / "disk", 32_768) as disk:
        core = core_on(Journal(tmp_path / home.JOURNAL, NOW), clock)
        care = JournalCare(tmp_path / home.JOURNAL, disk / home.BACKUPS, core, clock)
        for _ in range(2):
            clock.advance(61)
            care.look()
        [good] = (disk / home.BACKUPS).iterdir()
        ballast = fill(disk)
        clock.advance(25 * 3600)
        care.look()
        care.look()
        assert [one.name for one in core.state.notices] == ["journal_backup"]
        assert [*(disk / home.BACKUPS).iterdir()] == [good]
        assert is_whole(good)
        ballast.unlink()
        clock.advance(700)
        care.look()
        assert core.state.notices == ()
        assert len([*(disk / home.BACKUPS).iterdir()]) == 2
        care.stop()
        end([core])


@needs_mount
def test_a_backup_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    """It would leave none to the journal, and to anybody else."""
    clock = FakeClock(NOW)
    with small_disk(tmp_path / "disk", 16_384) as disk:
        filled(disk / home.JOURNAL, 2000)
        core = core_on(Journal(disk / home.JOURNAL, NOW), clock)
        (disk / "ballast").write_bytes(bytes(5_000_000))
        care = JournalCare(disk / home.JOURNAL, disk / home.BACKUPS, core, clock)
        free = shutil.disk_usage(disk).free
        assert free > (disk / home.JOURNAL).stat().st_size, "a copy alone would fit"
        for _ in range(2):
            clock.advance(61)
            care.look()
        assert [one.name for one in core.state.notices] == ["journal_backup"]
        assert "of room" in core.state.notices[0].cause
        assert [*(disk / home.BACKUPS).iterdir()] == []
        (disk / "ballast").unlink()
        clock.advance(600)
        care.look()
        assert core.state.notices == ()
        care.stop()
        end([core])


@needs_mount
def test_a_journal_that_cannot_be_set_aside_on_a_full_disk_is_so_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        path = disk / home.JOURNAL
        stored = filled(path, 300)
        core = core_on(Journal(path, NOW), FakeClock(NOW))
        core.report([report(key="before")]).result(10)
        ballast = fill(disk)
        core.on_journal(lambda journal: journal.suspect("it was said so", None)).result(10)
        assert not _taken(core, "k")
        assert [one.name for one in core.state.notices] == ["journal"]
        core.beat(Heartbeat(agent="a", pid=1)).result(10)
        assert len(core.state.agents) == 1, "decisions go on from memory"
        assert read(path).items() >= stored.items(), "it stands where it stood"
        ballast.unlink()
        assert _taken(core, "k")
        assert "journal_set_aside" in [one.name for one in core.state.notices]
        end([core])


@needs_mount
def test_a_migration_on_a_full_disk_leaves_the_older_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resilience.journal import opening as module

    with small_disk(tmp_path / "disk", 4096) as disk:
        path = disk / home.JOURNAL
        stored = filled(path, 300)

        def large(db: Any) -> None:
            db.execute("CREATE TABLE more (x)")
            db.execute("INSERT INTO more SELECT randomblob(1000) FROM errors AS a, errors AS b LIMIT 5000")

        monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, large))
        with pytest.raises(JournalError, match="full"):
            Journal(path, NOW)
        monkeypatch.undo()
        Journal(path, NOW).close()
        assert read(path) == stored
        assert is_whole(path)


# Another program holds the file.


HOLDER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
conn.execute("ROLLBACK")
conn.close()
print("free", flush=True)
"""


def test_a_journal_that_another_program_holds_refuses_soon_and_the_core_answers_all_the_time(tmp_path: Path) -> None:
    """Reports fail within about a second, long before an agent gives up; heartbeats are taken, for they are facts."""
    core = core_on(Journal(tmp_path / home.JOURNAL, NOW), FakeClock(NOW))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / home.JOURNAL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(JournalError, match="locked"):
            core.report([report()]).result(8)
        assert core.answers(2)
        core.beat(Heartbeat(agent="a", pid=1)).result(8)
        assert [agent.name for agent in core.state.agents.values()] == ["a"]
        assert core.history.events(0) == [], "who reads does not wait"
        assert [one.name for one in core.state.notices] == ["journal"]
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "free\n"
        assert core.report([report()]).result(8)
        assert events(core)[:2] == [("agent.connected", "a"), ("journal.gap", "journal")]
        assert gap_of(core)["why"] == "database is locked"
    finally:
        holder.communicate("\n", timeout=10)
        end([core])
