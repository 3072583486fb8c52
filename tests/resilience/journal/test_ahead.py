"""A bit that has flipped in what was written ahead of the journal: SQLite takes it for the end, and the journal must not."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from resilience import home
from resilience.journal import ahead
from resilience.journal.journal import Journal, JournalError
from tests.resilience.core.cores import report
from tests.resilience.journal.journals import is_whole, read
from tests.resilience.journal.test_care import World, world  # noqa: F401 -- the fixture
from tests.resilience.records import NOW, an_error

COMMITS = 12


def left(path: Path) -> bytearray:
    """A journal as a kill leaves it, with twelve commits in its log, all acknowledged; returns that."""
    file, log = _left()
    path.write_bytes(file)
    ahead.log_of(path).write_bytes(log)
    return bytearray(log)


@cache
def _left() -> tuple[bytes, bytes]:
    with TemporaryDirectory() as folder:
        return _killed(Path(folder) / "source.db")


def _killed(source: Path) -> tuple[bytes, bytes]:
    journal = Journal(source, NOW)
    journal._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.conn.execute("PRAGMA wal_autocheckpoint = 100000")
    for number in range(1, COMMITS + 1):
        journal.commit([an_error(key=f"k{number}", message=f"number {number}")], {"standing": {"level": number}})
    copies = source.read_bytes(), ahead.log_of(source).read_bytes()
    journal.close()
    return copies


def flipped(path: Path, log: bytearray, byte: int, bit: int) -> None:
    changed = bytearray(log)
    changed[byte] ^= 1 << bit
    ahead.log_of(path).write_bytes(changed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / home.JOURNAL


def test_what_a_kill_leaves_is_not_broken(path: Path) -> None:
    log = left(path)
    assert not ahead.is_broken(path)
    for cut in (1, 24, 4096, 4120, 3 * 4120 + 17):  # in the middle of a write
        ahead.log_of(path).write_bytes(log[:-cut])
        assert not ahead.is_broken(path)
    ahead.log_of(path).write_bytes(log + log[32 : 32 + 4120])
    assert not ahead.is_broken(path)


def test_a_last_commit_that_was_cut_off_in_its_middle_is_not_broken(path: Path) -> None:
    """A header without its page: nobody was told of it."""
    log = left(path)
    log[-4096:] = bytes(4096)
    ahead.log_of(path).write_bytes(log)
    assert not ahead.is_broken(path)


def test_frames_that_were_folded_back_and_lie_behind_newer_ones_are_no_damage(path: Path) -> None:
    """SQLite writes its log from the beginning again, over older frames."""
    journal = Journal(path, NOW)
    for number in range(20):
        journal.commit([an_error(key=f"old {number}")])
    with closing(sqlite3.connect(path)) as reader:  # so that the log stays
        journal._db.conn.execute("PRAGMA wal_checkpoint(RESTART)")
        journal.commit([an_error(key="new")])
        reader.execute("SELECT count(*) FROM errors").fetchone()
        assert not ahead.is_broken(path)
    journal.close()


def test_no_log_and_an_empty_one_are_not_broken(path: Path) -> None:
    assert not ahead.is_broken(path)
    ahead.log_of(path).touch()
    assert not ahead.is_broken(path)


def test_a_log_that_is_whole_is_mended_to_what_it_was(path: Path) -> None:
    """Its checksums are SQLite's own. What is added says that it is still to be set aside, should that fail now."""
    log = left(path)
    for _ in range(2):
        ahead.mend(path)
        assert ahead.log_of(path).read_bytes()[: len(log)] == log
        assert len(ahead.log_of(path).read_bytes()) == len(log) + 2 * 4120
        assert ahead.is_broken(path)
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT count(*) FROM errors").fetchone() == (COMMITS,)


@pytest.mark.parametrize("seed", range(3))
def test_one_bit_anywhere_is_seen_and_all_behind_it_can_be_read(path: Path, seed: int) -> None:
    log, dice = left(path), random.Random(seed)
    for _ in range(5):
        flipped(path, log, dice.randrange(len(log) - 4120), dice.randrange(8))
        assert ahead.is_broken(path)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    shutil.copy(ahead.log_of(path), ahead.log_of(copy))
    ahead.mend(copy)
    with closing(sqlite3.connect(copy)) as conn:
        assert conn.execute("SELECT max(id) FROM errors").fetchone()[0] == COMMITS


@pytest.mark.parametrize("byte", [0, 2, 3, 8, 17, 20, 25, 32, 36, 40, 45, 50, 55, 2000, 30_000, 100_000])
def test_no_acknowledged_error_is_lost_and_no_id_given_out_again(path: Path, world: World, byte: int) -> None:  # noqa: F811
    """The header, a frame's head, and pages: it is said, what stands behind it comes back, and ids go on."""
    flipped(path, left(path), byte, 0)
    core = world.start()
    assert [one.name for one in core.state.notices] == ["journal_set_aside"]
    [new] = core.report([report(key="new")]).result(10)
    assert new > COMMITS
    world.settle()
    found = {number for number in read(path) if number <= COMMITS}
    outcome = world.outcome()
    assert len(found) >= COMMITS - 1
    assert outcome.lost is None or outcome.lost == COMMITS - len(found)
    assert is_whole(path)


@pytest.mark.parametrize("byte", [32, 20_000, 50_000])
def test_of_what_is_overwritten_the_rest_comes_back_and_what_does_not_is_said(path: Path, world: World, byte: int) -> None:  # noqa: F811
    """Whole frames, their heads among them."""
    log = left(path)
    log[byte : byte + 5000] = bytes(5000)
    ahead.log_of(path).write_bytes(log)
    core = world.start()
    assert core.report([report(key="new")]).result(10)[0] > COMMITS
    world.settle()
    lost = COMMITS - len([number for number in read(path) if number <= COMMITS])
    assert lost <= 3
    assert world.outcome().lost in (lost, None)


def test_a_log_that_cannot_be_set_aside_is_so_by_the_next_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows somebody may have it open."""
    flipped(path, left(path), 30_000, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _in_use)
        with pytest.raises(JournalError, match="in use"):
            Journal(path, NOW)
    journal = Journal(path, NOW)
    assert journal.set_aside is not None
    journal.close()


def _in_use(*_: object) -> None:
    raise PermissionError(13, "in use")


def test_what_was_in_force_last_is_so_still(path: Path) -> None:
    log = left(path)
    flipped(path, log, 32 + 24 + 500, 3)
    journal = Journal(path, NOW)
    assert journal.salvaged is not None
    assert (journal.salvaged["standing"], journal.last_id) == ({"level": COMMITS}, COMMITS)
    journal.close()


def test_a_core_says_it_as_it_says_any_damage(path: Path, world: World) -> None:  # noqa: F811
    flipped(path, left(path), 30_000, 0)
    core = world.start()
    core.report([report()]).result(10)
    assert "journal.set_aside" in [one.type for one in core.history.events(0, 500)]
    assert core.state.health.to_repair


@pytest.mark.parametrize(
    "beginning", [bytes(32), bytes(512), bytes(5000), b"\xff" * 5000, random.Random(1).randbytes(9000)],
    ids=["header", "sector", "two pages", "ones", "anything"],
)  # fmt: skip
def test_a_log_whose_beginning_is_overwritten_is_broken_and_the_rest_of_it_comes_back(path: Path, beginning: bytes) -> None:
    """SQLite takes one without a header for empty, whatever follows."""
    log = left(path)
    log[: len(beginning)] = beginning
    ahead.log_of(path).write_bytes(log)
    journal = Journal(path, NOW)
    assert journal.set_aside is not None
    assert journal.last_id == COMMITS
    journal.close()


def test_rubbish_in_the_place_of_a_log_is_not_broken(path: Path) -> None:
    """Nothing is in it that was ever committed."""
    left(path)
    for rubbish in (bytes(20_000), b"\xff" * 20_000, random.Random(2).randbytes(20_000), b"x"):
        ahead.log_of(path).write_bytes(rubbish)
        assert not ahead.is_broken(path)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_kill_while_a_log_is_mended_leaves_it_broken(path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """What was broken passes by then, and what stands behind it does not any more: nobody would look for it."""
    log, frames = left(path), len(_left()[1]) // 4120
    flipped(path, log, 32 + (frames - 2) * 4120 + 1000, 0)
    likely, calls = ahead._likely, 0

    def killed(head: bytes, largest: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls > frames - after:
            raise KeyboardInterrupt
        return likely(head, largest)

    with monkeypatch.context() as patch:
        patch.setattr(ahead, "_likely", killed)
        with pytest.raises(KeyboardInterrupt):
            ahead.mend(path)
    assert ahead.is_broken(path)
    journal = Journal(path, NOW)
    assert journal.last_id == COMMITS
    journal.close()
