"""What the sandbox's tests share: limits that end them soon, and that nothing of a test goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from resilience import ResourceLimits
from resilience.processes.identity import carriers

POSIX: Final = sys.platform != "win32"
WINE: Final = "WINEPREFIX" in os.environ
LIMITS: Final = ResourceLimits(
    max_cpu_seconds=80_000 if WINE else 5, max_memory_mb=200, max_disk_io_mb=10, max_output_mb=1.0, wall_seconds=30
)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """What this process has started in a sandbox has ended with the test."""
    yield
    assert not carriers(f"sandbox:{os.getpid()}:")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]
