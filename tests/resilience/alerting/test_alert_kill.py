"""WinClaw is killed between the decision that somebody is told and the delivery, fifty times: what was decided arrives."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from resilience.alerting.alerts import Alert, TellingState
from resilience.clock import SystemClock
from resilience.journal.journal import Journal
from tests.resilience.alerting.life import FORKS

ROOT: Final = Path(__file__).resolve().parents[3]
COUNT: Final = 50 if FORKS else 8  # a new Python for each is slow
ARRIVES: Final = {"decided": {1}, "claimed": {1}, "asked": {2}, "answered": {1, 2}}
"""By the moment of the kill, how often a message may arrive: decided and waiting, claimed and not yet sent, received and not
yet answered, answered just now."""


class Receiver(HTTPServer):
    """Notes what it is told. Of the life ``pid`` it kills the one whose component says so, when it tells of it first."""

    def __init__(self) -> None:
        self.received: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.pid: int | None = None
        super().__init__(("127.0.0.1", 0), _Answers)

    def kill(self) -> None:
        psutil.Process(self.pid).kill()


class _Answers(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Idempotency-Key"] == body["key"]
        before = self.server.received[body["component"]]
        kills_when = body["component"].partition("-")[0] if not before else ""
        before.append(body)
        if kills_when != "asked":
            self.send_response(200)
            self.end_headers()
        if kills_when in ("asked", "answered"):
            self.server.kill()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is no log."""


class Lives:
    """WinClaws on one journal, one after the other; see ``life``."""

    def __init__(self, journal: Path, receiver: Receiver) -> None:
        self._journal, self._receiver = journal, receiver
        self._process: subprocess.Popen[str] | None = None

    def begin(self, how: str, component: str) -> None:
        """Begins one; returns when its number is known."""
        if self._process is None:
            url = f"http://127.0.0.1:{self._receiver.server_port}"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.resilience.alerting.life", str(self._journal), url],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        self.tell(f"{how} {component}")
        self._receiver.pid = int(self._line())

    def tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def until(self, word: str) -> None:
        """Returns when the life has said ``word``."""
        while (line := self._line()) != word:
            assert line, f"it ended before it said {word!r}"

    def ended(self) -> None:
        """Returns when the life is over."""
        assert self._process is not None
        if FORKS:
            self.until("ended")
        else:
            self._process.wait()  # before its input is closed, which would end it in peace
            self.close()
        self._receiver.pid = None

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def lives(tmp_path: Path, receiver: Receiver) -> Iterator[Lives]:
    lives = Lives(tmp_path / "journal.db", receiver)
    yield lives
    if receiver.pid is not None:  # the test has failed
        with contextlib.suppress(psutil.NoSuchProcess):
            receiver.kill()
    lives.close()


def alerts_in(journal: Path) -> dict[str, Alert]:
    """The alerts that a whole journal keeps, by component."""
    conn = sqlite3.connect(journal)
    try:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")
        assert conn.execute("SELECT count(*), count(DISTINCT component) FROM errors").fetchone() == (COUNT, COUNT)
    finally:
        conn.close()
    kept = Journal(journal, SystemClock().now())
    try:
        alerts = [msgspec.convert(one, Alert) for one in kept.states("alert:").values()]
    finally:
        kept.close()
    return {one.cause.component: one for one in alerts}


def test_kill_9_between_decision_and_delivery_loses_no_alert_and_repeats_only_what_is_in_doubt(
    tmp_path: Path, receiver: Receiver, lives: Lives
) -> None:
    phases = [*ARRIVES]
    killed = {f"{how}-{number}": how for number in range(COUNT) for how in [phases[number % len(phases)]]}
    for component, how in killed.items():
        lives.begin(how, component)
        lives.tell("report it")
        if how in ("decided", "claimed"):
            lives.until("reported" if how == "decided" else "claimed")
            receiver.kill()
        lives.ended()
    lives.begin("finishes", "nothing")
    lives.ended()

    alerts = alerts_in(tmp_path / "journal.db")
    for component, how in killed.items():
        [telling] = alerts[component].tellings
        assert telling.state is TellingState.DELIVERED
        assert {body["key"] for body in receiver.received[component]} == {telling.key}
        assert len(receiver.received[component]) in ARRIVES[how], component
    whats = {body["what"] for bodies in receiver.received.values() for body in bodies}
    assert "digest" not in whats  # which could tell of one of them again
