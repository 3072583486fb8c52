"""A goodbye beside the journal: who quits on a full disk has not crashed, and what was lost is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from resilience.core import goodbye
from resilience.core.core import Core
from resilience.core.lives import CRASHES
from resilience.events import EventType
from resilience.testing import FakeClock
from tests.resilience.core.cores import journal_of

SINCE = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_it_says_since_when_and_how_much_was_lost_and_is_taken_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    assert goodbye.take_from_beside(journal) is None
    goodbye.leave_beside(journal, SINCE, 12)
    said = goodbye.left_beside(journal)
    assert said is not None
    assert (said.since, said.lost) == (SINCE, 12)
    assert said.until >= said.since
    assert [one.stat().st_size for one in tmp_path.iterdir()] == [0], "it takes no room"
    assert goodbye.take_from_beside(journal) == said
    assert [*tmp_path.iterdir()] == []


def test_other_files_are_no_goodbyes(tmp_path: Path) -> None:
    others = ["journal.db", "journal.db-wal", "journal.db.goodbye", "journal.db.goodbye-x-1", "journal.db.goodbye-20260539T000000Z"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "journal.db.goodbye-20260539T000000Z-1").touch()  # the 39th of May
    assert goodbye.take_from_beside(tmp_path / "journal.db") is None
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(others)


def test_a_folder_that_takes_none_ends_nobody(tmp_path: Path) -> None:
    goodbye.leave_beside(tmp_path / "gone" / "journal.db", SINCE, 1)


def test_who_quits_on_a_full_disk_has_not_crashed_and_the_next_one_says_what_was_lost(
    start: Callable[[], Core], tmp_path: Path, clock: FakeClock
) -> None:
    began = clock.now()
    for number in range(CRASHES + 1):
        core = start()
        assert not core.crashed_before
        journal_of(core).failure = OSError("full")
        core.announce(EventType.PROCESS_STARTED, f"p{number}", pid=7).result(10)
        core.stop()
        core.history.close()
        assert len([*tmp_path.glob("journal.db.goodbye-*")]) == 1
    core = start()
    assert [*tmp_path.glob("journal.db.goodbye-*")] == []
    assert not core.state.standing.latched
    core.announce(EventType.APP_STARTED, "x").result(10)
    [gap] = [one.body for one in core.history.events(0) if one.type == EventType.JOURNAL_GAP]
    assert (gap["written"], gap["lost"], gap["why"]) == (0, 2, "WinClaw was quit while nothing could be written")
    assert gap["since"][:19] == began.isoformat()[:19]


def test_a_goodbye_excuses_no_life_but_the_one_that_left_it(start: Callable[[], Core]) -> None:
    core = start()
    core.announce(EventType.APP_STARTED, "x").result(10)
    journal_of(core).failure = OSError("full")
    core.stop()
    core.history.close()
    second = start()
    second.announce(EventType.APP_STARTED, "x").result(10)
    assert not second.crashed_before
    assert start().crashed_before, "for the second still runs"
