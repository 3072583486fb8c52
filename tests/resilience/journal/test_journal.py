"""Groups are written whole, in order, under ids from one sequence, and survive a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.clock import as_text
from resilience.journal.journal import Journal, JournalError
from resilience.journal.schema import Record
from tests.resilience.journal.journals import rows
from tests.resilience.records import NOW, an_error, an_event


def test_errors_and_events_get_ids_from_one_sequence(journal: Journal) -> None:
    written = journal.commit([an_error(), an_event(), an_error()])
    assert [entry.id for entry in written] == [1, 2, 3]


def test_two_at_one_journal_give_out_no_id_twice(journal: Journal, path: Path) -> None:
    """Somebody has deleted the lock, and started a second WinClaw."""
    other = Journal(path, NOW)
    ids = [one.commit([record])[0].id for record in (an_error(), an_event()) for one in (journal, other, other, journal)]
    other.close()
    assert ids == [*range(1, 9)]


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
