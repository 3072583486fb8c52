"""What the sandbox's tests share: limits that end them soon, and that nothing of a test goes on."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

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


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, for this process and all that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(folder))
    return folder


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def begun(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """``function`` on a thread that holds up nobody, should it hang."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
