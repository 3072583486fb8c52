"""pystray's icon for Windows, mended: crisp, its menu always as things stand, and polite when the session ends."""

from __future__ import annotations

import ctypes
import sys
from io import BytesIO
from typing import Any, Final

from pystray import _win32

assert sys.platform == "win32"  # tells the type checker too

_SMALL_ICON_WIDTH: Final = 49  # of GetSystemMetrics
_ICON_FORMAT: Final = 0x00030000  # the only one that CreateIconFromResourceEx knows
_QUERY_END_SESSION, _END_SESSION = 0x11, 0x16
_LEFT_UP, _LEFT_DOUBLE_CLICK, _RIGHT_UP = 0x202, 0x203, 0x205


class WindowsIcon(_win32.Icon):
    """As ``pystray.Icon``, with two more arguments; both are called on the message loop.

    Args:
        win32_on_session_end: the session ends; once this returns, Windows may end us.
        win32_on_taskbar: the taskbar is a new one, or the screen is; the icon must be added again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._user32 = ctypes.WinDLL("user32", use_last_error=True)
        self._user32.CreateIconFromResourceEx.restype = ctypes.c_void_p
        self._user32.SetProcessDPIAware()  # or Windows enlarges a small icon on a fine screen
        super().__init__(*args, **kwargs)
        self._menu_handle = None
        self._menu_open = self._second_click = False
        self._message_handlers[_QUERY_END_SESSION] = lambda _wparam, _lparam: 1  # pystray says 0: do not wait for us
        self._message_handlers[_END_SESSION] = self._on_end_session

    @property
    def size(self) -> int:
        """The edge length in pixels of an image that the notification area shows as it is."""
        return self._user32.GetSystemMetrics(_SMALL_ICON_WIDTH) or 16

    def add_again(self) -> None:
        """Adds the icon; where it is already, nothing happens."""
        self._show()

    def _assert_icon_handle(self) -> None:
        """Makes the handle at the image's own size; pystray would make one of 32 pixels, for Windows to shrink."""
        if self._icon_handle:
            return
        file = BytesIO()
        self.icon.save(file, "PNG")
        image = file.getvalue()
        make = self._user32.CreateIconFromResourceEx
        self._icon_handle = make(image, len(image), True, _ICON_FORMAT, *self.icon.size, 0)
        if not self._icon_handle:
            raise ctypes.WinError(ctypes.get_last_error())

    def _update_menu(self) -> None:
        """Does nothing: the menu is made when it is asked for, so it is never stale, and never replaced while open."""

    def _on_notify(self, wparam: int, what: int) -> None:
        if what == _RIGHT_UP and not self._menu_open:
            self._menu_open = True
            try:
                super()._update_menu()
                super()._on_notify(wparam, what)  # returns when the menu is closed
            finally:
                self._menu_open = False
        elif what == _LEFT_DOUBLE_CLICK:
            self._second_click = True
        elif what == _LEFT_UP:
            if not self._second_click:  # the first click of the two has done what there is to do
                super()._on_notify(wparam, what)
            self._second_click = False

    def _on_end_session(self, ending: int, _lparam: int) -> None:
        if ending:
            self._options["on_session_end"]()

    def _on_taskbarcreated(self, _wparam: int, _lparam: int) -> None:
        self._options["on_taskbar"]()

    def _on_display_change(self, _wparam: int, _lparam: int) -> None:
        self._options["on_taskbar"]()
