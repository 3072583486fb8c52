"""The dead man's switch: pings somebody outside while WinClaw is well, who notices when the pings stay away.

Made for services such as Healthchecks and the push monitors of Uptime Kuma: a GET of one address is a ping.
"""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from resilience.alerting.policy import Ping
from resilience.alerting.sending import NoRedirect, UndeliverableError, resolved
from resilience.clock import Clock

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core

TIMEOUT_S: Final = 10.0
_AGAIN_S: Final = 60.0
"""After how long, at most, a ping that did not get through is tried again."""
_END_S: Final = 1.0
_UNKNOWN: Final = b"(not found)"
_log = logging.getLogger("winclaw.alerts")


class DeadMansSwitch:
    """Pings from ``start`` to ``stop`` as ``alerting.ping`` says it at the time, whether or not alerts are on.

    At the end it sends nothing: that WinClaw was quit is to be noticed outside, too.
    """

    def __init__(self, core: Core, clock: Clock) -> None:
        self._core, self._clock = core, clock
        self._changing = threading.Lock()
        self._configured = Ping()
        self._pings: Pings | None = None
        self._ended = False
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begins, with a ping at once."""
        self._unsubscribe = self._core.subscribe(self._heard)
        self._heard()

    def stop(self) -> None:
        """Ends; waits a moment for a ping that is under way."""
        self._unsubscribe()
        with self._changing:
            self._ended = True
            pings = self._pings
        if pings is not None:
            pings.end()
            pings.thread.join(_END_S)

    def _heard(self, *_: object) -> None:
        """Pings as it is configured now; where that has changed, from now on."""
        with self._changing:
            configured = self._core.state.settings.alerting.ping
            if self._ended or configured == self._configured:
                return
            self._configured = configured
            if self._pings is not None:
                self._pings.end()
            self._pings = Pings(configured, self._core, self._clock) if configured.url else None
            if self._pings is not None:
                self._pings.thread.start()


class Pings:
    """Pings one address again and again, on a thread of its own, as long as the core answers.

    Args:
        timeout_s: how long it waits for an answer, first of the core and then of the server.
    """

    def __init__(self, configured: Ping, core: Core, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        self._configured, self._core, self._clock, self._timeout_s = configured, core, clock, timeout_s
        self._opener = urllib.request.build_opener(NoRedirect)
        self._due_s = clock.monotonic()
        self._fails = False
        self._ending = threading.Event()
        self.end = self._ending.set
        self.thread = threading.Thread(target=self._main, name="ping", daemon=True)

    def step(self) -> float:
        """Pings once, if it is time; returns how many seconds to rest. Raises nothing: trouble is logged where it begins."""
        now_s = self._clock.monotonic()
        if now_s >= self._due_s:
            trouble, every_s = self._trouble(), self._configured.every_s
            self._due_s = now_s + (min(every_s, _AGAIN_S) if trouble else every_s)
            if trouble and not self._fails:
                _log.warning("no ping gets through to alerting.ping.url: %s", trouble)
            if self._fails and not trouble:
                _log.warning("pings get through to alerting.ping.url again")  # as loud as what it ends
            self._fails = bool(trouble)
        return max(self._due_s - self._clock.monotonic(), 0.0)

    def _trouble(self) -> str:
        """Pings; why that did not get through, in words without the address, which may be a secret; empty: it did."""
        try:
            if not self._core.answers(self._timeout_s):
                return "WinClaw does not answer itself, so none is sent"
            if not self._ending.is_set():
                self._ask()
        except UndeliverableError as error:
            return str(error)
        except urllib.error.HTTPError as error:
            error.close()
            return f"the server said {error.code}{', and redirects are not followed' if 300 <= error.code < 400 else ''}"
        except OSError as error:
            return str(getattr(error, "reason", error)) or type(error).__name__
        except Exception as error:  # an address that is none, a key store that is locked; its words may hold the address
            return f"it cannot be asked ({type(error).__name__})"
        return ""

    def _ask(self) -> None:
        url = resolved(self._configured.url or "")
        if not url.lower().startswith(("http://", "https://")):
            raise UndeliverableError("it does not begin with http:// or https://")
        request = urllib.request.Request(url, headers={"User-Agent": "WinClaw"})  # noqa: S310 -- looked at above
        with self._opener.open(request, timeout=self._timeout_s) as answer:
            if _UNKNOWN in answer.read(100):  # Healthchecks says 200 to whatever comes
                raise UndeliverableError("the server said OK, but knows no such check")

    def _main(self) -> None:
        while not self._ending.is_set():
            self._ending.wait(self.step())
