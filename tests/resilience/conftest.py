"""What the tests of the library share: a clock that moves when told to."""

from __future__ import annotations

import pytest

from resilience.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
