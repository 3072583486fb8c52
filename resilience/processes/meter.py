"""Measures what supervised processes use, and has those ended that use more memory than they may."""

from __future__ import annotations

from typing import Final

from resilience.core.core import Core
from resilience.detection.metrics import TreeMeter, TreeUse
from resilience.processes.supervisor import Supervisor
from resilience.repeating import Repeating

_EVERY_S: Final = 5.0
_TIMES: Final = 2
"""Looks in a row that must find too much, so that a moment's need ends nobody."""


class Meter:
    """Looks every five seconds, on a thread of its own, from ``start`` to ``stop``."""

    def __init__(self, supervisor: Supervisor, core: Core, every_s: float = _EVERY_S) -> None:
        self._supervisor, self._core = supervisor, core
        self._trees = TreeMeter(core.clock)
        self._over: dict[tuple[str, int], int] = {}
        repeating = Repeating("meter", every_s, self._look)
        self.start, self.stop = repeating.start, repeating.stop

    def _look(self) -> None:
        runs = self._supervisor.running()
        uses = self._trees.look({name: pid for name, (_, pid) in runs.items()})
        over: dict[tuple[str, int], int] = {}
        for name, use in uses.items():
            allowed, key = self._allowed_mb(name), (name, runs[name][0])
            if allowed is not None and use.memory_mb > allowed:
                over[key] = self._over.get(key, 0) + 1
                if over[key] == _TIMES:
                    self._supervisor.too_large(name, key[1], _words(use, allowed))
        self._over = over
        if runs:
            self._supervisor.measured(uses)

    def _allowed_mb(self, name: str) -> int | None:
        policy = self._core.state.settings.processes.get(name)
        return None if policy is None else policy.max_memory_mb


def _words(use: TreeUse, allowed: int) -> str:
    shared = f" with {use.processes - 1} that it has started" if use.processes > 1 else ""
    return f"it used {use.memory_mb:.0f} MB of {allowed} allowed{shared}"
