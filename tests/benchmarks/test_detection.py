"""How long until what is wrong with a supervised process is seen, and until it answers again; with the settings that
everybody gets who sets none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.test_supervision import free_port
from tests.program import Program
from tests.resilience.processes.conftest import is_alive

SEEN_S = 5.0
READOPTED_S = 1.0
SERVER = (
    "import http.server, os, sys, threading, time\n"
    "held, ill = [], []\n"
    "class Page(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        if self.path == '/leak': threading.Thread(target=lambda: [held.append(bytearray(20_000_000)) or time.sleep(0.05)"
    " for _ in range(100)], daemon=True).start()\n"
    "        if self.path == '/complain': print('ERROR the model is gone', flush=True)\n"
    "        if self.path == '/fork': [os.fork() == 0 and (os.setsid(), time.sleep(600), os._exit(0)) for _ in range(50)]\n"
    "        if self.path == '/ill': ill.append(1)\n"
    "        self.send_response(500 if ill and self.path == '/health' else 200); self.end_headers(); self.wfile.write(b'%d' % os.getpid())\n"
    "    def log_message(self, *_): pass\n"
    "http.server.ThreadingHTTPServer(('127.0.0.1', PORT), Page).serve_forever()"
)  # fmt: skip


def ask(port: int, path: str = "/") -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=0.5) as answer:
            return int(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None


def until(met: Any) -> float:
    """Seconds until ``met()``."""
    begin = time.perf_counter()
    while not met():
        assert time.perf_counter() - begin < 60
        threading.Event().wait(0.005)
    return time.perf_counter() - begin


@pytest.mark.benchmark
@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")
def test_what_is_wrong_is_seen_within_five_seconds_and_mended(tmp_path: Path) -> None:
    program, port = Program(tmp_path / "home", port=free_port()), free_port()
    program.folder.mkdir()
    server = {
        "command": [sys.executable, "-c", SERVER.replace("PORT", str(port))], "port": port, "max_memory_mb": 400,
        "probe": {"http": f"http://127.0.0.1:{port}/"}, "max_restarts": 100, "healthy_after_s": 1,
    }  # fmt: skip
    (program.folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": {"processes": {"server": server}}}))
    program.start()
    until(lambda: ask(port))

    def events(kind: str) -> list[dict[str, Any]]:
        return [one for one in program.ask("GET", "/api/v1/events?since=0&limit=500")["events"] if one["type"] == kind]

    def trouble(name: str, make: Any, sign: str) -> float:
        before, pid = len(events(sign)), ask(port)
        time.sleep(2)
        make(pid)
        begin = time.perf_counter()
        seen_s = until(lambda: len(events(sign)) > before)
        until(lambda: ask(port) not in (None, pid))
        print(f"{name:32} seen after {seen_s:6.3f} s, answers again after {time.perf_counter() - begin:6.3f} s")
        return seen_s

    print()
    seen = [
        trouble("killed with -9", lambda pid: os.kill(pid, signal.SIGKILL), "process.exited"),
        trouble("hung (SIGSTOP)", lambda pid: os.kill(pid, signal.SIGSTOP), "process.silent"),
    ]

    def fork(pid: int) -> None:  # and each fork holds the port
        ask(port, "/fork")
        os.kill(pid, signal.SIGKILL)

    seen.append(trouble("killed; 50 forks hold its port", fork, "process.exited"))
    leak_s = trouble("leaks 400 MB a second", lambda pid: ask(port, "/leak"), "process.stopping")
    print(f"{'':32} (a leak is looked for every 5 s, twice: {leak_s:.1f} s)")
    ask(port, "/complain")
    said = until(lambda: [one for one in program.ask("GET", "/api/v1/errors")["errors"] if one["message"] == "the model is gone"])
    print(f"{'an error in its output':32} seen after {said:6.3f} s")
    pid = ask(port)
    program.kill()
    begin = datetime.now(UTC)
    program.start()
    until(lambda: events("process.adopted"))
    [adopted] = events("process.adopted")
    after_s = (datetime.fromisoformat(adopted["at"]) - begin).total_seconds()
    assert ask(port) == pid
    print(f"{'WinClaw killed with -9':32} re-adopted {after_s:6.3f} s after the command that started another")
    program.stop()
    assert not is_alive(pid)
    assert max(*seen, said) < SEEN_S
    assert after_s < READOPTED_S


@pytest.mark.benchmark
@pytest.mark.skipif(sys.platform == "win32", reason="os.fork")
def test_a_service_that_answers_with_errors_is_healed_and_verified(tmp_path: Path) -> None:
    program, port = Program(tmp_path / "home", port=free_port()), free_port()
    program.folder.mkdir()
    server = {"command": [sys.executable, "-c", SERVER.replace("PORT", str(port))], "probe": {"tcp": f"127.0.0.1:{port}"}}
    store = {"process": "server", "probe": {"http": f"http://127.0.0.1:{port}/health", "interval_s": 1}}
    settings = {"processes": {"server": server}, "services": {"vector_store": store}}
    (program.folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": settings}))
    program.start()

    def events(kind: str) -> list[dict[str, Any]]:
        return [one for one in program.ask("GET", "/api/v1/events?since=0&limit=500")["events"] if one["type"] == kind]

    def is_well() -> bool:
        return any(one["well"] for one in program.ask("GET", "/api/v1/state")["probes"])

    until(is_well)
    ask(port, "/ill")
    seen_s = until(lambda: events("heal.started"))
    closed_s = seen_s + until(lambda: events("circuit.closed"))
    until(lambda: events("heal.ended"))
    [heal] = events("heal.ended")
    print(f"\nanswers with errors              seen after {seen_s:6.3f} s, circuit closed after {closed_s:6.3f} s")
    print(f"{'':32} {heal['action']}: {heal['outcome']}, {heal['verification']}; {heal['seconds']:.1f} s in all")
    program.stop()
    assert heal["outcome"] == "healed"
    assert seen_s < SEEN_S
