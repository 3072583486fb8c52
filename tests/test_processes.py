"""The real program over real processes: it is killed, quit and started again, and they never notice."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from resilience.agent.wire import Wire
from resilience.processes.identity import carriers, end_carriers
from resilience.processes.records import owner_of
from tests.program import REPOSITORY, Program

DEADLINE_S = 30
COUNTER = (
    "import itertools, time\n"
    "for n in itertools.count():\n"
    "    print(n if n % 5 else f'{n}\\nERROR {chr(97 + n // 5 // 26)}{chr(97 + n // 5 % 26)} failed', flush=True)\n"
    "    time.sleep(0.01)\n"
)  # fmt: skip


def until(met: Callable[[], Any]) -> Any:
    """Waits until ``met()`` is true, and gives what it gave."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := met():
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"not within {DEADLINE_S} s")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    one = Program(tmp_path / "home")
    one.folder.mkdir()
    yield one
    if hasattr(one, "process") and one.process.poll() is None:
        one.stop()
    for token in carriers(f"{owner_of(one.folder)}:"):  # on Windows a test can only kill it, and its processes go on
        end_carriers(token)


def configure(program: Program, **processes: dict[str, Any]) -> None:
    (program.folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": {"processes": processes}}))


def running(program: Program, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = {one["name"]: one for one in program.ask("GET", "/api/v1/state")["processes"]}
        return found[name] if name in found and found[name]["state"] == "running" else None

    found: dict[str, Any] = until(look)
    return found


def counted(program: Program, name: str) -> list[int]:
    text = (program.folder / "processes" / name / "output.log").read_text()
    return [int(line) for line in text.split("\n")[:-1] if line.isdigit()]


def complained(program: Program, name: str) -> list[str]:
    text = (program.folder / "processes" / name / "output.log").read_text()
    return [line.removeprefix("ERROR ") for line in text.split("\n")[:-1] if line.startswith("ERROR")]


def reported(program: Program, name: str) -> list[str]:
    found = program.ask("GET", f"/api/v1/errors?component={name}&limit=500")["errors"]
    return [one["message"] for one in reversed(found) if one["operation"] == "output"]


def events(program: Program, name: str) -> list[str]:
    found = program.ask("GET", "/api/v1/events?since=0&limit=500")["events"]
    return [one["type"] for one in found if one["component"] == name]


def test_kill_9_of_winclaw_is_not_noticed_by_a_process_that_writes(program: Program) -> None:
    """It counts on, without a gap, into the same file; the next WinClaw watches it, and has read what it wrote meanwhile."""
    configure(program, counter={"command": [sys.executable, "-c", COUNTER]})
    program.start()
    pid = running(program, "counter")["pid"]
    for _ in range(2):  # a third time would be a crash loop of WinClaw's, and put it into Safe Mode
        program.kill()
        before = len(counted(program, "counter"))
        until(lambda before=before: len(counted(program, "counter")) > before + 10)
        missed = complained(program, "counter")
        program.start()
        one = running(program, "counter")
        assert (one["pid"], one["adopted"]) == (pid, True)
        started = [one for one in program.ask("GET", "/api/v1/events?since=0&limit=500")["events"] if one["type"] == "app.started"]
        assert started[-1]["crashed"]
        assert 0 <= started[-1]["away_s"] < 60
        until(lambda missed=missed: len(reported(program, "counter")) >= len(missed))
        assert reported(program, "counter")[: len(missed)] == missed
    numbers = counted(program, "counter")
    assert numbers == list(range(len(numbers)))
    assert events(program, "counter").count("process.started") == 1
    psutil.Process(pid).kill()
    until(lambda: running(program, "counter")["pid"] != pid)
    pid = running(program, "counter")["pid"]
    if sys.platform == "win32":  # where a test can only kill it
        program.kill()
        psutil.Process(pid).kill()
    else:
        assert program.stop() == 0
        assert not psutil.pid_exists(pid)


def test_kill_9_while_it_stops_a_process_leaves_it_stopped(program: Program) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(0, flush=True); time.sleep(1000)"
    configure(program, agent={"command": [sys.executable, "-c", stubborn], "stop_timeout_s": 60})
    program.start()
    pid = running(program, "agent")["pid"]
    until(lambda: counted(program, "agent"))
    program.ask("POST", "/api/v1/processes/agent/stop", {}, operator=True)
    until(lambda: "process.stopping" in events(program, "agent"))
    program.kill()
    program.start()
    psutil.Process(pid).kill()
    until(lambda: program.ask("GET", "/api/v1/state")["processes"][0]["state"] == "stopped")
    assert "Process agent: stopped" in program.command("status")
    assert "start was asked for" in program.command("process", "start", "agent")
    one = running(program, "agent")
    program.kill()
    psutil.Process(one["pid"]).kill()  # it would outlast the patience of this test


def test_commands_need_the_operator_and_a_process_that_is_there(program: Program) -> None:
    configure(program, agent={"command": [sys.executable, "-c", COUNTER]})
    program.start()
    agent, operator = Wire(program.folder), Wire(program.folder, operator=True)
    assert agent.ask("POST", "/api/v1/processes/agent/stop", {})[0] == 403
    assert agent.ask("GET", "/api/v1/processes/agent/output")[0] == 403
    assert operator.ask("POST", "/api/v1/processes/none/stop", {})[0] == 404
    assert operator.ask("POST", "/api/v1/processes/agent/explode", {})[0] == 422
    assert "No such process" in program.command("process", "stop", "none", code=1)


def test_a_port_is_free_again_after_the_tree_was_killed(program: Program) -> None:
    """The one that listens is a child of the process that WinClaw started, as npm and shims do it."""
    [port] = _ports(1)
    server = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(1000)"
    shim = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {server!r}]))"
    configure(program, agent={"command": [sys.executable, "-c", shim], "port": port})
    program.start()
    pid = running(program, "agent")["pid"]

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    until(answers)
    psutil.Process(pid).kill()
    until(lambda: running(program, "agent")["pid"] != pid)
    until(answers)


OLLAMA = """#!{python}
import http.server, os, sys
assert sys.argv[1:] == ["serve"], sys.argv
host, port = os.environ["OLLAMA_HOST"].split(":")
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"Ollama is running")
http.server.HTTPServer((host, int(port)), Page).serve_forever()
"""
GATEWAY = """#!{python}
import http.server, os, sys
assert sys.argv[1:] == ["gateway", "run"], sys.argv
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404); self.end_headers()
        self.wfile.write(b'{{"ok":true,"status":"live","pid":%d}}' % os.getpid())
try:
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["OPENCLAW_GATEWAY_PORT"])), Page)
except OSError as error:
    sys.exit(f"Gateway failed to start: another gateway instance is already listening | listen EADDRINUSE: {{error}}")
server.serve_forever()
"""


def _ports(count: int) -> list[int]:
    """Ports of this machine that are free now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are scripts that POSIX starts by their first line")
def test_the_ready_made_entries_keep_a_gateway_and_its_model_alive(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs with the names, commands, ports and answers of Ollama and an OpenClaw gateway."""
    page = (REPOSITORY / "docs" / "processes.md").read_text(encoding="utf-8")
    [entry] = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "openclaw" in block and "ollama" in block]
    ollama, gateway = _ports(2)
    text = entry.replace("11434", str(ollama)).replace("18789", str(gateway))
    (program.folder / "error_handling_config.yaml").write_text(text)
    for name, code in (("ollama", OLLAMA), ("openclaw", GATEWAY)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code.format(python=sys.executable))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{ollama}")
    monkeypatch.setenv("OPENCLAW_GATEWAY_PORT", str(gateway))
    program.start()
    pid = running(program, "openclaw-gateway")["pid"]
    assert running(program, "ollama")["ready"]
    found = program.ask("GET", "/api/v1/events?since=0&limit=500")["events"]
    told = [(one["component"], one["type"]) for one in found]
    assert told.index(("ollama", "process.ready")) < told.index(("openclaw-gateway", "process.started"))
    program.kill()
    program.start()
    assert running(program, "openclaw-gateway")["pid"] == pid
    psutil.Process(pid).kill()
    until(lambda: running(program, "openclaw-gateway")["pid"] != pid)

    def health() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway}/health", timeout=5) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said

    assert health()["pid"] == running(program, "openclaw-gateway")["pid"]
