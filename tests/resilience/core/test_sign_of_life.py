from __future__ import annotations

import threading
from pathlib import Path

from resilience.core.sign_of_life import SignOfLife
from resilience.testing import FakeClock


def test_the_next_life_knows_for_how_long_there_was_none(tmp_path: Path) -> None:
    clock, looked = FakeClock(), threading.Event()
    first = SignOfLife(tmp_path / "alive", clock, lambda: looked.set() or True)  # type: ignore[func-returns-value]
    assert first.away_s() is None
    first.start()
    assert looked.wait(10)
    first.stop()
    clock.advance(90)
    assert SignOfLife(tmp_path / "alive", clock, lambda: True).away_s() == 90


def test_who_does_not_answer_itself_gives_no_sign(tmp_path: Path) -> None:
    """The guardian then sees that it hangs, though this thread goes on."""
    looked = threading.Event()
    life = SignOfLife(tmp_path / "alive", FakeClock(), lambda: looked.set() or False)  # type: ignore[func-returns-value]
    life.start()
    assert looked.wait(10)
    life.stop()
    assert not (tmp_path / "alive").exists()
