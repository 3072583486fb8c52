"""Compares what the machine and the supervised processes use with what is usual, and announces what is not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from resilience.core.core import Core, CoreBusyError
from resilience.detection.anomalies import Baseline, Tolerance, judged
from resilience.detection.metrics import TreeUse, machine_use
from resilience.events import EventType
from resilience.healing.policy import MACHINE
from resilience.repeating import Repeating

_EVERY_S: Final = 5.0
_TOLERANCES: Final = {
    "cpu_percent": Tolerance(30), "memory_percent": Tolerance(10), "swap_percent": Tolerance(20),
    "memory_mb": Tolerance(100, part=0.25),
}  # fmt: skip
_log = logging.getLogger("winclaw.anomalies")


class AnomalyWatch:
    """Looks every five seconds, on a thread of its own, from ``start`` to ``stop``.

    Args:
        uses: what each supervised process used when it was last measured. machine: how the machine is looked at.
    """

    def __init__(
        self,
        uses: Callable[[], Mapping[str, TreeUse]],
        core: Core,
        machine: Callable[[], Mapping[str, float]] = machine_use,
        every_s: float = _EVERY_S,
    ) -> None:
        self._uses, self._core, self._machine = uses, core, machine
        self._known: dict[tuple[str, str], Baseline] = {}
        self.values: Mapping[tuple[str, str], float] = {}
        """What was measured last, by component and metric."""
        repeating = Repeating("anomalies", every_s, self.look)
        self.start, self.stop = repeating.start, repeating.stop

    def look(self) -> None:
        """Measures once, and announces what has become unusual or usual again."""
        seen: dict[tuple[str, str], Baseline] = {}
        self.values = dict(self._measured())
        for key, value in self.values.items():
            component, metric = key
            seen[key], change = judged(self._known.get(key, Baseline()), value, _TOLERANCES[metric])
            if change is None:
                continue
            began = change.what == "began"
            kind = EventType.ANOMALY_BEGAN if began else EventType.ANOMALY_ENDED
            low, high = round(max(change.low, 0.0), 1), round(change.high, 1)
            body = {"metric": metric, "value": round(value, 1), "low": low, "high": high}
            how = {} if began else {"adopted": change.what == "adopted"}
            try:
                self._core.announce(kind, component, **body, **how)
            except CoreBusyError as error:
                _log.warning("an anomaly could not be announced: %s %s: %s", component, metric, error)
        self._known = seen  # what is not measured any more is forgotten

    def _measured(self) -> Iterator[tuple[tuple[str, str], float]]:
        for metric, value in self._machine().items():
            yield (MACHINE, metric), value
        for name, use in self._uses().items():
            yield (name, "memory_mb"), use.memory_mb
            yield (name, "cpu_percent"), use.cpu_percent
