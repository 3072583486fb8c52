"""The way to a port: whether it is free, who is in it, and ending what is there of ours."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

import psutil

from resilience.processes.identity import carriers, end_carriers

_LOOK_AGAIN_S: Final = 10.0


def _is_free(port: int) -> bool:
    """Whether a program could listen on this TCP port now."""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 -- bound, not listened on
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            if sys.platform != "win32":  # there it would let a second one in
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address, port))
            except OSError:
                return False
    return True


class Ways:
    """The ways to ports. To look who is in one takes a look at every process, so that is done again only after a while;
    whether it is free is asked each time. Belongs to one thread.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def clear(self, port: int, ours: str, now_s: float) -> tuple[str, int | None]:
        """Makes the way to a port free as far as it is ours to do so.

        Args:
            ours: what the tokens of earlier runs begin with; whatever has one is ended. now_s: monotonic.

        Returns: who is in the way still, for people (empty: nobody); and which process was ended, if any.
        """
        if _is_free(port):
            self._seen.pop(ours, None)
            return "", None
        if (seen := self._seen.get(ours)) is not None and now_s - seen[1] < _LOOK_AGAIN_S:
            return seen[0], None
        if left := carriers(ours):
            first = next(iter(left.values()))[0].pid
            for token in left:
                end_carriers(token)
            return ("" if _is_free(port) else f"port {port}, held by what is left of an earlier run"), first
        self._seen[ours] = _held(port), now_s
        return self._seen[ours][0], None


def _held(port: int) -> str:
    """Who listens on this TCP port, for people."""
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f"port {port}, held by {psutil.Process(one.pid).name()} (process {one.pid}), which is not WinClaw's"
    return f"port {port}, held by a program that WinClaw may not look at"
