"""Checkpoints on disk: saved whole, proven when loaded, found again, pruned, and skipped when damaged."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from resilience.exact import InexactError, exact_json
from resilience.recovery import checkpoints
from resilience.recovery.checkpoint import (
    Checkpoint,
    CheckpointDamagedError,
    CheckpointError,
    CheckpointHead,
    CheckpointTooLargeError,
    decoded,
    encoded,
    head_of,
    proven,
)
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing
from resilience.testing import FakeClock
from tests.disks import small_disk
from tests.program import REPOSITORY

LARGE = {"notes": ["the same again and again"] * 10_000}
HEAD = CheckpointHead(id="chk_00000001_0123456789abcdef", at=datetime(2026, 1, 1, tzinfo=UTC), level="memory", component="m")


class Shelf(CheckpointManager):
    """Checkpoints in a folder of the test, with a clock that is moved, and a list of what was told."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        self.told: list[CheckpointDamagedError] = []
        self.clock = FakeClock()
        super().__init__(folder, Checkpointing(**policy), self.clock, self.told.append)

    def save(self, state: Any, component: str = "memory", **chosen: Any) -> Checkpoint:
        self.clock.advance(1)
        return self.create_checkpoint("component", component, state, **chosen)

    def file(self, saved: Checkpoint) -> Path:
        [found] = self.folder.rglob(f"{saved.id}.*")
        return found

    def latest(self) -> Any:
        found = self.get_latest_checkpoint("memory", "component")
        return None if found is None else found.state


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "checkpoints")


def test_nothing_is_made_before_something_is_saved(shelf: Shelf) -> None:
    assert shelf.checkpoints() == []
    assert shelf.get_latest_checkpoint() is None
    assert shelf.load_checkpoint("chk_00000001_0123456789abcdef") is None
    assert not shelf.folder.exists()


@pytest.mark.parametrize("state", [{}, None, [1, "ü\ud800", 2.5, True], {"a": {"b": [10**40]}}, LARGE])
def test_what_is_saved_is_loaded_exactly_also_by_another_process(shelf: Shelf, state: Any) -> None:
    saved = shelf.save(state, metadata={"why": "test"}, parent="chk_00000007_0123456789abcdef")
    other = CheckpointManager(shelf.folder)
    for found in (other.load_checkpoint(saved.id), other.get_latest_checkpoint("memory", "component"), saved):
        assert found is not None
        assert (found.state, found.metadata, found.parent_checkpoint) == (state, {"why": "test"}, "chk_00000007_0123456789abcdef")
        assert (found.level, found.component, found.at) == ("component", "memory", shelf.clock.now())
    assert [one.id for one in other.checkpoints()] == [saved.id]


def test_a_large_state_is_compressed_on_disk(shelf: Shelf) -> None:
    saved = shelf.save(LARGE)
    assert saved.size_bytes > 200_000
    assert shelf.file(saved).stat().st_size < 10_000


def test_what_the_caller_changes_afterwards_is_not_in_the_checkpoint(shelf: Shelf) -> None:
    state = {"list": [1]}
    saved = shelf.save(state)
    state["list"].append(2)
    assert saved.state == {"list": [1]}
    assert shelf.latest() == {"list": [1]}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a": {1, 2}}, r"state\['a'\] is a builtins.set"),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, r"state\['at'\] is a datetime.datetime"),
        ([math.nan], r"state\[0\] is nan"),
        ({1: 2}, "has the key 1, a int"),
        ((1, 2), "state is a builtins.tuple"),
    ],
)
def test_what_json_cannot_hold_is_an_error_when_it_is_saved(shelf: Shelf, state: Any, said: str) -> None:
    with pytest.raises(InexactError, match=said):
        shelf.save(state)
    assert not shelf.folder.exists()


def test_a_state_that_is_too_large_is_refused_with_its_size_and_the_limit(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "c", max_state_mb=1)
    with pytest.raises(CheckpointTooLargeError, match=r"1\.2 MB as JSON, and 1 MB is the limit \(checkpoint\.max_state_mb\)"):
        shelf.save("x" * 1_200_000)
    with pytest.raises(CheckpointTooLargeError, match="the metadata are"):
        shelf.save({}, metadata={"x": "y" * 100_000})
    assert shelf.checkpoints() == []


@pytest.mark.parametrize("component", ["", "x" * 201, "half \ud800", 7])
def test_a_component_without_a_fitting_name_is_refused(shelf: Shelf, component: Any) -> None:
    with pytest.raises(ValueError, match="component"):
        shelf.save({}, component)


def test_a_level_that_there_is_not_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="there is no level 'disaster' of checkpoints; there are operation, session"):
        shelf.create_checkpoint("disaster", "memory", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no level"):
        shelf.checkpoints(level="disaster")  # type: ignore[arg-type]


@pytest.mark.parametrize("hostile", ["../../secret", "chk_1_2", "*", "", "chk_00000001_0123456789abcdef/../x", "a\0b"])
def test_an_id_is_no_path(shelf: Shelf, hostile: str) -> None:
    shelf.save({"a": 1})
    assert shelf.load_checkpoint(hostile) is None


@pytest.mark.parametrize("component", ["..", "a/b", "con", "Memory", "ä" * 60, "a\\b", "c:"])
def test_every_component_has_a_folder_of_its_own_in_ours(shelf: Shelf, component: str) -> None:
    shelf.save({"mine": component}, component)
    shelf.save({"mine": "other"}, "memory")
    found = shelf.get_latest_checkpoint(component)
    assert found is not None
    assert found.state == {"mine": component}
    assert all(path.resolve().is_relative_to(shelf.folder.resolve()) for path in shelf.folder.rglob("*"))


def test_the_newest_is_the_one_that_was_saved_last_also_after_the_clock_was_set_back(shelf: Shelf) -> None:
    shelf.save(1)
    earlier = FakeClock(shelf.clock.now() - timedelta(hours=1))
    CheckpointManager(shelf.folder, clock=earlier).create_checkpoint("component", "memory", 2)
    assert shelf.latest() == 2


def test_of_each_component_and_level_the_newest_stay(tmp_path: Path) -> None:
    """A hundred operations do not drive the only checkpoint of the system out."""
    shelf = Shelf(tmp_path / "c", max_checkpoints=3)
    shelf.create_checkpoint("system", "memory", "the only one")
    for number in range(10):
        shelf.save(number)
        shelf.create_checkpoint("operation", "other", number)
    assert [shelf.load_checkpoint(one.id).state for one in shelf.checkpoints("memory", "component")] == [9, 8, 7]  # type: ignore[union-attr]
    assert len(shelf.checkpoints()) == 7
    assert len(shelf.checkpoints(level="system")) == 1


def test_a_limit_that_was_lowered_holds_from_the_next_one_on(shelf: Shelf) -> None:
    for number in range(5):
        shelf.save(number)
    shelf.policy = Checkpointing(max_checkpoints=1)
    shelf.save(5)
    assert [one.id[:12] for one in shelf.checkpoints()] == ["chk_00000006"]


def test_a_damaged_one_is_skipped_told_of_once_and_kept_for_a_look(shelf: Shelf) -> None:
    shelf.save("good")
    path = shelf.file(shelf.save("bad"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert shelf.latest() == "good"
    assert shelf.latest() == "good"
    [told] = shelf.told
    assert "is damaged: its checksum does not fit; the one before it is used" in str(told)
    assert path.with_suffix(".damaged").exists()


def test_one_that_is_asked_for_by_its_id_says_that_it_is_damaged(shelf: Shelf) -> None:
    saved = shelf.save("bad")
    shelf.file(saved).write_bytes(b"")
    with pytest.raises(CheckpointDamagedError, match="does not begin as a checkpoint does"):
        shelf.load_checkpoint(saved.id)


def test_one_under_the_name_of_another_is_damaged(shelf: Shelf) -> None:
    one, other = shelf.save("one"), shelf.save("other")
    shelf.file(other).write_bytes(shelf.file(one).read_bytes())
    assert shelf.latest() == "one"
    assert len(shelf.told) == 1


def test_the_last_good_one_is_never_pruned(tmp_path: Path) -> None:
    """However the others are damaged, there is always one to go back to while something was saved."""
    shelf = Shelf(tmp_path / "c", max_checkpoints=2)
    for number in range(20):
        path = shelf.file(shelf.save(number))
        assert shelf.latest() == number
        if number % 3:
            path.write_bytes(b"broken")
            assert shelf.latest() is not None


def test_damaged_ones_do_not_fill_the_disk(shelf: Shelf) -> None:
    for number in range(20):
        shelf.file(shelf.save(number)).write_bytes(b"broken")
        shelf.checkpoints()
    assert len([*shelf.folder.rglob("*.damaged")]) == 5


@pytest.mark.parametrize("state", [{"short": 1}, LARGE], ids=["short", "compressed"])
def test_no_bit_of_a_file_can_change_unnoticed(state: Any) -> None:
    _, content = encoded(HEAD, exact_json(state, "state"), 10_000_000)
    dice = random.Random(7)
    places = range(len(content) * 8) if len(content) < 500 else sorted(dice.sample(range(len(content) * 8), 3_000))
    assert decoded(content).state == state
    for place in places:
        broken = bytearray(content)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(CheckpointDamagedError):
            decoded(bytes(broken))


@pytest.mark.parametrize("cut", [0, 1, 30, 85, 86, 120, 300])
def test_a_file_that_was_cut_off_is_damaged(cut: int) -> None:
    _, content = encoded(HEAD, exact_json({"a": "b" * 300}, "state"), 10_000_000)
    with pytest.raises(CheckpointDamagedError):
        decoded(content[:cut])
    with contextlib.suppress(CheckpointDamagedError):
        assert head_of(content[:cut]).component == "m"


def forged(head: bytes, body: bytes) -> bytes:
    """A file as somebody writes it who means harm: what is in it is odd, and the checksum is right."""
    rest = head + b"\n" + body
    return b"winclaw-checkpoint 1 " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def test_a_file_that_unpacks_into_more_than_it_says_is_damaged_and_not_unpacked() -> None:
    _, content = encoded(HEAD, exact_json("x" * 5_000, "state"), 10_000_000)
    bomb = forged(content.split(b"\n", 2)[1], zlib.compress(b'"' + b"x" * 100_000_000 + b'"'))
    tracemalloc.start()
    with pytest.raises(CheckpointDamagedError, match="not as long as it says"):
        decoded(bomb)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(("is_head", "said"), [(True, "what it says of itself cannot be read: "), (False, "its state is no JSON: ")])
def test_a_file_that_was_written_odd_says_what_is_odd(is_head: bool, said: str) -> None:
    _, content = encoded(HEAD, "[1]", 10_000_000)
    head = content.split(b"\n", 2)[1]
    with pytest.raises(CheckpointDamagedError, match=said):
        decoded(forged(b"{}", b"[1]") if is_head else forged(head, b"[1["))


def test_line_ends_in_a_compressed_state_are_a_part_of_it() -> None:
    dice = random.Random(1)
    state = [dice.random() for _ in range(5_000)]
    head, content = encoded(HEAD, exact_json(state, "state"), 10_000_000)
    assert content.count(b"\n") > 10
    assert decoded(content).state == state
    assert head_of(content) == head
    assert proven(content).size_bytes == head.size_bytes


def test_what_is_just_as_large_as_it_may_be_is_taken() -> None:
    head = replace(HEAD, metadata={"x": "y" * (100_000 - len('{"x":""}'))})
    assert decoded(encoded(head, '"xyz"', 5)[1]).state == "xyz"
    with pytest.raises(CheckpointTooLargeError, match="the metadata are 100001 bytes"):
        encoded(replace(HEAD, metadata={"x": head.metadata["x"] + "y"}), '"xyz"', 5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(state=JSON, metadata=st.dictionaries(st.text(), JSON, max_size=2))
@settings(max_examples=100, deadline=None)
def test_whatever_json_can_hold_comes_back(state: Any, metadata: dict[str, Any]) -> None:
    head = CheckpointHead(**{name: getattr(HEAD, name) for name in HEAD.__struct_fields__} | {"metadata": metadata})
    _, content = encoded(head, exact_json(state, "state"), 10_000_000)
    found = decoded(content)
    assert repr(found.state) == repr(state)
    assert head_of(content) == CheckpointHead(**{name: getattr(found, name) for name in CheckpointHead.__struct_fields__})


def test_on_a_full_disk_nothing_is_saved_nothing_is_half_and_it_is_said(small_folder: Path) -> None:
    shelf = Shelf(small_folder / "checkpoints")
    kept, dice = [], random.Random(3)
    with pytest.raises(CheckpointError, match="No space left"):
        for number in range(200):
            shelf.save({"number": number, "noise": [dice.random() for _ in range(200)]})
            kept.append(number)
    assert shelf.latest()["number"] == kept[-1]
    assert shelf.told == []
    assert [*shelf.folder.rglob("*.checkpoint?*")] == []


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as folder:
        yield folder


def test_what_a_killed_process_left_half_is_removed_later(shelf: Shelf) -> None:
    saved = shelf.save(1)
    half = shelf.file(saved).with_name("chk_00000002_0123456789abcdef.checkpointab12")
    half.write_bytes(b"winclaw-check")
    assert shelf.latest() == 1
    shelf.save(2)
    assert half.exists()
    later = FakeClock(datetime.now(UTC) + timedelta(hours=1))
    CheckpointManager(shelf.folder, clock=later).create_checkpoint("component", "memory", 3)
    assert not half.exists()
    assert shelf.latest() == 3


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
def test_the_files_are_their_owners_alone(shelf: Shelf) -> None:
    path = shelf.file(shelf.save(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.stat().st_mode & 0o777 for one in (path.parent, path.parent.parent, shelf.folder)] == [0o700] * 3


def test_threads_that_save_at_once_lose_nothing(shelf: Shelf) -> None:
    def save(name: str) -> None:
        for number in range(20):
            shelf.create_checkpoint("session", "shared", {"by": name, "number": number})

    threads = [threading.Thread(target=save, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(one.state["by"], one.state["number"]) for head in shelf.checkpoints() if (one := shelf.load_checkpoint(head.id))}
    assert found == {(name, number) for name in "abcd" for number in range(20)}


CHILD = """
import sys
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing
manager = CheckpointManager(sys.argv[1], Checkpointing(max_checkpoints=5))
for number in range(1_000_000):
    manager.create_checkpoint("memory", "m", {"number": number, "large": [number] * 3000})
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 4, 9, 23])
def test_kill_9_while_saving_loses_nothing_that_was_saved(tmp_path: Path, after: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    child.kill()
    said = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    last = int(said[-1]) if said else after - 1
    shelf = Shelf(tmp_path / "c")
    found = shelf.get_latest_checkpoint("m", "memory")
    assert found is not None
    assert found.state["number"] in (last, last + 1)
    assert found.state["large"] == [found.state["number"]] * 3000
    assert shelf.told == []


def test_past_a_thousand_components_the_oldest_session_makes_room_and_nothing_else(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_MOST_COMPONENTS", 3)
    shelf.save(0, "memory")
    for number in (1, 2):
        shelf.create_checkpoint("session", f"session_{number}", number)
        place = shelf.folder / f"session_{number}" / "session"
        os.utime(place, (number, number))
    shelf.create_checkpoint("session", "session_3", 3)
    assert {one.component for one in shelf.checkpoints()} == {"memory", "session_2", "session_3"}
    for number in (2, 3):
        shelf.create_checkpoint("operation", f"session_{number}", number)
    with pytest.raises(CheckpointError, match="checkpoints of 3 components already, and no more are taken; delete folders"):
        shelf.save(4, "other")
