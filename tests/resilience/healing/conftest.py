"""A core and a supervisor over real processes, as the tests of processes have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.processes.conftest import House
from tests.resilience.processes.conftest import house as make_house  # noqa: F401 -- a fixture


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:  # noqa: F811
    return make_house()
