"""Servers on this machine that speak the APIs of others, and fail as they do when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stand_in: StandIn


class StandIn:
    """One such server, for ``with``; ``mode`` says how it behaves, ``requests`` what it was asked."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()
        self.let_go = threading.Event()
        """Set: whoever hangs hangs no longer."""
        self.gone = threading.Event()
        """Set when a client went away in the middle of an answer."""

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Request)
        self._server.stand_in = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for(self, requests: int) -> None:
        """Waits until so many requests have come."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.requests) >= requests, 20)

    def note(self, path: str, body: dict[str, Any]) -> None:
        """Adds to ``requests``."""
        with self._news:
            self.requests.append((path, body))
            self._news.notify_all()

    def answer(self, request: _Request, body: dict[str, Any]) -> None:
        """Answers, as ``mode`` says."""
        raise NotImplementedError


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._do({})

    def do_POST(self) -> None:
        self._do(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))

    def _do(self, body: dict[str, Any]) -> None:
        stand_in = self.server.stand_in
        stand_in.note(self.path, body)
        self.close_connection = True
        try:
            stand_in.answer(self, body)
        except (BrokenPipeError, ConnectionError):
            stand_in.gone.set()

    def give(self, status: int, body: Any, kind: str = "application/json", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def give_lines(self, lines: Iterator[bytes], kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        for line in lines:
            self.wfile.write(line)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class OllamaStandIn(StandIn):
    """Ollama's ``/api/tags`` and ``/api/chat``.

    Modes: ``ok``, ``no-model`` (404), ``error`` (500), ``error-inside``, ``cut`` (ends early), ``html`` (another server),
    ``hangs`` (in the middle, until ``let_go``), ``silent`` (no head), ``endless``, ``long-line``, ``not-http``.
    """

    def __init__(self, *models: str, pieces: tuple[str, ...] = ("A local ", "answer.")) -> None:
        super().__init__()
        self.models, self.pieces = list(models), pieces

    def answer(self, request: _Request, body: dict[str, Any]) -> None:
        match self.mode:
            case "html":
                request.give(200, b"<html>Welcome to nginx</html>", "text/html")
            case "not-http":
                request.wfile.write(b"220 mail.example ESMTP\r\n")
            case "silent":
                self.let_go.wait(30)
            case _ if request.path == "/api/tags":
                request.give(200, {"models": [{"name": name} for name in self.models]})
            case "error":
                request.give(500, {"error": "llama runner process has terminated"})
            case _ if body.get("model") not in self.models:
                request.give(404, {"error": f"model '{body.get('model')}' not found"})
            case _:
                request.give_lines(self._lines(body), "application/x-ndjson")

    def _lines(self, body: dict[str, Any]) -> Iterator[bytes]:
        for number, piece in enumerate(self.pieces):
            yield _line({"model": body["model"], "message": {"role": "assistant", "content": piece}, "done": False})
            if self.mode == "error-inside":
                yield _line({"error": "an error was encountered while running the model: the input exceeds the context length"})
                return
            if self.mode == "cut":
                return
            if self.mode == "long-line":
                yield b"x" * 1_100_000
            if self.mode == "hangs" and number == 0:
                self.let_go.wait(30)
        while self.mode == "endless":
            yield _line({"message": {"role": "assistant", "content": "and so on " * 1000}, "done": False})
        yield _line({"model": body["model"], "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"})


class OpenAIStandIn(StandIn):
    """OpenAI's ``POST /v1/chat/completions``, whole or as a stream of events.

    Modes: ``ok``, ``error`` (500), ``rate-limited`` (429, Retry-After), ``hangs`` (until ``let_go``), ``refuses`` (closes).
    """

    def answer(self, request: _Request, body: dict[str, Any]) -> None:
        match self.mode:
            case "error":
                request.give(500, {"error": {"message": "The server had an error", "type": "server_error", "code": None}})
            case "rate-limited":
                said = {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}
                request.give(429, {"error": said}, Retry_After="1")
            case "hangs":
                self.let_go.wait(30)
            case "refuses":
                pass
            case _ if body.get("stream"):
                request.give_lines(self._events(body), "text/event-stream")
            case _:
                message = {"role": "assistant", "content": "An answer."}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
                request.give(200, {**_completion("chat.completion", body), "choices": [choice], "usage": usage})

    def _events(self, body: dict[str, Any]) -> Iterator[bytes]:
        for piece in ("An ", "answer."):
            choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
            yield b"data: " + json.dumps({**_completion("chat.completion.chunk", body), "choices": [choice]}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"


def _completion(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_767_225_600, "model": body.get("model", "?")}


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"
