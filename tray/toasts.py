"""Toasts, a channel of alerts: what each says, where a click on it leads, and that somebody has shown it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from resilience.alerting.alerts import Alert, Telling
from resilience.alerting.sending import UndeliverableError
from resilience.context import message_of
from tray.text import MESSAGE_UNITS, TITLE_UNITS, fitted

SHOWN_S: Final = 6
_PREFIX: Final = {"resolved": "Resolved: ", "escalated": "Still: "}
_log = logging.getLogger("winclaw.toasts")


class Toast(NamedTuple):
    """What a toast says, and which page a click on it opens."""

    title: str
    message: str
    path: str


Presenter = Callable[[Toast, threading.Event], bool]
"""Shows a toast until it is over or the event is set; returns whether it was clicked. Raises where it cannot."""


def toast_of(alert: Alert, telling: Telling) -> Toast:
    """The toast for one message of an alert, as any shell can show it."""
    title = fitted(_PREFIX.get(telling.what, "") + alert.cause.title, TITLE_UNITS)
    message = fitted(telling.text, MESSAGE_UNITS)
    page = "/alerts" if telling.what == "digest" else f"/alerts#alert-{alert.id}"
    return Toast(title or "WinClaw", message or "…", page)


class Toasts:
    """Shows toasts one after the other; one presenter that fails is not asked again, as long as there is another.

    Args:
        presenters: what can show a toast here, the best first. open_page: opens the dashboard at a path.
    """

    def __init__(self, presenters: Iterable[Presenter], open_page: Callable[[str], object]) -> None:
        self._presenters, self._open_page = [*presenters], open_page
        self._ending = threading.Event()

    def stop(self) -> None:
        """Takes away what is showing; whoever waits for its end goes on."""
        self._ending.set()

    def show(self, alert: Alert, telling: Telling) -> str:
        """Sends a message by showing it; returns when it is over.

        Raises:
            UndeliverableError: nothing could show it. RuntimeError: there is no time for it any more.
        """
        if self._ending.is_set():
            raise RuntimeError("WinClaw was about to end")
        if self._present(toast := toast_of(alert, telling)):
            self._follow(toast.path)
        return "shown on this desktop"

    def _present(self, toast: Toast) -> bool:
        reasons = []
        for present in [*self._presenters]:
            try:
                return present(toast, self._ending)
            except Exception as error:
                _log.exception("a toast could not be shown by %r", present)
                reasons.append(message_of(error))
                if len(self._presenters) > 1:
                    self._presenters.remove(present)
        raise UndeliverableError(f"nothing on this desktop could show it: {'; '.join(reasons)}")

    def _follow(self, path: str) -> None:
        try:
            self._open_page(path)
        except Exception:
            _log.exception("the page of a toast could not be opened: %s", path)
