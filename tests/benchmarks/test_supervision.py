"""A killed process: how long until it answers again, beside a bare loop and other supervisors; their idle cost, and what
each does with a program that ends at once. All in one run, each as it comes out of the box.

pm2 takes part if ``pm2`` is on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.program import Program

TIMES = 30
IDLE_S = 5.0
LOOP_S = 10.0
SERVER = (
    "import _socket as n, os\n"
    "s = n.socket(n.AF_INET, n.SOCK_STREAM); s.setsockopt(n.SOL_SOCKET, n.SO_REUSEADDR, 1)\n"
    "s.bind(('127.0.0.1', PORT)); s.listen(50)\n"
    "while True:\n"
    "    c = n.socket(fileno=s._accept()[0]); c.send(b'%d\\n' % os.getpid()); c.close()\n"
)  # fmt: skip
CRASHER = "open(PATH, 'a').write('x'); raise SystemExit(1)"
SERVES = "listen(50)"
Command = list[str]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def answers(port: int) -> int | None:
    """The number of the process that answers; None if none does."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            return int(connection.recv(20) or 0) or None
    except (OSError, ValueError):
        return None


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def bare_loop(folder: Path, command: Command) -> Iterator[int]:
    """The floor: a thread that waits for its child and starts it again; no other supervisor's work is done."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.is_set():
            with subprocess.Popen(command, start_new_session=True) as child:
                running.append(child)
                child.wait()
                running.clear()

    running: list[subprocess.Popen[bytes]] = []
    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    yield os.getpid()
    ended.set()
    for child in running:
        child.kill()
    keeper.join()


@contextmanager
def winclaw(folder: Path, command: Command) -> Iterator[int]:
    program = Program(folder, port=free_port())
    # That a process is killed thirty times in a row is this benchmark's doing, so each time counts as healthy, and nothing is
    # to heal it while it is being counted.
    kept = {"command": command, "healthy_after_s": 0.01, "max_restarts": 1000} if SERVES in command[-1] else {"command": command}
    processes = {"it": kept}
    settings = {"processes": processes, "self_healing": {"enabled": False}}
    (folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": settings}))
    program.start()
    yield program.process.pid
    program.stop()


@contextmanager
def supervisord(folder: Path, command: Command) -> Iterator[int]:
    script = folder / "it.py"
    script.write_text(command[-1])
    config = folder / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nuser=root\nlogfile={folder}/s.log\npidfile={folder}/s.pid\n"
        f"[program:server]\ncommand={' '.join(command[:-2])} {script}\n"
    )
    with subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as daemon:  # fmt: skip
        yield daemon.pid
        daemon.terminate()


@contextmanager
def circus(folder: Path, command: Command) -> Iterator[int]:
    script = folder / "it.py"
    script.write_text(command[-1])
    ends = "\n".join(f"{name}=tcp://127.0.0.1:{free_port()}" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint"))
    config = folder / "circus.ini"
    config.write_text(f"[circus]\n{ends}\n[watcher:server]\ncmd={' '.join(command[:-2])} {script}\nnumprocesses=1\n")
    with subprocess.Popen([sys.executable, "-m", "circus.circusd", str(config)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as daemon:  # fmt: skip
        yield daemon.pid
        daemon.terminate()


@contextmanager
def pm2(folder: Path, command: Command) -> Iterator[int]:
    script = folder / "it.py"
    script.write_text(command[-1])
    env = {**os.environ, "PM2_HOME": str(folder / "pm2")}

    def run(*arguments: str) -> None:
        subprocess.run(["pm2", *arguments], env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("start", str(script), "--name", "server", "--interpreter", command[0], "--interpreter-args", " ".join(command[1:-2]))
    yield int((folder / "pm2" / "pm2.pid").read_text())
    run("kill")


def killed_and_back(port: int) -> float:
    """Milliseconds from kill -9 until another process answers."""
    before = answers(port)
    assert before is not None
    begin = time.perf_counter()
    os.kill(before, signal.SIGKILL)
    while (now := answers(port)) is None or now == before:
        assert time.perf_counter() - begin < 30
    return (time.perf_counter() - begin) * 1000


def used(pid: int) -> tuple[float, float]:
    """Percent of a core over a few idle seconds, and MB."""
    process = psutil.Process(pid)
    process.cpu_percent()
    time.sleep(IDLE_S)
    return process.cpu_percent(), process.memory_info().rss / 1024 / 1024


PEERS = (bare_loop, winclaw, pm2, supervisord, circus)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the peers run on POSIX")


def here() -> Iterator[tuple[str, Callable[[Path, Command], AbstractContextManager[int]]]]:
    for start in PEERS:
        if start is not pm2 or shutil.which("pm2"):
            yield start.__name__, start


@pytest.mark.benchmark
@posix_only
def test_a_killed_process_answers_again_sooner_than_under_the_peers(tmp_path: Path) -> None:
    medians: dict[str, float] = {}
    print()
    for name, start in here():
        folder, port = tmp_path / name, free_port()
        folder.mkdir()
        quick = name in ("bare_loop", "winclaw")
        with start(folder, [sys.executable, "-I", "-S", "-c", SERVER.replace("PORT", str(port))]) as pid:
            until(lambda port=port: answers(port) is not None)
            time.sleep(1.5)  # some take for a failed start what ends before that
            times = []
            for _ in range(TIMES if quick else 5):
                times.append(killed_and_back(port))
                time.sleep(0.05 if quick else 1.5)
            cpu, memory = (0.0, 0.0) if name == "bare_loop" else used(pid)
        medians[name] = statistics.median(times)
        print(f"{name:12} back after {medians[name]:7.1f} ms (worst {max(times):7.1f})   idle {cpu:4.1f} % {memory:5.0f} MB")
    assert medians["winclaw"] < 3 * medians["bare_loop"]
    assert all(medians["winclaw"] < other for name, other in medians.items() if name not in ("bare_loop", "winclaw"))


@pytest.mark.benchmark
@posix_only
def test_a_program_that_ends_at_once_is_not_started_for_ever(tmp_path: Path) -> None:
    starts: dict[str, int] = {}
    print()
    for name, start in here():
        folder = tmp_path / name
        folder.mkdir()
        marks = folder / "marks"
        with start(folder, [sys.executable, "-I", "-S", "-c", CRASHER.replace("PATH", repr(str(marks)))]) as pid:
            time.sleep(LOOP_S)
            counted = marks.stat().st_size
            cpu, _ = (0.0, 0.0) if name == "bare_loop" else used(pid)
            starts[name] = marks.stat().st_size
        print(f"{name:12} {counted:5} starts in {LOOP_S:g} s, {starts[name] - counted:4} in the {IDLE_S:g} s after; {cpu:4.1f} % CPU")
    assert starts["winclaw"] <= 6
