"""Toasts on Windows, by win10toast, mended where it falls short.

It answers its window procedure as Windows expects, and listens while it shows, so that a click is heard.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from tray.artwork import ico_bytes
from tray.toasts import SHOWN_S, Toast

_LOOK_MS: Final = 200
"""How soon it sees that it is to end."""


class WindowsToasts:
    """Shows toasts; what it needs is only loaded for the first."""

    def __init__(self) -> None:
        self._notifier: Any = None

    def __call__(self, toast: Toast, ending: threading.Event) -> bool:
        """Shows one, and returns whether it was clicked, when it is over.

        Raises:
            ImportError: win10toast, or something that it needs, is missing.
        """
        if self._notifier is None:
            self._notifier = _notifier()
        return bool(self._notifier.present(toast, ending))


def _notifier() -> Any:
    import win10toast  # noqa: PLC0415 -- only on Windows
    import win32api  # noqa: PLC0415
    import win32con  # noqa: PLC0415
    import win32event  # noqa: PLC0415
    import win32gui  # noqa: PLC0415

    user_clicked, callback = win32con.WM_USER + 5, win32con.WM_USER + 20
    icon = Path(tempfile.mkdtemp(prefix="winclaw-")) / "winclaw.ico"
    icon.write_bytes(ico_bytes())

    class Notifier(win10toast.ToastNotifier):  # type: ignore[misc, name-defined, unused-ignore]
        clicked = False
        ending = threading.Event()

        def present(self, toast: Toast, ending: threading.Event) -> bool:
            self.clicked, self.ending = False, ending
            self.show_toast(toast.title, toast.message, icon_path=str(icon), duration=SHOWN_S)
            return self.clicked

        def on_destroy(self, hwnd: int, _msg: int, _wparam: int, _lparam: int) -> int:
            """Takes the icon away and answers 0; the original answers None, which no window procedure may."""
            win32gui.Shell_NotifyIcon(win32gui.NIM_DELETE, (hwnd, 0))
            return 0

        def on_callback(self, _hwnd: int, _msg: int, _wparam: int, what: int) -> int:
            self.clicked = self.clicked or what == user_clicked
            return 0

        def listen(self, duration_s: float) -> None:
            """Stands in for the original's sleep, during which no click would be heard."""
            answers: dict[int, Any] = {win32con.WM_DESTROY: self.on_destroy, callback: self.on_callback}
            win32gui.SetWindowLong(self.hwnd, win32con.GWL_WNDPROC, answers)
            end = win32api.GetTickCount() + int(duration_s * 1000)
            while not (self.clicked or self.ending.is_set()) and (left := end - win32api.GetTickCount()) > 0:
                win32event.MsgWaitForMultipleObjects([], False, min(left, _LOOK_MS), win32event.QS_ALLINPUT)
                win32gui.PumpWaitingMessages()

    notifier = Notifier()
    win10toast.sleep = notifier.listen
    return notifier
