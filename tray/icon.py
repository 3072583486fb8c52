"""The icon in the notification area: shows what ``menu`` and ``artwork`` say, and passes on what is chosen.

pystray calls back on the message loop, which must never wait: whatever is chosen goes to one worker thread, and the same
thread brings the icon up to date, at most once a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final

import pystray
from PIL.Image import Image

from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from tray import menu
from tray.artwork import draw
from tray.text import MESSAGE_UNITS, TITLE_UNITS, fitted

_UPDATE_EVERY_S: Final = 1.0
_ADD_AGAIN_AFTER_S: Final = (1.0, 5.0, 15.0)  # Windows says nothing when its taskbar was not there yet
_QUERY_END_SESSION, _END_SESSION = 0x11, 0x16
_log = logging.getLogger("winclaw.tray")


class TrayIcon:
    """The icon; ``run`` blocks on the main thread until ``stop``, everything else may be called from any thread.

    Args:
        state: asked whenever the icon is brought up to date.
        choose: pins a level, or None for *Auto*. open_dashboard: opens a page.
        on_session_end: called when Windows is about to end us: last chance to write things down.
    """

    def __init__(
        self,
        *,
        state: Callable[[], State],
        choose: Callable[[DegradationLevel | None], None],
        open_dashboard: Callable[[str], None],
        on_session_end: Callable[[], None],
    ) -> None:
        self._state, self._choose, self._open = state, choose, open_dashboard
        self._on_session_end = on_session_end
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._stale = threading.Event()
        self._stopping = threading.Event()
        self._icon = self._make()
        self._worker = threading.Thread(target=self._work, name="tray-worker", daemon=True)

    def _make(self) -> Any:
        now = self._state()
        icon = pystray.Icon("winclaw", _drawn(now), menu.tooltip(now), pystray.Menu(self._menu))
        handlers = getattr(icon, "_message_handlers", None)
        if handlers is not None:  # Windows: pystray answers "no" to the question whether the session may end
            handlers[_QUERY_END_SESSION] = lambda _w, _l: 1
            handlers[_END_SESSION] = lambda ending, _l: self._on_session_end() if ending else None
        return icon

    def run(self) -> None:
        """Shows the icon until ``stop``."""
        self._worker.start()
        self._icon.run(setup=self._shown)
        self._jobs.put(None)
        self._worker.join(5)

    def stop(self) -> None:
        """Takes the icon away; ``run`` returns."""
        if not self._stopping.is_set():  # Ctrl-C comes twice, from the terminal and from the guardian
            self._stopping.set()
            self._icon.stop()

    def changed(self) -> None:
        """Says that the state is another one; the icon follows within a second."""
        if not self._stale.is_set():
            self._stale.set()
            self._jobs.put(self._nothing)

    def notify(self, title: str, message: str) -> None:
        """A balloon at the icon."""
        self._icon.notify(fitted(message, MESSAGE_UNITS), fitted(title, TITLE_UNITS))

    def _nothing(self) -> None:
        """Wakes the worker, no more."""

    def _shown(self, icon: Any) -> None:
        icon.visible = True
        for pause_s in _ADD_AGAIN_AFTER_S:
            if self._stopping.wait(pause_s):
                return
            self._jobs.put(icon._show if hasattr(icon, "_message_handlers") else self._nothing)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=None if not self._stale.is_set() else _UPDATE_EVERY_S)
            except Empty:
                job = self._nothing
            if job is None:
                return
            try:
                job()
                if self._stale.is_set():
                    self._stale.clear()
                    self._update()
                    self._stopping.wait(_UPDATE_EVERY_S)
            except Exception:
                _log.exception("the tray could not do what was asked")

    def _update(self) -> None:
        now = self._state()
        self._icon.icon = _drawn(now)
        self._icon.title = menu.tooltip(now)
        self._icon.update_menu()

    def _menu(self) -> Iterator[Any]:
        return (self._item(one) for one in menu.menu_items(self._state()))

    def _item(self, one: menu.Item) -> Any:
        if one is menu.SEPARATOR:
            return pystray.Menu.SEPARATOR
        action: Any = pystray.Menu(*(self._item(below) for below in one.items)) if one.items else self._chosen(one.action)
        return pystray.MenuItem(
            one.text, action, checked=None if one.checked is None else lambda _, checked=one.checked: checked,
            radio=one.radio, default=one.default, enabled=one.enabled,
        )  # fmt: skip

    def _chosen(self, action: menu.Action | None) -> Callable[[], None] | None:
        return None if action is None else lambda: self._jobs.put(lambda: self._do(action))

    def _do(self, action: menu.Action) -> None:
        match action:
            case menu.OpenDashboard(path):
                self._open(path)
            case menu.Choose(level):
                is_safe = self._state().standing.level is DegradationLevel.SAFE_MODE
                if is_safe and level is not DegradationLevel.SAFE_MODE:
                    self._open("/safe-mode")  # leaving asks, with a look at what it does
                    self.changed()  # Windows has drawn the check mark off already
                else:
                    self._choose(level)
            case menu.Quit():
                self.stop()


def _drawn(now: State) -> Image:
    return draw(now.standing.level, len(now.needs_you), 64)
