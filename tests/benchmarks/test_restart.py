"""WinClaw itself is killed: how long until it answers again, under its guardian, and under other supervisors as they come.

Beside them the floor: a loop that waits for its child and starts it again, and does nothing else. What takes long in it is the
app's own start, which is the same for all, so the guardian has to be as fast as the floor. Each kill finds a guardian (or a peer)
that has just been started, for all of them pause when what they keep alive dies again and again. The turns go round, so that
whatever else the machine does meanwhile slows all down alike. pm2 takes part if ``pm2`` is on the path.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from resilience.home import ENDPOINT, read_json
from tests.benchmarks.test_supervision import free_port, posix_only, until
from tests.program import REPOSITORY
from tests.test_guardian import kill

TIMES: Final = 5
SETTLED_S: Final = 3.0
"""So long an app has run when it is killed; the peers take for a failed start what ends after less than one second."""
Start = Callable[[Path, list[str], dict[str, str]], AbstractContextManager[None]]


@contextmanager
def bare_loop(_: Path, command: list[str], env: dict[str, str]) -> Iterator[None]:
    ended, running = threading.Event(), list[subprocess.Popen[bytes]]()

    def keep() -> None:
        while not ended.is_set():
            with subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
                running.append(child)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    yield
    ended.set()
    running[-1].kill()
    keeper.join()


@contextmanager
def guardian(_: Path, command: list[str], env: dict[str, str]) -> Iterator[None]:
    guarded = [part for part in command if part != "--no-guard"]
    with subprocess.Popen(guarded, env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield
        process.terminate()


@contextmanager
def supervisord(folder: Path, command: list[str], env: dict[str, str]) -> Iterator[None]:
    config = folder / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nuser=root\nlogfile={folder}/s.log\npidfile={folder}/s.pid\n"
        f"[program:winclaw]\ncommand={' '.join(command)}\ndirectory={REPOSITORY}\n"
    )
    with subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], env=env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as daemon:  # fmt: skip
        yield
        daemon.terminate()


@contextmanager
def pm2(folder: Path, command: list[str], env: dict[str, str]) -> Iterator[None]:
    script = folder / "run.sh"
    script.write_text(f"#!/bin/sh\ncd {REPOSITORY} && exec {' '.join(command)}\n")
    script.chmod(0o700)

    def run(*arguments: str) -> None:
        subprocess.run(["pm2", *arguments], env={**env, "PM2_HOME": str(folder / "pm2")}, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip

    run("start", str(script), "--name", "winclaw", "--interpreter", "none")
    yield
    run("kill")


def here() -> Iterator[Start]:
    yield from (start for start in (bare_loop, guardian, supervisord, pm2) if start is not pm2 or shutil.which("pm2"))


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def pid_in(home: Path) -> int | None:
    found = read_json(home / ENDPOINT)
    return None if found is None else int(found["pid"])


def down_ms(start: Start, folder: Path) -> float:
    """Milliseconds from kill -9 of the app until another one answers."""
    folder.mkdir()
    home, port = folder / "home", free_port()
    command = [sys.executable, "-m", "tray", "run", "--headless", "--no-browser", "--no-guard", "--port", str(port)]
    with start(folder, command, {**os.environ, "WINCLAW_HOME": str(home)}):
        until(lambda: answers(port) and pid_in(home) is not None)
        time.sleep(SETTLED_S)
        before = pid_in(home)
        began = time.perf_counter()
        kill(before)
        while answers(port):
            pass
        until(lambda: answers(port))
        ms = (time.perf_counter() - began) * 1000
        until(lambda: pid_in(home) not in (None, before))
    return ms


@pytest.mark.benchmark
@posix_only
def test_winclaw_answers_again_as_soon_as_under_a_bare_loop_and_sooner_than_under_the_peers(tmp_path: Path) -> None:
    times: dict[str, list[float]] = {}
    for turn in range(TIMES):
        for start in here():
            times.setdefault(start.__name__, []).append(down_ms(start, tmp_path / f"{start.__name__}{turn}"))
    medians = {name: statistics.median(some) for name, some in times.items()}
    print()
    for name, some in times.items():
        ratio, span = medians[name] / medians["bare_loop"], f"best {min(some):6.0f}, worst {max(some):6.0f}"
        print(f"{name:12} answers again after {medians[name]:6.0f} ms ({span})   floor times {ratio:.2f}")
    assert medians["guardian"] < 1.15 * medians["bare_loop"]
    assert all(medians["guardian"] < 1.05 * other for other in medians.values())
