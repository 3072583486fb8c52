"""Talking to the WinClaw that runs on this machine, over its HTTP API. Standard library only."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resilience import home


class UnreachableError(Exception):
    """No WinClaw is running here, or it does not answer as it should."""


class Wire:
    """One client of the API; ``endpoint.json`` is read anew whenever a connection is made. Not for several threads.

    Args:
        folder: WINCLAW_HOME. operator: whether to speak with the operator's secret instead of the agents' token.
        timeout_s: how long to wait for an answer.
    """

    def __init__(self, folder: Path, *, operator: bool = False, timeout_s: float = 10) -> None:
        self._folder, self._operator, self._timeout_s = folder, operator, timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""
        self._ended = False

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Sends one request; returns the status and the JSON object that came back.

        Raises:
            UnreachableError: nobody answered.
        """
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        while True:
            was_kept = self._connection is not None
            try:
                return self._exchange(method, path, content)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                if not was_kept:
                    raise UnreachableError(str(error)) from error
            # The app may have moved to another port since that connection was made; a report sent twice is stored once.

    def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[int, dict[str, Any]]:
        connection = self._connection or self._connect()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        if self._ended:  # in the meantime; nobody would wake us from the answer's wait any more
            raise ConnectionAbortedError("this connection was ended")
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        if response.status == 401:  # another WinClaw, another token: read the files again
            self.close()
        return response.status, answer if isinstance(answer, dict) else {}

    def _connect(self) -> http.client.HTTPConnection:
        if self._ended:
            raise ConnectionRefusedError("this connection was ended")
        found = home.read_json(self._folder / home.ENDPOINT)
        secrets = home.read_json(self._folder / home.OPERATOR) if self._operator else found
        if found is None or secrets is None:
            raise ConnectionRefusedError("WinClaw is not running")
        address = urlsplit(str(found.get("url")))
        if address.hostname != "127.0.0.1" or address.port is None:
            raise ConnectionRefusedError(f"{home.ENDPOINT} does not name an address of this machine")
        self._token = str(secrets.get("operator_token" if self._operator else "token"))
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=self._timeout_s)
        return self._connection

    def end(self) -> None:
        """Makes whoever waits for an answer get none, now and from now on; may be called from another thread."""
        self._ended = True
        connection = self._connection
        if connection is not None and (waiting := connection.sock) is not None:
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
