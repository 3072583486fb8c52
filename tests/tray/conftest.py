"""What tests of the configuration share: a core, and a watch over one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience.core.core import Core
from tests.resilience.core.conftest import clock, core, start  # noqa: F401 -- fixtures
from tests.tray.config_world import World


@pytest.fixture
def world(tmp_path: Path, core: Core) -> Iterator[World]:  # noqa: F811
    world = World(tmp_path, core)
    yield world
    world.core.stop()
    world.core.history.close()
