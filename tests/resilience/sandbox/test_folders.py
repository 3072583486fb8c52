"""The folders of sandboxed programs: that they go, however they look, and whose owner was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from resilience import ExecutionSandbox
from resilience.sandbox.folders import own_folder, remove, remove_orphans
from tests.resilience.processes.conftest import until
from tests.resilience.sandbox.conftest import LIMITS, POSIX, python

ROOT = Path(__file__).parents[3]
only_posix = pytest.mark.skipif(not POSIX, reason="Windows has no paths as long, and lets not everybody make links")


@pytest.fixture
def owner(temporary: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], Path]]]:
    """Starts processes that have a folder each with something in it, and gives them with their folders."""
    started: list[subprocess.Popen[bytes]] = []
    code = (
        "import time\nfrom resilience.sandbox.folders import own_folder\n"
        "with own_folder() as folder:\n"
        " (folder / 'secret').write_text('1')\n print(folder, flush=True)\n time.sleep(600)"
    )

    def start() -> tuple[subprocess.Popen[bytes], Path]:
        started.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT))
        output = started[-1].stdout
        assert output is not None
        return started[-1], Path(output.readline().decode().strip())

    yield start
    for one in started:
        one.kill()
        one.communicate()


@only_posix
def test_of_folders_in_each_other_nothing_is_left(temporary: Path) -> None:
    """Deeper than calls may nest in Python, and than a path may be long."""
    code = "import os\nfor _ in range(2500): os.mkdir('a'); os.chdir('a')\nos.mkdir('b'); open('c', 'w').write('x'); print('done')"
    done = ExecutionSandbox(LIMITS).run(python(code), limits=replace(LIMITS, max_disk_io_mb=100))
    assert done.stdout.split() == [b"done"]
    assert list(temporary.iterdir()) == []


@only_posix
def test_all_that_is_in_a_folder_is_counted_however_deep(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("a", dir_fd=at)
        at, above = os.open("a", os.O_RDONLY, dir_fd=at), at
        os.close(above)
    hole = os.open("hole", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.truncate(hole, 10**8)
    os.close(hole)
    os.close(at)
    assert remove(top) >= 10**8
    assert not top.exists()


@only_posix
def test_a_link_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "letter").write_text("dear")
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    for link in (top / "link", top / "below" / "link", tmp_path / "itself"):
        link.symlink_to(kept)
    (top / "below" / "letter").symlink_to(kept / "letter")
    remove(top)
    remove(tmp_path / "itself")
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
    assert (kept / "letter").read_text() == "dear"


def test_the_folder_of_an_owner_that_was_killed_is_removed_and_that_of_a_living_one_is_not(
    owner: Callable[[], tuple[subprocess.Popen[bytes], Path]]
) -> None:
    (killed, left), (_, living) = owner(), owner()
    with own_folder() as mine:
        remove_orphans()
        assert left.exists()
        killed.kill()
        until(lambda: [remove_orphans(), not left.parent.exists()][1])  # on Windows what was killed may be a launcher
        assert mine.exists()
    assert (living / "secret").exists()


@only_posix
def test_what_is_not_known_to_be_left_behind_is_not_touched(
    owner: Callable[[], tuple[subprocess.Popen[bytes], Path]], temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to a folder, one that has yet to get its lock or has none, a lock that is a pipe, another user's."""
    killed, left = owner()
    killed.kill()
    killed.wait()
    moved = left.parent.rename(tmp_path / "moved")
    (temporary / "winclaw-sandbox-link").symlink_to(moved)
    for name in ("none", "empty", "pipe"):
        (temporary / f"winclaw-sandbox-{name}").mkdir()
    (temporary / "winclaw-sandbox-empty" / "owner").touch()
    os.mkfifo(temporary / "winclaw-sandbox-pipe" / "owner")
    remove_orphans()
    assert {one.name for one in temporary.iterdir()} == {f"winclaw-sandbox-{name}" for name in ("link", "none", "empty", "pipe")}
    assert (moved / "files" / "secret").exists()
    moved.rename(temporary / "winclaw-sandbox-left")
    with monkeypatch.context() as as_another:
        as_another.setattr(os, "geteuid", lambda: 54_321)
        remove_orphans()
    assert (temporary / "winclaw-sandbox-left" / "files" / "secret").exists()
    remove_orphans()
    assert not (temporary / "winclaw-sandbox-left").exists()
