"""The live stream: what the core publishes, to every open page, by Socket.IO.

The first event after a quiet moment goes out at once; then batches, at most ten a second, and state snapshots, at
most four. A page that falls behind is dropped and, coming back with the id of the last event it saw, is told what it
missed, in order and each event once: nobody can make the queue of another, or the memory, grow.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections import deque
from datetime import datetime
from typing import Any, Final

import flask
from simple_websocket import ConnectionClosed
from wsproto.events import TextMessage

from dashboard.access import Access
from dashboard.present.events import with_line
from dashboard.present.now import band
from dashboard.sockets import PageDriver, Refused, SocketIO
from resilience.core.core import Core
from resilience.core.state import State
from resilience.events import Event

_MAX_EVENTS: Final = 200
_EVENTS_EVERY_S: Final = 0.1
_SNAPSHOT_EVERY_S: Final = 0.25
_MAX_QUEUED_PACKETS: Final = 100
_MAX_QUEUED_CHARACTERS: Final = 5_000_000
_MAX_UNREAD_BYTES: Final = 200_000
_LIVE: Final = "live"
"""The room of the pages that have been told what they missed."""
_log = logging.getLogger("winclaw.stream")


class PageSocket(PageDriver):  # type: ignore[misc]
    """A page's connection. Engine.IO closes it in a thread of its own, where a browser that is gone must be no fault."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Serves it; what the system keeps for a page that does not read is bounded, so that it soon shows in our queue."""
        environ["werkzeug.socket"].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_UNREAD_BYTES)
        return super().__call__(environ, start_response)

    def send(self, message: str) -> None:
        """Sends all of it; its own way would leave out what does not fit into the buffers of a page that is slow."""
        if not self.ws.connected:
            raise ConnectionResetError
        self.ws.sock.sendall(self.ws.ws.send(TextMessage(data=message)))

    def close(self) -> None:
        with contextlib.suppress(OSError, ConnectionClosed):
            super().close()


class Stream:
    """Sends events and snapshots to the pages that are connected to ``socketio``."""

    def __init__(self, socketio: SocketIO, core: Core, access: Access) -> None:
        self._socketio, self._core, self._access = socketio, core, access
        self._pending: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._skipped = False
        self._lock = threading.Lock()
        self._sent_to = 0
        self._sending = threading.Lock()  # nothing is sent live while a page is told what has been sent before it came
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send_forever, name="web-stream", daemon=True)
        socketio.server.eio._async["websocket"] = PageSocket
        socketio.on_event("connect", self._connected)
        access.on_rotation(self.disconnect_all)

    def start(self) -> None:
        """Begins to listen to the core and to send."""
        newest = self._core.history.events(0, 1, newest=True)
        self._sent_to = newest[-1].id if newest else 0
        self._unsubscribe = self._core.subscribe(self._published)
        self._thread.start()

    def stop(self) -> None:
        """Ends sending and every connection."""
        self._unsubscribe()
        self._stopping.set()
        self._news.set()
        self._thread.join(2)
        self.disconnect_all()
        self._socketio.server.shutdown()

    def disconnect_all(self) -> None:
        """Ends every connection, at once."""
        for page in self._sockets():
            self._drop(page)

    def _connected(self, auth: Any = None) -> None:
        if self._access.session_of(flask.request.cookies) is None:
            raise Refused("not logged in")
        since = auth.get("since") if isinstance(auth, dict) else None
        sid = flask.request.sid  # type: ignore[attr-defined]
        with self._sending:
            if isinstance(since, int) and 0 <= since < 2**62:
                missed = self._core.history.events(since, _MAX_EVENTS + 1, newest=True)
                told = [event for event in missed[-_MAX_EVENTS:] if event.id <= self._sent_to]  # the rest comes live
                self._socketio.emit("events", _message(told, gap=len(missed) > _MAX_EVENTS), to=sid)
            self._socketio.emit("snapshot", _snapshot(self._core.state, self._core.clock.now()), to=sid)
            self._socketio.server.enter_room(sid, _LIVE)

    def _published(self, events: tuple[Event, ...], _: State) -> None:
        with self._lock:
            self._skipped |= len(self._pending) + len(events) > _MAX_EVENTS
            self._pending.extend(events)
        self._news.set()

    def _send_forever(self) -> None:
        version = self._core.state.version
        events_s = snapshot_s = -1.0
        clock = self._core.clock
        while True:
            owed = self._core.state.version != version
            self._news.wait(max(0.0, snapshot_s + _SNAPSHOT_EVERY_S - clock.monotonic()) if owed else None)
            self._stopping.wait(max(0.0, events_s + _EVENTS_EVERY_S - clock.monotonic()))
            self._news.clear()
            if self._stopping.is_set():
                return
            try:
                if self._send_events():
                    events_s = clock.monotonic()
                state = self._core.state
                if state.version != version and clock.monotonic() - snapshot_s >= _SNAPSHOT_EVERY_S:
                    self._socketio.emit("snapshot", _snapshot(state, clock.now()), to=_LIVE)
                    version, snapshot_s = state.version, clock.monotonic()
                self._drop_slow()
            except Exception:
                _log.exception("a batch could not be sent to the pages")

    def _send_events(self) -> bool:
        with self._lock:
            events, gap = list(self._pending), self._skipped
            self._pending.clear()
            self._skipped = False
        if events:
            with self._sending:
                self._sent_to = events[-1].id
                self._socketio.emit("events", _message(events, gap=gap), to=_LIVE)
        return bool(events)

    def _sockets(self) -> list[Any]:
        return [*self._socketio.server.eio.sockets.values()]

    def _drop_slow(self) -> None:
        for page in self._sockets():
            with page.queue.mutex:
                waiting = [packet for packet in page.queue.queue if packet is not None]
            characters = sum(len(packet.data or "") for packet in waiting)
            if not page.closed and (len(waiting) > _MAX_QUEUED_PACKETS or characters > _MAX_QUEUED_CHARACTERS):
                _log.warning("a page fell %d packets behind and was dropped; it will catch up", len(waiting))
                self._drop(page)

    def _drop(self, page: Any) -> None:
        """Ends a page's connection at once, whatever waits there to be read: its queue and its threads end with it."""
        connection = self._socketio.server.environ.get(page.sid, {}).get("werkzeug.socket")
        page.close(wait=False, abort=True)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _message(events: list[Event], *, gap: bool) -> dict[str, Any]:
    return {"events": [with_line(event.view()) for event in events], "last": events[-1].id if events else None, "gap": gap}


def _snapshot(state: State, now: datetime) -> dict[str, Any]:
    view = state.view(now)
    return {**view, "band": band(view)}
