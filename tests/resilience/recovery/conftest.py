"""Fixtures of the tests of recovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience.executor import Resilience
from resilience.recovery import steps
from tests.resilience.recovery.keepers import Keeper
from tests.resilience.recovery.workshops import Workshop


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "checkpoints")


@pytest.fixture
def policies(keeper: Keeper) -> Resilience:
    return Resilience(recovery=lambda: keeper, clock=keeper.clock)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    for name, seconds in (("_SETTLE_S", 0.05), ("_VERIFY_S", 0.2), ("_AGENT_S", 0.2), ("_NEW_RUN_S", 0.2)):
        monkeypatch.setattr(steps, name, seconds)
    one = Workshop(tmp_path)
    yield one
    one.end()
