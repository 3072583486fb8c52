"""Kill -9 in the middle of a repair and of a backup: nothing is there twice, nothing by half, and the next WinClaw goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import home
from resilience.journal.care import JournalCare
from resilience.journal.journal import Journal
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on, end
from tests.resilience.journal.journals import Stored, filled, is_whole, read, root_of, spoil
from tests.resilience.records import NOW

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX; the Windows bench has its own")

REPAIR = """
import sys
from pathlib import Path
from resilience import home
from resilience.journal.care import JournalCare
from resilience.journal.journal import Journal
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on
from tests.resilience.records import NOW
folder = Path(sys.argv[1])
bring_back, chunks = Journal.bring_back, 0

def counted(self, *values):
    global chunks
    done = bring_back(self, *values)
    chunks += 1
    print(chunks, flush=True)
    if chunks >= int(sys.argv[2]):
        sys.stdin.read()
    return done

Journal.bring_back = counted
clock = FakeClock(NOW)
core = core_on(Journal(folder / home.JOURNAL, NOW), clock)
care = JournalCare(folder / home.JOURNAL, folder / home.BACKUPS, core, clock)
print("begun", flush=True)
care.look()
"""

BACKUP = """
import sys
from pathlib import Path
from resilience import home
from resilience.journal import backup
from resilience.journal.care import JournalCare
from resilience.journal.journal import Journal
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on
from tests.resilience.records import NOW
folder = Path(sys.argv[1])

def wait(conn):
    print("written", flush=True)
    sys.stdin.read()

backup._prove = wait
clock = FakeClock(NOW)
core = core_on(Journal(folder / home.JOURNAL, NOW), clock)
care = JournalCare(folder / home.JOURNAL, folder / home.BACKUPS, core, clock)
clock.advance(100_000)
while care.look():
    pass
"""


def killed(script: str, *arguments: str, after: str) -> None:
    """Runs ``script`` until it has said ``after``, and kills it."""
    child = subprocess.Popen([sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == after:
            break
    else:
        pytest.fail(f"it never said {after}")
    child.kill()
    child.communicate()


def look(folder: Path) -> JournalCare:
    """The care of the next WinClaw, after all that it had to do."""
    clock = FakeClock(NOW)
    core = core_on(Journal(folder / home.JOURNAL, NOW), clock)
    care = JournalCare(folder / home.JOURNAL, folder / home.BACKUPS, core, clock)
    while care.look():
        pass
    clock.advance(61)
    while care.look():
        pass
    care.stop()
    end([core])
    return care


@pytest.mark.parametrize("after", ["begun", "1", "3", "5"])
def test_a_repair_that_was_killed_goes_on_with_the_next_start(tmp_path: Path, after: str) -> None:
    path = tmp_path / home.JOURNAL
    stored = filled(path, 2000)
    spoil(path, root_of(path, "errors_component"))
    killed(REPAIR, str(tmp_path), after if after != "begun" else "1", after=after)
    if after != "begun":
        assert 0 < len([number for number in read(path) if number in stored]) < len(stored)
    care = look(tmp_path)
    repaired = care._core.state.health.repaired
    assert repaired is not None
    assert repaired.errors + repaired.events == len(stored), "what came back before the kill is counted, and once"
    assert repaired.lost == 0
    assert _old(path, stored) == stored
    assert is_whole(path)
    assert care._core.state.health.to_repair == ()


def _old(path: Path, stored: Stored) -> Stored:
    return {number: one for number, one in read(path).items() if number in stored}


def test_a_backup_that_was_killed_leaves_the_one_before_and_is_made_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / home.JOURNAL
    filled(path, 500)
    look(tmp_path)
    [good] = (tmp_path / home.BACKUPS).iterdir()
    killed(BACKUP, str(tmp_path), after="written")
    assert [one.name for one in (tmp_path / home.BACKUPS).glob("*.db")] == [good.name]
    assert is_whole(good)
    assert len([*(tmp_path / home.BACKUPS).iterdir()]) > 1, "the half one is there"
    clock = FakeClock(NOW)
    core = core_on(Journal(path, NOW), clock)
    care = JournalCare(path, tmp_path / home.BACKUPS, core, clock)
    clock.advance(200_000)
    while care.look():
        pass
    care.stop()
    end([core])
    left = sorted((tmp_path / home.BACKUPS).iterdir())
    assert len(left) == 2
    assert all(is_whole(one) for one in left)


def test_a_journal_that_was_killed_between_being_set_aside_and_its_first_commit_still_knows_what_was(tmp_path: Path) -> None:
    """Its ids go on, Safe Mode is not forgotten, and what was damaged is repaired."""
    path = tmp_path / home.JOURNAL
    stored = filled(path, 500, state={"standing": {"level": 5}})
    spoil(path, root_of(path, "errors_component"))
    Journal(path, NOW)._db.conn.close()  # and nothing was committed
    again = Journal(path, NOW)
    assert again.set_aside is not None
    assert again.salvaged is not None
    assert (again.salvaged["standing"], again.last_id) == ({"level": 5}, max(stored))
    again.close()
    look(tmp_path)
    assert _old(path, stored) == stored


def test_a_kill_between_the_two_renames_leaves_the_new_file_to_be_found(tmp_path: Path) -> None:
    path = tmp_path / home.JOURNAL
    filled(path, 100)
    journal = Journal(path, NOW)
    fresh = journal._make_fresh({"last_id": 777})
    path.unlink()
    assert fresh.exists()
    again = Journal(path, NOW)
    assert again.last_id == 777
    again.close()
    assert not fresh.exists()
