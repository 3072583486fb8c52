"""The web server: werkzeug's threaded one, bound to this machine alone, with a real start and stop."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from typing import Any, Final

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

_MAX_CONNECTIONS: Final = 256
_PORTS_TRIED: Final = 50


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1, at ``port`` or the next free one after it.

    Raises:
        OSError: none of the next fifty is free.
    """
    for candidate in range(port, min(port + _PORTS_TRIED, 65536)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform == "win32":  # there, address reuse would let a second program take the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError(f"no free port from {port} to {port + _PORTS_TRIED - 1} on 127.0.0.1; choose another with --port")


class DashboardServer:
    """Serves one WSGI application on a socket from ``bind``."""

    def __init__(self, listener: socket.socket, app: Any) -> None:
        self.port: int = listener.getsockname()[1]
        self._server = _Server(listener, app)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.5], name="web", daemon=True)

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more requests and closes the port; requests under way end with their threads."""
        ending = threading.Thread(target=self._server.shutdown)
        ending.start()
        with contextlib.suppress(OSError):  # a knock at the door, so that it looks up at once
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        ending.join(5)
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = 30  # seconds that a client may take over sending its request
    disable_nagle_algorithm = True

    def log(self, *_: Any) -> None:
        """Requests are not logged: a login link must stand in no log."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, app: Any) -> None:
        super().__init__("127.0.0.1", listener.getsockname()[1], app, _Handler, fd=listener.fileno())
        listener.close()  # the server works on a copy of its own
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Each connection takes one of a bounded number of places; with none left it is closed unanswered."""
        if self._places.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread can be started
                self._places.release()
                raise
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no news; anything else goes to standard error as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            with contextlib.suppress(AttributeError):  # a windowed program has no standard error
                super().handle_error(request, client_address)
