"""A core and an engine that heals what goes wrong in it, for tests; what its actions do, each test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.events import Report
from resilience.healing.engine import SelfHealingEngine
from resilience.healing.heals import Heal, HealState
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor

DEADLINE_S = 20


class Healed:
    """A core and its engine on one home; after ``close``, both may be made anew. ``values`` is what is measured."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.looks = threading.Semaphore(0)
        self.values: dict[tuple[str, str], float] = {}

    def begin(self, settings: Settings, actions: Callable[[], Any]) -> None:
        """Makes both; ``actions`` makes what the engine acts by, when there is a core."""
        journal = Journal(self.folder / "journal.db", self.clock.now())
        self.core = Core(
            journal, History(journal.path), ErrorClassifier(clock=self.clock), Redactor(), self.clock, settings=settings
        )
        self.core.start()
        self.engine = SelfHealingEngine(self.core, actions(), self.measure, self.clock, look_s=0.02)
        self.engine.start()

    def close(self) -> None:
        self.engine.stop()
        self.core.stop()
        self.core.history.close()

    def measure(self) -> dict[tuple[str, str], float]:
        self.looks.release()
        return self.values

    def has_looked(self) -> None:
        """Waits until the engine has taken in what came before this, and looked again."""
        for _ in range(self.looks._value + 4):
            assert self.looks.acquire(timeout=DEADLINE_S)

    def fails(self, component: str = "x", kind: str = "ConnectionTimeoutError", operation: str = "ask") -> None:
        self.core.report([Report(type=kind, message="it failed", component=component, operation=operation)]).result(10)

    def heal(self, state: HealState, number: int = 1) -> Heal:
        """Waits until the heal ``number`` is in ``state``."""
        end_s, version = self.clock.monotonic() + DEADLINE_S, -1
        while self.clock.monotonic() < end_s:
            now = self.core.wait_for_change(version, 1)
            version = now.version
            if (heal := now.heals.get(number)) is not None and heal.state is state:
                return heal
        raise AssertionError(f"heal {number} is not {state}: {self.core.state.heals}")
