"""One look, at real servers and programs that behave as badly as they can."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from resilience.clock import SystemClock
from resilience.detection.policy import Probe
from resilience.detection.probes import look
from resilience.detection.status import Outcome

Answer = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"


class Server:
    """A server on loopback; each connection is answered by ``answer`` on a thread of its own."""

    def __init__(self, answer: Answer) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._answer = answer
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._answer(connection)

    def stop(self) -> None:
        self.ended.set()
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def seen(**probe: object) -> Outcome:
    return look(Probe(**probe), SystemClock())  # type: ignore[arg-type]


def http(server: Server, **probe: object) -> Outcome:
    return seen(**{"http": f"http://127.0.0.1:{server.port}/health", "timeout_s": 0.5, **probe})


def says(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(data)

    return answer


def drips(connection: socket.socket) -> None:
    connection.recv(4096)
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        threading.Event().wait(0.05)


def floods(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def is_silent(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.recv(4096)


@pytest.mark.parametrize(
    ("answer", "probe", "ok", "what"),
    [
        (OK, {}, True, "HTTP status 200"),
        (OK, {"contains": "ready"}, True, "HTTP status 200"),
        (OK, {"contains": "steady"}, False, "HTTP status 200, but the answer does not contain 'steady'"),
        (OK, {"status": (204,)}, False, "HTTP status 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", {}, True, "HTTP status 302"),
        (b"HTTP/1.1 401 No\r\n\r\n", {}, False, "HTTP status 401"),
        (b"HTTP/1.1 401 No\r\n\r\n", {"status": (401,)}, True, "HTTP status 401"),
        (b"HTTP/1.1 503 No\r\n\r\n", {}, False, "HTTP status 503"),
        (b"\x00\xff rubbish\r\n\r\n", {}, False, "no HTTP: BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", {}, False, "no HTTP: HTTPException"),
        (b"", {}, False, "the connection was closed without an answer"),
    ],
)  # fmt: skip
def test_http(serve: Callable[[Answer], Server], answer: bytes, probe: dict[str, object], ok: bool, what: str) -> None:
    outcome = http(serve(says(answer)), **probe)
    assert (outcome.ok, outcome.what) == (ok, what)


@pytest.mark.parametrize("answer", [drips, is_silent])
def test_whoever_keeps_a_probe_waiting_is_left_in_time(serve: Callable[[Answer], Server], answer: Answer) -> None:
    begin_s = time.monotonic()
    outcome = http(serve(answer))
    assert (outcome.ok, outcome.what) == (False, "no answer within 0.5 s")
    assert time.monotonic() - begin_s < 5


def test_an_endless_answer_is_read_to_a_bound(serve: Callable[[Answer], Server]) -> None:
    assert http(serve(floods)).ok
    assert not http(serve(floods), contains="ready").ok


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert seen(http=f"http://127.0.0.1:{port}/").what == "the connection was refused"
    assert seen(tcp=f"127.0.0.1:{port}").what == "the connection was refused"


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_localhost_is_whichever_of_the_two_answers(family: socket.AddressFamily, host: str) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with server:
        assert seen(tcp=f"localhost:{server.getsockname()[1]}").ok


def test_tcp(serve: Callable[[Answer], Server]) -> None:
    assert seen(tcp=f"127.0.0.1:{serve(is_silent).port}").ok


@pytest.mark.skipif("WINEPREFIX" in os.environ, reason="Wine does not tell psutil the names of processes; Windows does")
def test_a_running_program_is_found_by_its_name() -> None:
    assert seen(process=psutil.Process().name()).ok
    assert seen(process="no-such-program").what == "no no-such-program runs"


@pytest.mark.parametrize(
    ("code", "probe", "ok", "what"),
    [
        ("print('all well')", {}, True, "exit status 0"),
        ("print('all well')", {"contains": "well"}, True, "exit status 0"),
        ("print('all well')", {"contains": "bad"}, False, "exit status 0, but its output does not contain 'bad'"),
        ("print('one'); print('no disk'); raise SystemExit(3)", {}, False, "exit status 3: no disk"),
        ("import time; time.sleep(100)", {"timeout_s": 0.3}, False, "no answer within 0.3 s"),
        ("print('x' * 10_000_000)", {}, True, "exit status 0"),
    ],
)
def test_command(code: str, probe: dict[str, object], ok: bool, what: str) -> None:
    outcome = seen(**{"command": (sys.executable, "-c", code), "timeout_s": 20, **probe})
    assert (outcome.ok, outcome.what) == (ok, what)


def test_a_command_takes_what_it_has_started_with_it(tmp_path: Path) -> None:
    """Its child holds on to the output, in a session of its own."""
    told = tmp_path / "pid"
    child = "import time; time.sleep(100)"
    apart = {"creationflags": 512} if sys.platform == "win32" else {"start_new_session": True}
    code = (
        f"import subprocess, sys, pathlib; one = subprocess.Popen([sys.executable, '-c', {child!r}], **{apart!r}); "
        f"pathlib.Path({str(told)!r}).write_text(str(one.pid))"
    )
    assert seen(command=(sys.executable, "-c", code), timeout_s=20).ok
    try:
        left = psutil.Process(int(told.read_text()))
        assert left.status() == psutil.STATUS_ZOMBIE or not left.wait(10)
    except psutil.NoSuchProcess:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a program of Windows cannot do without its environment")
@pytest.mark.parametrize(("code", "what"), [("", "exit status 0"), ("; time.sleep(1000)", "no answer within 2 s")])
def test_what_a_command_leaves_behind_out_of_reach_holds_up_no_look(tmp_path: Path, code: str, what: str) -> None:
    """It has another environment, so nobody knows it as the command's, and holds on to the output."""
    told, found = tmp_path / "pid", list[Outcome]()
    child = "import time; time.sleep(1000)"
    left = f"one = subprocess.Popen([sys.executable, '-c', {child!r}], env={{}}, start_new_session=True)"
    command = (sys.executable, "-c", f"import subprocess, sys, time, pathlib; {left}; pathlib.Path({str(told)!r}).write_text(str(one.pid)){code}")
    timeout_s = 2 if code else 20
    looking = threading.Thread(target=lambda: found.append(seen(command=command, timeout_s=timeout_s)), daemon=True)
    looking.start()
    looking.join(30)
    if told.exists():
        psutil.Process(int(told.read_text())).kill()
    assert [one.what for one in found] == [what]


def test_a_program_that_is_not_there() -> None:
    assert seen(command=("no-such-program",)).what in ("there is no no-such-program", "there is no such program")


def test_file_age(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    assert seen(file=str(path)).what == "there is no such file"
    path.write_text("x")
    assert seen(file=str(path), max_age_s=60).ok
    os.utime(path, (time.time() - 100, time.time() - 100))
    outcome = seen(file=str(path), max_age_s=60)
    assert not outcome.ok
    assert "s ago, of 60 allowed" in outcome.what


def test_disk_space(tmp_path: Path) -> None:
    assert seen(disk=str(tmp_path), min_free_mb=1).ok
    outcome = seen(disk=str(tmp_path), min_free_mb=10_000_000)
    assert not outcome.ok
    assert outcome.what.endswith("MB are free, of 10000000 needed")
