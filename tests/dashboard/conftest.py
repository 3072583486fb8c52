from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tray.app import Running


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Caller:
    """Sends requests over a real socket, exactly as told."""

    def __init__(self, winclaw: Running) -> None:
        self.winclaw = winclaw
        self.port = int(winclaw.url.rpartition(":")[2])
        self.agent = {"Authorization": f"Bearer {winclaw.access.agent_token}"}
        self.operator = {"Authorization": f"Bearer {winclaw.access._kept['operator_token']}"}

    def __call__(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            kind = {"Content-Type": "application/json"} if content is not None else {}
            connection.request(method, path, content, {**kind, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()

    def login(self) -> dict[str, str]:
        """The headers of a browser that came in through a one-time link."""
        link = self.winclaw.access.login_link()
        answer = self("GET", link.removeprefix(self.winclaw.url))
        assert answer.status == 303
        return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


@pytest.fixture
def call(winclaw: Running) -> Caller:
    return Caller(winclaw)
