"""What shows a toast on each system. Whatever runs gets the texts as arguments, never as part of a script."""

from __future__ import annotations

import html
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

from tray.toasts import SHOWN_S, Presenter, Toast
from tray.windows_toast import WindowsToasts

_TIMEOUT_S: Final = 10.0
_SCRIPT: Final = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")


def presenters(balloon: Callable[[str, str], None]) -> Iterator[Presenter]:
    """What can show a toast here, the best first.

    On Linux ``notify-send`` comes before pystray, which does not say whether it succeeded. On macOS pystray would write the
    texts into a script.

    Args:
        balloon: ``balloon(title, message)`` shows one at the tray icon.
    """
    if sys.platform == "darwin":
        yield by_osascript
        return
    yield WindowsToasts() if sys.platform == "win32" else by_notify_send
    yield Balloons(balloon)


class Balloons:
    """Shows toasts at the tray icon, where pystray can; the next would take the place of this one, so it has its time."""

    def __init__(self, balloon: Callable[[str, str], None]) -> None:
        self._balloon = balloon

    def __call__(self, toast: Toast, ending: threading.Event) -> bool:
        """Shows one; nobody hears a click."""
        import pystray  # noqa: PLC0415 -- it looks for a desktop when imported

        if not pystray.Icon.HAS_NOTIFICATION:
            raise OSError("the icons of this desktop have no notifications")
        self._balloon(toast.title, toast.message)
        ending.wait(SHOWN_S)
        return False


def by_notify_send(toast: Toast, _ending: threading.Event) -> bool:
    """Shows a toast on a Linux desktop, which takes the message for markup."""
    _run("notify-send", "--app-name=WinClaw", "--", toast.title, html.escape(toast.message, quote=False))
    return False


def by_osascript(toast: Toast, _ending: threading.Event) -> bool:
    """Shows a toast on macOS."""
    _run("osascript", *(part for line in _SCRIPT for part in ("-e", line)), "--", toast.title, toast.message)
    return False


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
