"""An agent whose calls really fail: ``python -m tests.sample_agent WORKSHOP`` makes each failure once, and reports it.

Every failure is a real one: a closed port, a name that does not exist, a certificate nobody trusts, an HTTP server
that refuses, a locked database, a full disk, a child that is killed. Only loopback addresses are touched.

    python -m tests.sample_agent FOLDER                 each failure once
    python -m tests.sample_agent FOLDER --steady 100 60 timeouts, 100 a second for 60 s; each line printed is a key sent
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import resilience
from resilience.agent.client import Agent

EXPECTED = {
    "refused": "transient.network",
    "dns": "transient.network.dns",
    "tls": "transient.network.tls",
    "429": "agentic.llm.rate_limit",
    "503": "transient.service.unavailable",
    "locked": "transient.resource",
    "full-disk": "transient.resource.disk_space",
    "json": "persistent.validation.output",
    "missing-file": "persistent.not_found",
    "killed-child": "platform.os.process",
}
"""Each failure's name, and the kind under which it must be shown."""


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "20")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def _serving(certificate: Any = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a failed handshake is what we are after
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    socket.create_connection(("127.0.0.1", port), timeout=5)


def _dns() -> None:
    socket.getaddrinfo("no-such-host.invalid", 80)


def _tls() -> None:
    """A certificate that nobody trusts; where nothing can make one, a server that speaks no TLS at all."""
    try:
        import trustme
    except ModuleNotFoundError:
        with _serving() as port, urllib.request.urlopen(f"https://127.0.0.1:{port}/200"):
            return
    with _serving(trustme.CA().issue_cert("localhost")) as port, urllib.request.urlopen(f"https://localhost:{port}/200"):
        pass


def _status(status: int) -> None:
    with _serving() as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/{status}"):
        pass


def _locked(workshop: Path) -> None:
    path = workshop / "memory.db"
    with contextlib.closing(sqlite3.connect(path)) as first, contextlib.closing(sqlite3.connect(path, timeout=0)) as second:
        first.execute("CREATE TABLE IF NOT EXISTS notes (text)")
        first.execute("BEGIN EXCLUSIVE")
        second.execute("INSERT INTO notes VALUES ('x')")


def _full_disk(workshop: Path) -> None:
    """On a file system of 64 KB of our own where we may mount one, else on the system's device that is always full."""
    small = workshop / "small-disk"
    small.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "winclaw-test", str(small)], capture_output=True, check=False)
    try:
        with (small / "notes" if mounted.returncode == 0 else Path("/dev/full")).open("wb") as file:
            file.write(b"x" * 1_000_000)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(small)], check=True)


def _killed_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    child.wait()
    raise subprocess.CalledProcessError(child.returncode, "worker")


def failures(workshop: Path) -> dict[str, tuple[str, Callable[[], object]]]:
    """Each failure's name → (the service that is called, the call)."""
    return {
        "refused": ("browser_control", _refused),
        "dns": ("gmail_api", _dns),
        "tls": ("twilio_api", _tls),
        "429": ("gpt-5.2", lambda: _status(429)),
        "503": ("gmail_api", lambda: _status(503)),
        "locked": ("memory_system", lambda: _locked(workshop)),
        "full-disk": ("file_system", lambda: _full_disk(workshop)),
        "json": ("tool_output", lambda: json.loads('{"answer": 42')),
        "missing-file": ("file_system", lambda: (workshop / "no-such-file").read_text()),
        "killed-child": ("shell_execution", _killed_child),
    }


def fail_once_each(agent: Agent, workshop: Path) -> None:
    """Makes every call; each fails, is reported under its own name, and the agent goes on."""
    for name, (service, call) in failures(workshop).items():
        if name == "full-disk" and os.name == "nt":
            continue
        try:
            with agent.watch(service, name):
                call()
        except Exception as error:  # whatever it is, that is the point
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        else:
            raise SystemExit(f"{name} did not fail")


def fail_steadily(agent: Agent, per_second: float, seconds: float) -> None:
    """Reports timeouts at a steady rate, each with the time at which it happened in its message."""
    began = time.perf_counter()
    number = 0
    while (due := number / per_second) < seconds:
        time.sleep(max(0.0, began + due - time.perf_counter()))
        agent.report(TimeoutError(f"call {number} at {time.time():.6f}"), "gpt-5.2", "steady")
        print(number, flush=True)
        number += 1


def main() -> None:
    workshop = Path(sys.argv[1])
    workshop.mkdir(parents=True, exist_ok=True)
    agent = resilience.connect("sample-agent")
    if "--steady" in sys.argv:
        per_second, seconds = map(float, sys.argv[3:5])
        fail_steadily(agent, per_second, seconds)
    else:
        fail_once_each(agent, workshop)
    agent.flush(10)
    agent.close()


if __name__ == "__main__":
    main()
