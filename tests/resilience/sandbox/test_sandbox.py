"""Programs and functions in the sandbox: what holds them, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

import resilience
from resilience import ExecutionSandbox, FeatureDisabledError, ResourceLimitExceeded, ResourceLimits
from resilience.processes.identity import TOKEN, carriers
from tests.resilience.processes.conftest import DEADLINE_S, until
from tests.resilience.sandbox import called
from tests.resilience.sandbox.conftest import LIMITS, POSIX, WINE, python

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def hit(code: str, **limits: Any) -> ResourceLimitExceeded:
    """The limit that ``code`` hits."""
    with pytest.raises(ResourceLimitExceeded) as exceeded:
        ExecutionSandbox(replace(LIMITS, **limits)).run(python(code))
    return exceeded.value


def test_a_program_runs_and_what_it_wrote_comes_back() -> None:
    code = "import sys; print(sys.stdin.read()[::-1]); print('oh', file=sys.stderr); sys.exit(3)"
    done = ExecutionSandbox(LIMITS).run(python(code), input=b"abc")
    assert (done.returncode, done.stdout.split(), done.stderr.split()) == (3, [b"cba"], [b"oh"])
    assert 0 < done.peak_memory_mb < 200
    assert done.network == "allowed"
    assert done.seconds < DEADLINE_S


def test_what_is_no_command_is_refused_before_anything_starts() -> None:
    for nothing in ([], [""], "echo hello"):
        with pytest.raises(ValueError, match="command is a list"):
            ExecutionSandbox(LIMITS).run(nothing)
    for missing in ("there-is-no-such-program", "nor{such}"):
        with pytest.raises(FileNotFoundError, match=missing if POSIX else None):
            ExecutionSandbox(LIMITS).run([missing])
    with pytest.raises(ValueError, match="max_memory_mb"):
        ExecutionSandbox(ResourceLimits(max_memory_mb=1))


def test_a_path_is_an_argument_like_any_other(tmp_path: Path) -> None:
    script = tmp_path / "greet.py"
    script.write_text("import sys; print(sys.argv[1])")
    done = ExecutionSandbox(LIMITS).run([Path(sys.executable), script, tmp_path])
    assert done.stdout.decode().split() == [str(tmp_path)]


@pytest.mark.skipif(not POSIX, reason="on Windows subprocess has all that is open")
def test_what_cannot_be_started_leaves_no_descriptors_open() -> None:
    before = psutil.Process().num_fds()
    for argument, environment, error in ((7, {}, TypeError), (b"x", {}, TypeError), ("x", {"A": "\0"}, ValueError)):
        with pytest.raises(error):
            ExecutionSandbox(LIMITS).run([sys.executable, argument], environment=environment)
        assert psutil.Process().num_fds() == before


@pytest.mark.skipif(not POSIX, reason="subprocess itself needs threads on Windows")
def test_a_program_that_nobody_can_watch_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        ExecutionSandbox(LIMITS).run(python("import time; time.sleep(600)"))


def test_its_environment_is_clean_and_its_folder_its_own_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("WINCLAW_HOME", "elsewhere")
    sandbox = ExecutionSandbox(LIMITS)
    seen = sandbox.run_python(called.environment)
    assert "secret" not in seen.values()
    assert {name for name in seen if name.upper().startswith("WINCLAW")} == {TOKEN}
    assert seen["HOME"] == seen["TMPDIR"]
    assert Path(seen["cwd"]).resolve() != Path.cwd().resolve()
    assert not Path(seen["cwd"]).exists()
    done = sandbox.run(python("import os; print(os.environ['MINE'])"), environment={"MINE": "7"})
    assert done.stdout.split() == [b"7"]


@pytest.mark.skipif(WINE, reason="Wine gives the asking process's processor time for that of every other; Windows does not")
def test_processor_time_is_limited() -> None:
    exceeded = hit("while True: pass", max_cpu_seconds=0.3)
    assert (exceeded.limit, exceeded.allowed) == ("max_cpu_seconds", 0.3)
    assert exceeded.used < 5


def test_memory_is_limited_for_the_whole_tree() -> None:
    assert hit("x = [bytearray(10_000_000) for _ in range(60)]; import time; time.sleep(60)").limit == "max_memory_mb"
    child = "x = bytearray(120_000_000); import time; time.sleep(60)"
    assert hit(f"import subprocess, sys; [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)][0].wait()").limit == (
        "max_memory_mb"
    )


def test_a_storm_of_processes_is_ended() -> None:
    code = (
        "import subprocess, sys, time\n"
        "for _ in range(12): subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\ntime.sleep(60)"
    )
    assert hit(code, max_processes=4, max_memory_mb=4000).limit == "max_processes"


@pytest.mark.skipif(WINE, reason="Wine does not tell psutil which files another process has open; Windows does")
def test_open_files_are_limited() -> None:
    code = "import os, time; files = [open(os.path.join(os.path.dirname(os.__file__), 'os.py')) for _ in range(40)]; time.sleep(60)"
    assert hit(code, max_file_descriptors=30).limit == "max_file_descriptors"


def test_output_is_limited_and_never_fills_the_memory() -> None:
    exceeded = hit("import sys\nwhile True: sys.stdout.write('x' * 100_000)")
    assert exceeded.limit == "max_output_mb"
    assert 0 < len(exceeded.stdout) <= 1024 * 1024


@pytest.mark.skipif(WINE, reason="Wine counts no process's disk use; Windows does")
def test_what_is_written_to_disk_is_limited() -> None:
    assert hit("f = open('x', 'wb')\nwhile True: f.write(b'x' * 1_000_000); f.flush()").limit == "max_disk_io_mb"


@pytest.mark.skipif(WINE, reason="Wine does not tell whose a connection is; Windows does")
def test_connections_are_limited() -> None:
    code = (
        "import socket, time\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "all = [socket.create_connection(server.getsockname()) for _ in range(5)]\ntime.sleep(60)"
    )
    assert hit(code, max_network_connections=3).limit == "max_network_connections"


def test_time_is_limited_also_for_what_only_sleeps_or_was_stopped() -> None:
    assert hit("import time; time.sleep(60)", wall_seconds=0.3).limit == "wall_seconds"
    if POSIX:
        assert hit("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", wall_seconds=0.3).limit == "wall_seconds"


def test_what_it_has_left_behind_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    if POSIX:  # a daemon by the book: a session of its own, and no parent
        code = (
            "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
            f"  open({str(told)!r}, 'w').write('up'); time.sleep(600)\n os._exit(0)\n"
            f"while not os.path.exists({str(told)!r}): time.sleep(0.01)"
        )
    begin = time.monotonic()
    assert ExecutionSandbox(LIMITS).run(python(code)).returncode == 0
    assert time.monotonic() - begin < DEADLINE_S


def test_who_dies_takes_its_sandbox_along(tmp_path: Path, temporary: Path) -> None:
    """Its programs at once; their folder goes when a sandbox is used the next time."""
    ready = tmp_path / "ready"
    inner = f"import pathlib, time; pathlib.Path({str(ready)!r}).write_text('up'); time.sleep(600)"
    code = (
        "import sys; from resilience import ExecutionSandbox\n"
        f"ExecutionSandbox().run([sys.executable, '-c', {inner!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    try:
        until(ready.exists)
        beginning = f"sandbox:{parent.pid}:"
        assert carriers(beginning)
        parent.kill()
        parent.wait()
        until(lambda: not carriers(beginning))
        assert list(temporary.iterdir()) != []
        until(lambda: ExecutionSandbox(LIMITS).run(python("print(1)")) and not list(temporary.iterdir()))
    finally:
        parent.kill()
        parent.wait()


async def _cancelled(started: Path) -> None:
    code = f"import pathlib, time; pathlib.Path({str(started)!r}).write_text('up'); time.sleep(600)"
    running = asyncio.create_task(ExecutionSandbox(LIMITS).run_async(python(code)))
    await asyncio.to_thread(until, started.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_cancelling_ends_it(tmp_path: Path) -> None:
    asyncio.run(_cancelled(tmp_path / "started"))


async def _cancelled_behind_another() -> None:
    asked, may_go_on = [], threading.Event()

    def refusal(kind: str) -> Exception:
        asked.append(kind)
        may_go_on.wait(2 * DEADLINE_S)
        return FeatureDisabledError("the sandbox", kind, "MINIMAL", "because")

    sandbox = ExecutionSandbox(LIMITS, refusal=refusal)
    with ThreadPoolExecutor(1) as only:
        asyncio.get_running_loop().set_default_executor(only)
        first = asyncio.create_task(sandbox.run_async(python("print(1)")))
        queued = [asyncio.create_task(sandbox.run_async(python("print(2)"))), asyncio.create_task(sandbox.run_python_async(called.fail))]
        await asyncio.sleep(0)  # all three have asked for the one thread
        for one in queued:
            one.cancel()
        await asyncio.wait(queued, timeout=DEADLINE_S)
        ended = [one.done() and one.cancelled() for one in queued]
        may_go_on.set()
        with pytest.raises(FeatureDisabledError):
            await first
    assert ended == [True, True]
    assert asked == ["code"]


def test_cancelling_what_has_not_begun_takes_no_time_and_it_never_begins() -> None:
    """The event loop has so many threads for all that waits in it."""
    asyncio.run(_cancelled_behind_another())


def refusing(*kinds: str) -> Callable[[str], Exception | None]:
    return lambda kind: FeatureDisabledError("the sandbox", kind, "MINIMAL", "because") if kind in kinds else None


def test_the_level_decides_about_code_and_shells() -> None:
    with pytest.raises(FeatureDisabledError):
        ExecutionSandbox(LIMITS, refusal=refusing("code")).run_python(called.Sums.add, 1)
    for shell in ("bash", "/bin/sh", "CMD.EXE", r"powershell.exe"):
        with pytest.raises(FeatureDisabledError):
            ExecutionSandbox(LIMITS, refusal=refusing("shell")).run([shell, "-c", "echo"])
    assert ExecutionSandbox(LIMITS, refusal=refusing("shell")).run(python("print(1)")).returncode == 0


@pytest.mark.skipif(WINE, reason="Wine does not tell whose a connection is; Windows does")
def test_without_network_nobody_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sandbox = ExecutionSandbox(LIMITS, refusal=refusing("network"))
        try:
            assert sandbox.run_python(called.connect, server.getsockname()[1]) != "connected"
        except ResourceLimitExceeded as exceeded:
            assert exceeded.limit == "max_network_connections"  # noqa: PT017 -- one of both, as the system can
        assert sandbox.run(python("print(1)")).network in ("cut off", "watched")


def test_what_runs_ends_when_the_level_does_not_allow_it_any_more(tmp_path: Path) -> None:
    started = tmp_path / "started"
    now = lambda kind: refusing("code")(kind) if started.exists() else None  # noqa: E731
    code = f"import pathlib, time; pathlib.Path({str(started)!r}).write_text('up'); time.sleep(600)"
    with pytest.raises(FeatureDisabledError):
        ExecutionSandbox(LIMITS, refusal=now).run(python(code))


def test_an_agents_sandbox_obeys_its_level(tmp_path: Path) -> None:
    agent = resilience.connect("worker", folder=tmp_path)
    try:
        agent.sandbox.limits = LIMITS
        assert agent.sandbox.run_python(called.Sums.add, 1) == {"sum": 2}
        agent._enforcement.take({**agent.state, "features": {}, "level": "SAFE_MODE"}, {})
        with pytest.raises(FeatureDisabledError, match="enable_code_execution"):
            agent.sandbox.run_python(called.Sums.add, 1)
    finally:
        agent.close()


@pytest.mark.skipif(not POSIX, reason="only POSIX systems have signals like it")
def test_a_program_that_kills_its_guard_is_not_set_free(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        f"import os, signal, time\nopen({str(pid)!r}, 'w').write('up')\n"
        "try:\n os.kill(os.getppid(), signal.SIGKILL)\nexcept OSError: pass\ntime.sleep(1)"
    )
    done = ExecutionSandbox(LIMITS).run(python(code))
    assert done.returncode in (0, -signal.SIGKILL)
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(pid) in " ".join(one.info["cmdline"] or ())]
