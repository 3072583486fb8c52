"""A manager of a program that remembers something, for the tests of saving, restoring and critical calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.restoring import RecoveryManager
from resilience.testing import FakeClock


class Keeper(RecoveryManager):
    """A manager over a folder of the test; ``memory`` is what its program knows, ``told`` what it was told of."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.memory: dict[str, Any] = {"facts": []}
        clock = FakeClock()
        super().__init__(
            CheckpointManager(folder, clock=clock), clock, lambda error, *what: self.told.append((str(error), *what))
        )

    def remember(self, state: dict[str, Any]) -> None:
        self.memory = state

    def learns(self) -> None:
        """The program has a component ``memory`` that saves and restores itself."""
        self.register_recovery_handler("memory", self.remember)
        self.register_snapshotter("memory", lambda: self.memory, "memory")
