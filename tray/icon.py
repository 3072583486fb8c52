"""The icon in the notification area: shows what ``menu`` and ``artwork`` say, and passes on what is chosen.

pystray calls back on its message loop, which must never wait: whatever is chosen goes to one worker thread, and the same
thread brings the icon up to date, at most once a second.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final

import pystray

from resilience.clock import Clock, SystemClock
from resilience.core import ConfirmationNeededError, State
from resilience.degradation import DegradationLevel
from tray import menu
from tray.artwork import draw
from tray.text import MESSAGE_UNITS, TITLE_UNITS, fitted

_UPDATE_EVERY_S: Final = 1.0
_ADD_AGAIN_AFTER_S: Final = (1.0, 5.0, 15.0)  # Windows says nothing when its taskbar was not there yet
_log = logging.getLogger("winclaw.tray")


class TrayIcon:
    """The icon; ``run`` blocks the main thread until ``stop``, everything else may be called from any thread.

    Args:
        state: asked whenever the icon is brought up to date.
        choose: pins a level, or None for *Auto*; raises ConfirmationNeededError where leaving Safe Mode must be confirmed.
        open_dashboard: opens a page. quit: ends WinClaw.
        on_session_end: called when Windows is about to end us: last chance to write things down.
    """

    def __init__(
        self,
        *,
        state: Callable[[], State],
        choose: Callable[[DegradationLevel | None], None],
        open_dashboard: Callable[[str], None],
        quit: Callable[[], None],  # noqa: A002 -- what the menu calls it
        on_session_end: Callable[[], None],
        clock: Clock | None = None,
    ) -> None:
        self._state, self._choose, self._open, self._quit = state, choose, open_dashboard, quit
        self._clock = clock or SystemClock()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._stale = threading.Event()
        self._stopping = threading.Event()
        self._icon = _icon_class()(
            "winclaw", menu=pystray.Menu(self._menu), win32_on_session_end=on_session_end,
            win32_on_taskbar=lambda: self._jobs.put(self._add_again),
        )  # fmt: skip
        self._update()

    def run(self) -> None:
        """Shows the icon until ``stop``."""
        loop = threading.Thread(target=self._loop, name="tray-icon", daemon=True)
        worker = threading.Thread(target=self._work, name="tray-worker", daemon=True)
        worker.start()
        loop.start()
        while not self._stopping.wait(1.0):  # in steps, so that Windows delivers Ctrl-C; its message loop would not
            pass
        self._jobs.put(None)
        self._icon.stop()
        worker.join(5)
        loop.join(5)

    def stop(self) -> None:
        """Takes the icon away; ``run`` returns."""
        self._stopping.set()

    def changed(self) -> None:
        """Says that the state is another one; the icon follows within a second."""
        if not self._stale.is_set():
            self._stale.set()
            self._jobs.put(_nothing)

    def notify(self, title: str, message: str) -> None:
        """A balloon at the icon."""
        self._icon.notify(fitted(message, MESSAGE_UNITS), fitted(title, TITLE_UNITS))

    def _loop(self) -> None:
        try:
            self._icon.run(setup=self._show)
        except Exception:
            _log.exception("there is no tray icon any more; the way in is: winclaw open")

    def _show(self, icon: Any) -> None:
        icon.visible = True
        for pause_s in _ADD_AGAIN_AFTER_S:
            if self._stopping.wait(pause_s):
                return
            self._jobs.put(self._add_again)

    def _add_again(self) -> None:
        """Adds the icon where Windows has lost it or never had it; drawn anew, for the screen may be another one."""
        if hasattr(self._icon, "add_again"):
            self._icon.add_again()
            self.changed()

    def _work(self) -> None:
        update_at_s = self._clock.monotonic()
        while True:
            now_s = self._clock.monotonic()
            try:
                job = self._jobs.get(timeout=max(0.0, update_at_s - now_s) if self._stale.is_set() else None)
            except Empty:
                job = self._update
                update_at_s = now_s + _UPDATE_EVERY_S
            if job is None:
                return
            try:
                job()
            except Exception:
                _log.exception("the tray could not do what was asked")

    def _update(self) -> None:
        self._stale.clear()  # first, so that what changes from here on is seen next time
        now = self._state()
        self._icon.icon = draw(now.standing.level, menu.needs_you(now), getattr(self._icon, "size", 64))
        self._icon.title = menu.tooltip(now)
        self._icon.update_menu()

    def _menu(self) -> Iterator[Any]:
        return (self._item(one) for one in menu.menu_items(self._state()))

    def _item(self, one: menu.Item) -> Any:
        if one is menu.SEPARATOR:
            return pystray.Menu.SEPARATOR
        action: Any = pystray.Menu(*(self._item(below) for below in one.items)) if one.items else self._chosen(one)
        return pystray.MenuItem(
            one.text, action, checked=None if one.checked is None else lambda _, checked=one.checked: checked,
            radio=one.radio, default=one.default, enabled=one.enabled,
        )  # fmt: skip

    def _chosen(self, one: menu.Item) -> Callable[[], None]:
        return lambda: self._jobs.put(lambda: self._do(one.action))

    def _do(self, action: menu.Action | None) -> None:
        try:
            match action:
                case menu.OpenDashboard(path):
                    self._open(path)
                case menu.Choose(level):
                    self._choose(level)
                case menu.Quit():
                    self._quit()
        except ConfirmationNeededError:
            self._open("/safe-mode")
        except Exception as error:
            _log.exception("the tray could not do what was asked: %s", action)
            self.notify("WinClaw could not do that", str(error) or type(error).__name__)


def _icon_class() -> Any:
    if sys.platform == "win32" and pystray.Icon.__module__ == "pystray._win32":
        from tray.windows_icon import WindowsIcon  # noqa: PLC0415 -- elsewhere it cannot be imported

        return WindowsIcon
    return pystray.Icon


def _nothing() -> None:
    """Wakes the worker, no more."""
