from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resilience.core.core import Core
from resilience.testing import FakeClock
from tests.resilience.conftest import clock  # noqa: F401 -- for tests elsewhere that take all of a core's fixtures from here
from tests.resilience.core.cores import BrittleJournal, core_on, end


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Core]]:  # noqa: F811
    started: list[Core] = []

    def start_one() -> Core:
        core = core_on(BrittleJournal(tmp_path / "journal.db", clock.now()), clock)
        started.append(core)
        return core

    yield start_one
    end(started)


@pytest.fixture
def core(start: Callable[[], Core]) -> Core:
    return start()
