"""Toasts: which events are worth one, and showing them one after another without keeping anybody waiting.

On Windows win10toast shows them, mended where it falls short: it answers its window procedure as Windows expects, and
it listens while it shows, so that a click leads to the dashboard. Elsewhere, or when it fails, the tray icon's own
balloon stands in.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from resilience.degradation.levels import DegradationLevel
from resilience.events import Event
from tray.artwork import ico_bytes
from tray.text import MESSAGE_UNITS, TITLE_UNITS, fitted

_WAITING: Final = 3
_SHOWN_S: Final = 6
_log = logging.getLogger("winclaw.toasts")


class Toast(NamedTuple):
    """What a toast says, and which page a click on it opens."""

    title: str
    message: str
    path: str = "/"


def toast_for(event: Event) -> Toast | None:
    """The toast that ``event`` is worth; None for most."""
    body = event.body
    match event.type:
        case "level.changed":
            before, after = DegradationLevel[body["from"]], DegradationLevel[body["to"]]
            if after.value <= before.value:
                return None
            return Toast(f"{after.title}: level {after.value} of 5", body["cause"])
        case "agent.lost":
            return Toast(f"{event.component} gives no sign of life", "Its heartbeat is missing. Look at what happened last.")
        case "process.failed":
            return Toast(f"{event.component} has failed", body["because"], "/processes")
        case "heal.waiting":
            return Toast(f"A heal of {event.component} waits for you", body["trigger"], f"/healing/{body['heal']}")
        case "heal.escalated":
            return Toast(f"{event.component} could not be healed", body["trigger"], f"/healing/{body['heal']}")
        case "alert.undelivered":
            return Toast(f"An alert did not arrive by {event.component}", f"{body['title']}: {body['why']}", "/alerts")
        case "config.refused":
            return Toast("The configuration has errors", "Another one is in force. Open the dashboard to see what is wrong.")
        case "journal.set_aside":
            return Toast("The journal was damaged", "It was set aside, and a new one begun. Nothing was deleted.")
        case "error" if body["severity"] in ("CRITICAL", "FATAL"):
            return Toast(f"{body['severity'].title()}: {event.component}", body["message"], f"/errors/{event.id}")
    return None


class Toasts:
    """Shows toasts on a thread of its own, one at a time; of a flood it shows the first and says how many more.

    Args:
        open_page: opens the dashboard at a path, when a toast is clicked.
        fallback: ``fallback(title, message)`` shows a balloon where win10toast cannot.
    """

    def __init__(self, open_page: Callable[[str], None], fallback: Callable[[str, str], None]) -> None:
        self._open_page, self._fallback = open_page, fallback
        self._waiting: deque[Toast] = deque()
        self._more = 0
        self._news = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._show_forever, name="toasts", daemon=True)

    def start(self) -> None:
        """Begins to show."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what waits is not shown any more."""
        with self._news:
            self._stopping = True
            self._news.notify()
        self._thread.join(1)

    def show(self, toast: Toast) -> None:
        """Has a toast shown when it is its turn; never waits."""
        with self._news:
            if len(self._waiting) >= _WAITING:
                self._more += 1
            else:
                self._waiting.append(toast)
            self._news.notify()

    def _next(self) -> Toast | None:
        with self._news:
            self._news.wait_for(lambda: self._stopping or self._waiting or self._more)
            if self._stopping:
                return None
            if self._waiting:
                return self._waiting.popleft()
            more, self._more = self._more, 0
            return Toast(f"{more} more", "Open the dashboard to see them all.")

    def _show_forever(self) -> None:
        present = self._presenter()
        while (toast := self._next()) is not None:
            shown = Toast(fitted(toast.title, TITLE_UNITS) or "WinClaw", fitted(toast.message, MESSAGE_UNITS) or "…", toast.path)
            try:
                present(shown)
            except Exception:
                _log.exception("a toast could not be shown")
                present = self._balloon

    def _presenter(self) -> Callable[[Toast], None]:
        if sys.platform == "win32":
            try:
                return _windows_presenter(self._open_page)
            except Exception:
                _log.exception("win10toast cannot be used; balloons stand in")
        return self._balloon

    def _balloon(self, toast: Toast) -> None:
        self._fallback(toast.title, toast.message)


def _windows_presenter(open_page: Callable[[str], None]) -> Callable[[Toast], None]:
    """Shows a toast by win10toast and returns when it is over; ``open_page`` is called when it is clicked.

    Raises:
        ImportError: win10toast, or something that it needs, is missing.
    """
    import win10toast  # noqa: PLC0415 -- only on Windows
    import win32api  # noqa: PLC0415
    import win32con  # noqa: PLC0415
    import win32event  # noqa: PLC0415
    import win32gui  # noqa: PLC0415

    clicked, callback = win32con.WM_USER + 5, win32con.WM_USER + 20
    icon = Path(tempfile.mkdtemp(prefix="winclaw-")) / "winclaw.ico"
    icon.write_bytes(ico_bytes())

    class Notifier(win10toast.ToastNotifier):  # type: ignore[misc, name-defined, unused-ignore]
        path = "/"

        def on_destroy(self, hwnd: int, _msg: int, _wparam: int, _lparam: int) -> int:
            """Takes the icon away and answers 0; the original answers None, which no window procedure may."""
            win32gui.Shell_NotifyIcon(win32gui.NIM_DELETE, (hwnd, 0))
            return 0

        def on_callback(self, _hwnd: int, _msg: int, _wparam: int, what: int) -> int:
            if what == clicked:
                open_page(self.path)
            return 0

        def listen(self, duration_s: float) -> None:
            """Stands in for the original's sleep, during which no click would be heard."""
            answers: dict[int, Any] = {win32con.WM_DESTROY: self.on_destroy, callback: self.on_callback}
            win32gui.SetWindowLong(self.hwnd, win32con.GWL_WNDPROC, answers)
            end = win32api.GetTickCount() + int(duration_s * 1000)
            while (left := end - win32api.GetTickCount()) > 0:
                win32event.MsgWaitForMultipleObjects([], False, left, win32event.QS_ALLINPUT)
                win32gui.PumpWaitingMessages()

    notifier = Notifier()
    win10toast.sleep = notifier.listen

    def present(toast: Toast) -> None:
        notifier.path = toast.path
        notifier.show_toast(toast.title, toast.message, icon_path=str(icon), duration=_SHOWN_S)

    return present
