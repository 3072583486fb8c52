"""Keeps a sample a minute of how busy the machine is, and of the calls of each service, for charts that survive a restart."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Final

from resilience.core.core import Core, CoreBusyError
from resilience.detection.call_counts import Calls, Counted, looked, together
from resilience.healing.policy import MACHINE
from resilience.journal.journal import Journal, JournalError
from resilience.journal.samples import KEPT, Sample, minute_of
from resilience.repeating import Repeating

MAX_SERVICES: Final = 50
"""So many services are kept of a minute, those that are called most: what is kept of a week has to stay small."""
_EVERY_S: Final = 5.0
_LATELY_S: Final = 60.0
_COMMIT_S: Final = 60.0
_log = logging.getLogger("winclaw.sampler")


class Sampler:
    """Looks every five seconds, on a thread of its own, from ``start`` to ``stop``; what is written is done by the journal's.

    A minute that cannot be written is lost, as is the one in which WinClaw ends: a chart has a gap then, and nothing else.

    Args:
        measured: what was measured last, by component and metric: see ``AnomalyWatch.values``.
    """

    def __init__(
        self, core: Core, measured: Callable[[], Mapping[tuple[str, str], float]], every_s: float = _EVERY_S
    ) -> None:
        self._core, self._measured = core, measured
        self._counted = Counted()
        self._minute = minute_of(core.clock.now())
        self._looks: list[dict[str, Calls]] = []
        self._machine: list[tuple[float, float]] = []
        self._last: deque[tuple[float, dict[str, Calls]]] = deque()
        self.lately: Mapping[str, Calls] = {}
        """The calls of each service in the last minute before the last look."""
        repeating = Repeating("sampler", every_s, self.look)
        self.start, self.stop = repeating.start, repeating.stop

    def look(self) -> None:
        """Looks once, and writes the last minute when a new one has begun."""
        self._counted, new = looked(self._counted, self._core.state)
        self._looks.append(new)
        values = self._measured()
        if (MACHINE, "cpu_percent") in values:
            self._machine.append((values[MACHINE, "cpu_percent"], values[MACHINE, "memory_percent"]))
        self._remember(new)
        minute = minute_of(self._core.clock.now())
        if minute != self._minute:
            samples, self._looks, self._machine = self._samples(), [], []
            self._minute, ended = minute, self._minute
            self._write(ended, samples)

    def _remember(self, new: dict[str, Calls]) -> None:
        now_s = self._core.clock.monotonic()
        self._last.append((now_s, new))
        while self._last[0][0] <= now_s - _LATELY_S:
            self._last.popleft()
        self.lately = together(look for _, look in self._last)

    def _samples(self) -> list[Sample]:
        found: dict[str, Sample] = {}
        if self._machine:
            cpu, memory = (round(fmean(values), 1) for values in zip(*self._machine, strict=True))
            found[MACHINE] = Sample(MACHINE, cpu, memory)
        calls = together(self._looks)
        for name in sorted(calls, key=lambda name: -calls[name].calls)[:MAX_SERVICES]:
            known = found.get(name, Sample(name))  # a service may be called "machine", too
            found[name] = Sample(name, known.cpu_percent, known.memory_percent, *calls[name])
        return [*found.values()]

    def _write(self, minute: int, samples: list[Sample]) -> None:
        oldest = minute_of(self._core.clock.now() - min(KEPT, self._core.max_age))

        def write(journal: Journal) -> None:
            journal.sample(minute, samples, oldest)

        try:
            self._core.on_journal(write).result(_COMMIT_S)
        except (CoreBusyError, JournalError, TimeoutError) as error:
            _log.warning("what was measured in a minute is lost: %s", error)
