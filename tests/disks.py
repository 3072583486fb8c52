"""A disk that is really full, for tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def fill(folder: Path) -> Path:
    """Fills the file system of ``folder`` to its end; returns the file that takes all the room."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


@contextmanager
def small_disk(folder: Path, size_kb: int = 256) -> Iterator[Path]:
    """``folder``, made and on a file system of its own that holds so much; the test is skipped where none may be mounted."""
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("a small file system is mounted on Linux only")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "winclaw-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
