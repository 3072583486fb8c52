"""A lock file: one holder at a time."""

from __future__ import annotations

from pathlib import Path

from resilience import locked


def test_a_lock_is_one_holders_until_it_lets_go(tmp_path: Path) -> None:
    held = locked.take(tmp_path / "x.lock")
    assert held is not None
    assert locked.take(tmp_path / "x.lock") is None
    held.close()
    again = locked.take(tmp_path / "x.lock")
    assert again is not None
    again.close()
