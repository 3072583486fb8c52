"""One exchange with a server that answers in lines of JSON, as they come. Standard library only."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

_MAX_LINE: Final = 1_000_000
_AHEAD: Final = 64


class UnfitAnswerError(Exception):
    """What came is not what was to be expected of such a server."""


class Answer:
    """The answer to one request: its status, and lines of JSON that are still to come."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self._response = response.status, response

    def one(self) -> dict[str, Any]:
        """The answer as one object.

        Raises:
            UnfitAnswerError: it is none. OSError: the connection broke.
        """
        with _as_unfit():
            return _object(self._response.read(_MAX_LINE))

    def lines(self) -> Iterator[dict[str, Any]]:
        """Each line, as soon as it is there. Raises as ``one``."""
        while True:
            with _as_unfit():
                line = self._response.readline(_MAX_LINE + 1)
            if not line:
                return
            if len(line) > _MAX_LINE:
                raise UnfitAnswerError(f"a line of more than {_MAX_LINE:,} bytes")
            if line.strip():
                yield _object(line)


class Exchange:
    """Requests to one server, one after another, on connections of their own; ``end`` may come from any thread.

    Args:
        connect_timeout_s: for reaching it. silence_s: how long it may say nothing.
    """

    def __init__(self, url: str, connect_timeout_s: float, silence_s: float) -> None:
        self._url, self._connect_timeout_s, self._silence_s = urlsplit(url), connect_timeout_s, silence_s
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._ended = False
        self.is_connected = False

    def send(self, method: str, path: str, body: bytes | None) -> Answer:
        """Sends a request and waits for the head of its answer.

        Raises:
            OSError: nobody answers (TimeoutError: not in time). UnfitAnswerError: not in HTTP.
        """
        self.close()
        host, port, timeout_s = self._url.hostname or "", self._url.port, self._connect_timeout_s
        if self._url.scheme == "https":
            import ssl  # noqa: PLC0415 -- the model of this machine is asked without

            context = ssl.create_default_context()  # not what somebody in this process may have made the default
            self._connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        with _as_unfit():
            self.is_connected = False
            self._connection.connect()
            self.is_connected = True
            self._socket = self._connection.sock
            self._socket.settimeout(self._silence_s)
            if self._ended:
                raise ConnectionAbortedError("ended")
            self._connection.request(method, self._url.path + path, body, {"Content-Type": "application/json"})
            self._response = self._connection.getresponse()
            return Answer(self._response)

    def end(self) -> None:
        """Makes whoever waits for an answer get none; may be called from another thread."""
        self._ended = True
        if (waiting := self._socket) is not None:
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection; for the thread that reads from it."""
        for one in (self._response, self._connection):
            if one is not None:
                one.close()
        self._response = self._connection = self._socket = None

    async def in_thread(self, make: Callable[[], Iterator[str]]) -> AsyncIterator[str]:
        """What ``make`` gives, read in a thread of its own, so that no event loop waits for it; then the exchange ends."""
        import asyncio  # noqa: PLC0415 -- synchronous agents do without

        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        room = threading.Semaphore(_AHEAD)  # a slow listener holds the reader up, and so the model

        def put(item: str | BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def read() -> None:
            try:
                for piece in make():
                    room.acquire()
                    if self._ended:
                        return
                    put(piece)
                put(None)
            except BaseException as error:
                put(error)
            finally:
                self.close()

        threading.Thread(target=read, name="winclaw-ollama", daemon=True).start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
                room.release()
        finally:
            self.end()
            room.release()


@contextlib.contextmanager
def _as_unfit() -> Iterator[None]:
    try:
        yield
    except (http.client.HTTPException, AttributeError) as error:  # AttributeError: the connection was closed meanwhile
        raise UnfitAnswerError(f"{type(error).__name__}: {error}"[:300]) from error


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnfitAnswerError(f"no JSON: {content[:60]!r}") from error
    if not isinstance(found, dict):
        raise UnfitAnswerError(f"no JSON object: {content[:60]!r}")
    return found
