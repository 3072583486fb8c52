"""Fixtures of the tests of recovery."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.executor import Resilience
from tests.resilience.recovery.keepers import Keeper


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "checkpoints")


@pytest.fixture
def policies(keeper: Keeper) -> Resilience:
    return Resilience(recovery=lambda: keeper, clock=keeper.clock)
