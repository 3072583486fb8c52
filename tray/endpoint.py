"""``endpoint.json``: where agents and the command line find the WinClaw that runs."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from resilience import home

if TYPE_CHECKING:
    from dashboard.access import Access

_log = logging.getLogger("winclaw.app")


class Endpoint:
    """Keeps the file up to date, from ``publish`` to ``withdraw``. Any thread may call it."""

    def __init__(self, folder: Path, access: Access) -> None:
        self._path, self._access = folder / home.ENDPOINT, access
        self._writing = threading.Lock()
        self._is_owed = False

    def publish(self) -> None:
        """Writes where this WinClaw is, and the token of now. Where the disk takes nothing, ``keep`` tries again.

        What an earlier WinClaw, or an older token, has left there goes in any case: whoever goes by it would be refused.
        """
        with self._writing:
            self._write()

    def keep(self) -> None:
        """Writes it, if that could not be done yet."""
        with self._writing:
            if self._is_owed:
                self._write()

    def withdraw(self) -> None:
        """Takes it away: no WinClaw runs any more.

        Raises:
            OSError: it cannot be.
        """
        with self._writing:
            self._is_owed = False
            home.remove(self._path)

    def _write(self) -> None:
        content = json.dumps({"url": self._access.url, "token": self._access.agent_token, "pid": os.getpid()})
        was_owed, self._is_owed = self._is_owed, True
        try:
            try:
                home.write_private(self._path, content)
            except OSError:
                self._path.unlink()  # which leaves the room that it took
                home.write_private(self._path, content)
        except OSError as error:
            if not was_owed:
                _log.error("agents cannot be told where WinClaw is; it is tried again: %s", error)
            return
        self._is_owed = False
