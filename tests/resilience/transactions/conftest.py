"""A world for each test, and both ways to run a transaction in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resilience.transactions.transacting import Way, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest, world: World) -> Way:
    return Way(world, request.param)
