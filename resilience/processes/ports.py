"""Who holds a port."""

from __future__ import annotations

import contextlib
import socket
import sys

import psutil


def holder_of(port: int) -> psutil.Process | None:
    """Who listens on this TCP port; None if nobody does, or nobody may know."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):
                return psutil.Process(connection.pid)
    return None


def is_free(port: int) -> bool:
    """Whether a program could listen on this TCP port now."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104 -- bound, not listened on
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if sys.platform != "win32":  # there it would let a second one in
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address, port))
            except OSError:
                return False
    return True
