"""The prober: looks at everything that is watched, each in its own time and thread, so that one cannot delay another."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from resilience.clock import Clock
from resilience.detection.policy import Probe
from resilience.detection.probes import look
from resilience.detection.status import Outcome, ProbeStatus, after, pause_s

_Tell = Callable[[ProbeStatus], None]
_log = logging.getLogger("winclaw.prober")


class Prober:
    """Looks again and again; what is found is told to whoever watches. Its methods may be called from any thread.

    Args:
        ask: how one look is done; tests put another one in.
    """

    def __init__(self, clock: Clock, ask: Callable[[Probe, Clock], Outcome] = look) -> None:
        self._clock, self._ask = clock, ask
        self._watched: dict[str, threading.Event] = {}
        self._changing = threading.Lock()

    def watch(self, name: str, probe: Probe, tell: _Tell, *, interval_s: float) -> None:
        """Looks at once and from now on; what was watched under this name is forgotten.

        Args:
            tell: gets the status after every look, on the thread that looked. interval_s: for a probe without its own.
        """
        self.forget(name)
        gone = threading.Event()
        with self._changing:
            self._watched[name] = gone
        arguments = (probe, tell, interval_s, gone)
        threading.Thread(target=self._look_forever, args=arguments, name=f"probe-{name}", daemon=True).start()

    def forget(self, name: str) -> None:
        """Looks no longer; nothing is told any more, not even of a look that is under way."""
        with self._changing:
            gone = self._watched.pop(name, None)
        if gone is not None:
            gone.set()

    def stop(self) -> None:
        """Looks at nothing any more; a look that is under way is not waited for."""
        for name in list(self._watched):
            self.forget(name)

    def _look_forever(self, probe: Probe, tell: _Tell, interval_s: float, gone: threading.Event) -> None:
        status = ProbeStatus()
        while not gone.is_set():
            try:
                outcome = self._ask(probe, self._clock)
                status = after(status, outcome, probe, self._clock.monotonic())
                if not gone.is_set():
                    tell(status)
            except Exception:  # a defect of ours, or of who listens, must not end the watch
                _log.exception("a look at %s failed", probe.target)
            gone.wait(pause_s(status, probe, interval_s, random.random()))  # noqa: S311 -- it only spreads the looks
