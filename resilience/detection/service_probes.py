"""Looks at every service and everything else that has a probe, and tells the core what is found (§6.1).

The first failure of each trouble is an error like any other; what it does to circuits and level, the core decides.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from resilience.clock import Clock
from resilience.config.settings import Settings
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import ProbeTold
from resilience.core.services import Probed
from resilience.detection.policy import Probe
from resilience.detection.prober import Prober
from resilience.detection.status import ProbeStatus
from resilience.events import Report
from resilience.processes.supervision import ProcessState

_TYPES: Final = {"disk": "DiskSpaceError", "process": "ProcessError", "file": "LoopStuckError"}
_log = logging.getLogger("winclaw.probes")


class ServiceProbes:
    """Keeps the probes of the configuration going, from ``start`` to ``stop``, and follows the configuration."""

    def __init__(self, core: Core, prober: Prober, clock: Clock) -> None:
        self._core, self._prober, self._clock = core, prober, clock
        self._watched: dict[str, tuple[Probe, float]] = {}
        self._changing = threading.Lock()
        self._settings: Settings | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begins with what is configured now."""
        self._unsubscribe = self._core.subscribe(self._heard)
        self._configure(self._core.state.settings)

    def stop(self) -> None:
        """Ends; a look that is under way is not waited for."""
        self._unsubscribe()
        with self._changing:
            self._watch({})

    def _heard(self, _: object, state: Any) -> None:
        if state.settings is not self._settings:
            self._configure(state.settings)

    def _configure(self, settings: Settings) -> None:
        every_s = settings.self_healing.health_check_interval
        with self._changing:
            self._settings = settings  # what is watched last
            self._watch({name: (probe, every_s) for name, probe in settings.probed.items()})

    def _watch(self, wanted: dict[str, tuple[Probe, float]]) -> None:
        for name in self._watched.keys() - wanted.keys():
            self._prober.forget(_watch_name(name))
        for name, (probe, every_s) in wanted.items():
            if self._watched.get(name) != (probe, every_s):
                teller = _Teller(name, probe, self._core, self._clock)
                self._prober.watch(_watch_name(name), probe, teller, interval_s=every_s)
        self._watched = wanted


class _Teller:
    """Tells the core of one probe where it stands, whenever that changes; what could not be told is told after the next look."""

    def __init__(self, name: str, probe: Probe, core: Core, clock: Clock) -> None:
        self._name, self._probe, self._core, self._clock = name, probe, core, clock
        self._told: bool | None = None

    def __call__(self, status: ProbeStatus) -> None:
        if status.well is None or status.well is self._told or (not status.well and self._is_starting()):
            return
        now, self._told = self._clock.now(), status.well
        try:
            told = self._core.tell(ProbeTold(self._name, Probed(well=status.well, since=now, what=status.what)))
            told.add_done_callback(self._answered)
            if not status.well:
                kind = _TYPES.get(self._probe.kind, "ServiceUnavailableError")
                seen = {"probe": self._probe.kind, "target": self._probe.target[:200]}
                message = f"the probe failed: {status.what}"
                self._core.report([Report(type=kind, message=message, component=self._name, operation="probe", metadata=seen)])
        except CoreBusyError as error:
            _log.warning("what the probe of %s found could not be told: %s", self._name, error)
            self._told = None

    def _answered(self, told: Future[list[int]]) -> None:
        if told.exception() is not None:
            self._told = None

    def _is_starting(self) -> bool:
        """Whether it is a supervised process that is only just being started: its silence is no trouble yet."""
        state = self._core.state
        service = state.settings.services.get(self._name)
        if service is None or service.process is None:
            return False
        process = state.processes.get(service.process)
        return process is None or process.state in (ProcessState.WAITING, ProcessState.STARTING)


def _watch_name(name: str) -> str:
    return f"service:{name}"
