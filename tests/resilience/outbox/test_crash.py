"""Real processes, killed without warning: what was accepted arrives."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from resilience.clock import SystemClock
from resilience.outbox.outbox import LOOK_AGAIN_S
from resilience.testing import FakeClock
from tests.resilience.outbox.conftest import ROOT, Desk


class Receiver:
    """A server on this machine that keeps the raw record of every POST, and kills the one who asks when it is told to.

    Args:
        kills: which request, by number, is whose last, and when: ``lost`` (before it is recorded), ``unanswered`` (recorded,
            and not answered), ``answered`` (at the moment of the answer).
    """

    def __init__(self, kills: dict[int, str]) -> None:
        self.record: list[dict[str, Any]] = []
        self.kills, self.requests = kills, 0
        self.child: subprocess.Popen[bytes] | None = None
        self.recorded = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.recorded:
                    receiver.requests += 1
                    when = receiver.kills.get(receiver.requests)
                    if when != "lost":
                        receiver.record.append(body)
                        receiver.recorded.notify_all()
                self.answer(when, {})

            def do_GET(self) -> None:
                with receiver.recorded:
                    receiver.requests += 1
                    when = receiver.kills.get(receiver.requests)
                    received = any(self.path == f"/received/{body['key']}" for body in receiver.record)
                self.answer(when, {"received": received})

            def answer(self, when: str | None, said: dict[str, Any]) -> None:
                if when in ("lost", "unanswered"):
                    receiver.kill()
                    return
                content = json.dumps(said).encode()
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                if when == "answered":
                    receiver.kill()

            def log_message(self, *_: object) -> None:
                """Nothing: the tests' output is no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(self.server.server_port), *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self.child

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def keys(self, channel: str) -> list[str]:
        return [body["key"] for body in self.record if body["channel"] == channel]


CHILD = """
import http.client, json, sys
from pathlib import Path
from resilience.clock import SystemClock
from resilience.outbox.outbox import Outbox
from resilience.policies import OutboxLimits

folder, port, how, count = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body)
    answer = connection.getresponse()
    assert answer.status == 200
    try:
        return json.load(answer)
    finally:
        connection.close()

def post(message):
    said = {"channel": message.channel, "key": message.key, "in_doubt": message.in_doubt, "attempt": message.attempt}
    ask("POST", "/", json.dumps(said))

def was_sent(message):
    return ask("GET", "/received/" + message.key)["received"]

outbox = Outbox(folder, "mailer", SystemClock(), limits=OutboxLimits(drain_per_s=10_000.0, max_attempts=100))
for number in range(count):
    for channel in ("mail", "chat"):
        outbox.send(channel, number, key=f"{channel}-{number}")
if how != "enqueues":
    for channel in ("mail", "chat"):
        outbox.sender(channel, was_sent=was_sent if how == "asks" else None)(post)
print("ready", flush=True)
if count:
    assert how == "enqueues" or outbox.flush(60)
else:
    sys.stdin.read()
outbox.close()
"""
KEYS: Final = {channel: [f"{channel}-{number}" for number in range(12)] for channel in ("mail", "chat")}


@contextlib.contextmanager
def receiver_that_kills(**kills: str) -> Iterator[Receiver]:
    receiver = Receiver({int(number[1:]): when for number, when in kills.items()})
    try:
        yield receiver
    finally:
        receiver.close()


def run_until_it_ends(receiver: Receiver, folder: Path, how: str) -> int:
    """Starts the same agent again and again until one process is not killed; returns how many were."""
    for killed in range(len(receiver.kills) + 1):
        child = receiver.start(folder, how, "12")
        child.communicate()
        if child.returncode == 0:
            return killed
    raise AssertionError(f"the last process ended with {child.returncode}")


@pytest.mark.parametrize(
    "kills",
    [
        {"n1": "lost", "n3": "lost", "n5": "unanswered", "n6": "lost", "n14": "answered"},
        {"n1": "unanswered", "n2": "unanswered", "n3": "answered", "n9": "unanswered", "n24": "unanswered"},
        {"n2": "answered", "n4": "answered", "n8": "lost", "n16": "unanswered"},
    ],
)
def test_kill_9_while_delivering_sends_everything_exactly_once_where_the_receiver_can_be_asked(
    tmp_path: Path, kills: dict[str, str]
) -> None:
    """Each process is killed at one request: a POST that was lost, received or answered, or the question itself."""
    with receiver_that_kills(**kills) as receiver:
        assert run_until_it_ends(receiver, tmp_path, "asks") == len(kills)
        for channel, keys in KEYS.items():
            assert receiver.keys(channel) == keys


def test_kill_9_while_delivering_loses_nothing_and_repeats_only_what_is_in_doubt(tmp_path: Path) -> None:
    kills = {"n1": "unanswered", "n2": "lost", "n4": "answered", "n9": "unanswered", "n17": "unanswered", "n20": "lost"}
    with receiver_that_kills(**kills) as receiver:
        assert run_until_it_ends(receiver, tmp_path, "only sends") == len(kills)
        for channel, keys in KEYS.items():
            assert list(dict.fromkeys(receiver.keys(channel))) == keys
            assert receiver.keys(channel) == sorted(receiver.keys(channel), key=keys.index)
        seen = set()
        for body in receiver.record:
            assert body["in_doubt"] or body["key"] not in seen
            seen.add(body["key"])
        assert 3 <= len(receiver.record) - len(seen) <= 4


def test_when_the_process_that_delivers_is_killed_another_takes_over(tmp_path: Path) -> None:
    with receiver_that_kills() as receiver:
        desk = Desk(tmp_path, FakeClock(SystemClock().now()))  # the child's clock is the real one
        child = receiver.start(tmp_path, "asks", "0")
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"ready"
        desk.register("mail")
        desk.outbox.send("mail", 1, key="a")
        with receiver.recorded:
            assert receiver.recorded.wait_for(lambda: receiver.keys("mail") == ["a"], 60)
        assert desk.outbox.step() == LOOK_AGAIN_S
        receiver.kill()
        desk.outbox.send("mail", 2, key="b")
        desk.run(10)
        assert desk.keys[-1:] == ["b"]
        assert receiver.keys("mail") == ["a"]
        desk.outbox.close()


def test_many_processes_that_begin_at_once_accept_every_key_once(tmp_path: Path) -> None:
    with receiver_that_kills() as receiver:
        children = [receiver.start(tmp_path, "enqueues", "12") for _ in range(6)]
        for child in children:
            child.communicate()
            assert child.returncode == 0
        assert run_until_it_ends(receiver, tmp_path, "only sends") == 0
        for channel, keys in KEYS.items():
            assert receiver.keys(channel) == keys


def test_kill_9_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from resilience.clock import SystemClock
from resilience.outbox.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "mailer", SystemClock())
for number in range(10_000):
    print(outbox.send("mail", number), flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    accepted = [child.stdout.readline() for _ in range(50)]
    child.kill()
    accepted += child.communicate()[0].splitlines(keepends=True)
    keys = [line.decode().strip() for line in accepted if line.endswith(b"\n")]
    desk = Desk(tmp_path)
    desk.register("mail")
    while desk.outbox.waiting():
        desk.run(1)
    assert desk.keys[: len(keys)] == keys
    assert len(desk.keys) <= len(keys) + 1
    desk.outbox.close()
