"""An agent, and a tray that answers what the test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.client import Agent, connect
from resilience.degradation.gate import SERVICE_FEATURES
from resilience.degradation.levels import FEATURES, DegradationLevel


class FakeTray:
    """A tray that takes what agents send, and answers what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.answer: Callable[[list[dict[str, Any]]], int] = lambda _: 200
        self.level = DegradationLevel.FULL
        self.version = 1
        self.changed = threading.Condition()
        self.ended = False
        tray = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Authorization"] != "Bearer secret":
                    self.reply(401, {})
                elif self.path == "/api/v1/heartbeats":
                    tray.beats.append(body)
                    self.reply(200, tray.view())
                else:
                    status = tray.answer(body)
                    if status == 200:
                        tray.reports += body
                    self.reply(status, {"detail": "no"})

            def do_GET(self) -> None:
                known = int(self.path.rpartition("version=")[2])
                with tray.changed:
                    tray.changed.wait_for(lambda: tray.ended or tray.version != known, 20)
                self.reply(200, tray.view())

            def reply(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"url": f"http://127.0.0.1:{self.server.server_port}", "token": "secret", "pid": 1}
        (folder / "endpoint.json").write_text(json.dumps(content))

    def view(self) -> dict[str, Any]:
        features = dict(FEATURES[self.level])
        state = {"level": self.level.name, "cause": "test", "features": features, "version": self.version}
        return {"state": state, "policy": {"gates": dict(SERVICE_FEATURES), "heartbeat_s": 0.2}}

    def set_level(self, level: DegradationLevel) -> None:
        with self.changed:
            self.level, self.version = level, self.version + 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def tray(folder: Path) -> Iterator[FakeTray]:
    one = FakeTray(folder)
    yield one
    one.close()


@pytest.fixture
def agent(folder: Path) -> Iterator[Agent]:
    one = connect("tester", folder=folder)
    yield one
    one.close()


def wait_for_level(agent: Agent, level: DegradationLevel) -> None:
    heard = threading.Event()
    agent.on_state(lambda state: heard.set() if state["level"] == level.name else None)
    if agent.state["level"] != level.name:
        assert heard.wait(10)
