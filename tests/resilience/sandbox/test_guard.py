"""The guard that holds a sandboxed program together where there are no jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience import ExecutionSandbox, SandboxError
from resilience.processes.identity import carriers
from tests.resilience.processes.conftest import DEADLINE_S, until
from tests.resilience.sandbox.conftest import LIMITS, begun, python

if sys.platform != "win32":
    from resilience.sandbox import posix

pytestmark = [
    pytest.mark.usefixtures("nothing_is_left"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has jobs, and no guard"),
]


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """More than a thousand files, open in this process."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this system allows no process so many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for one in opened:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_has_a_thousand_files_open_can_run_something(many_open_files: None) -> None:
    done = ExecutionSandbox(LIMITS).run(python("print('done')"))
    assert (done.returncode, done.stdout.split()) == (0, [b"done"])


def test_a_program_whose_guard_is_killed_has_no_result(tmp_path: Path) -> None:
    """That the guard was killed is no exit status of the program's."""
    started = tmp_path / "started"
    code = f"import pathlib, time; pathlib.Path({str(started)!r}).write_text('up'); time.sleep(600)"
    running = begun(ExecutionSandbox(LIMITS).run, python(code))
    until(started.exists)
    [some] = carriers(f"sandbox:{os.getpid()}:").values()
    [guard] = [one for one in some if one.ppid() == os.getpid()]
    guard.kill()
    with pytest.raises(SandboxError, match="exit status -9") as failed:
        running.result(DEADLINE_S)
    assert failed.value.error_type == "GuardDied"


def test_a_guard_that_dies_at_once_says_why_and_what_it_leaves_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on without it holds all pipes open; nobody waits for their end."""
    dying = tmp_path / "guard.py"
    dying.write_text("import os, time\nif os.fork():\n os.write(2, b'no memory')\n os._exit(120)\ntime.sleep(600)")
    monkeypatch.setattr(posix, "_GUARD", dying)
    with pytest.raises(SandboxError, match=r"exit status 120, .* no memory"):
        begun(ExecutionSandbox(LIMITS).run, python("print(1)")).result(DEADLINE_S)
