"""Control groups: what is written where, on a tree of files like the kernel's; the kernel's own where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resilience.sandbox import cgroup
from resilience.sandbox.cgroup import Cgroup
from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits
from resilience.sandbox.sandbox import ExecutionSandbox

EATERS = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        eaten = bytearray(60 * 2**20)
        for page in range(0, len(eaten), 4096):
            eaten[page] = 1
        time.sleep(60)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")


@pytest.fixture
def above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The group above this process's, in a tree of files; it may be used."""
    (tmp_path / "session" / "mine").mkdir(parents=True)
    (tmp_path / "session" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "session" / "mine" / "cgroup.subtree_control").write_text("\n")
    parents = [tmp_path / "session" / "mine", tmp_path / "session"]
    monkeypatch.setattr(cgroup, "_parents", lambda _: parents)
    return parents[1]


def test_a_group_is_made_where_its_controllers_are_and_gets_the_limits(above: Path) -> None:
    group = cgroup.make(ResourceLimits(max_memory_mb=100, max_processes=8))
    assert group is not None
    assert group.path.parent == above
    assert (group.path / "memory.max").read_text() == str(132 * 1024 * 1024)
    assert (group.path / "pids.max").read_text() == "160"
    assert group.hit() is None
    (group.path / "pids.events").write_text("max 3\n")
    assert group.hit() == "max_processes"
    (group.path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert group.hit() == "max_memory_mb"


def test_without_controllers_there_is_none(above: Path) -> None:
    (above / "cgroup.subtree_control").write_text("hugetlb\n")
    assert cgroup.make(ResourceLimits()) is None
    (above / "cgroup.subtree_control").unlink()
    assert cgroup.make(ResourceLimits()) is None


@pytest.mark.skipif(not os.access("/sys/fs/cgroup/unified", os.W_OK), reason="no cgroup v2 here that this user may write to")
def test_a_group_ends_with_everything_in_it() -> None:
    path = Path("/sys/fs/cgroup/unified") / f"winclaw-test-{os.getpid()}"
    path.mkdir()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        (path / "cgroup.procs").write_text(str(child.pid))
        Cgroup(path).close()
        assert child.wait(10) == -9
        assert not path.exists()
    finally:
        child.kill()
        child.wait()


def test_memory_that_many_hold_together_is_limited_by_the_kernel() -> None:
    """Each of them is below the limit; no group is left."""
    if (group := cgroup.make(ResourceLimits())) is None:
        pytest.skip("no cgroup v2 with memory and pids that this user may make groups in")
    group.close()
    limits, parent = ResourceLimits(max_memory_mb=100), group.path.parent
    with pytest.raises(ResourceLimitExceeded, match="max_memory_mb") as exceeded:
        ExecutionSandbox(limits).run([sys.executable, "-c", EATERS])
    assert exceeded.value.limit == "max_memory_mb"
    assert [one.name for one in parent.iterdir() if one.name.startswith("winclaw-")] == []
