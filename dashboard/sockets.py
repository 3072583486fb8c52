"""Socket.IO's server, loaded without what only its clients and other servers need: two thirds of the time, and much memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NOT_NEEDED = ("aiohttp", "requests", "tornado", "websocket")
"""What ``socketio`` and ``engineio`` try to import, and do without where it is not installed."""


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Inside, those of these modules that nobody has loaded yet are as good as not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is documented: it makes the import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without(_NOT_NEEDED):
    from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI as PageDriver
    from flask_socketio import ConnectionRefusedError as Refused
    from flask_socketio import SocketIO

__all__ = ["PageDriver", "Refused", "SocketIO"]
