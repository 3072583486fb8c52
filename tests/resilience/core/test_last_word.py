"""The file that agents obey while no WinClaw runs, on disks that take nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from resilience import home
from resilience.core.last_word import LastWord
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, at_first, choose
from tests.resilience.records import NOW

FULL = State(standing=at_first(NOW))
SAFE = replace(FULL, standing=choose(at_first(NOW), DegradationLevel.SAFE_MODE, actor="tray", now=NOW))


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("state", [FULL, SAFE])
def test_a_start_has_nothing_to_write_where_the_file_says_so_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    LastWord(tmp_path).write(state)
    before = home.read_json(tmp_path / home.HELD)
    monkeypatch.setattr(home, "write_private", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    LastWord(tmp_path).write(state)
    assert home.read_json(tmp_path / home.HELD) == before


@pytest.mark.parametrize(("first", "then"), [(FULL, SAFE), (SAFE, FULL)])
def test_what_an_earlier_winclaw_has_left_becomes_what_holds(tmp_path: Path, first: State, then: State) -> None:
    LastWord(tmp_path).write(first)
    LastWord(tmp_path).write(then)
    found = home.read_json(tmp_path / home.HELD)
    assert (found or {}).get("level") == ("SAFE_MODE" if then is SAFE else None)


def test_half_a_file_is_removed_where_nothing_is_held(tmp_path: Path) -> None:
    (tmp_path / home.HELD).write_text("{", encoding="utf-8")
    LastWord(tmp_path).write(FULL)
    assert not (tmp_path / home.HELD).exists()


def test_a_disk_that_refuses_is_said_once_and_tried_again_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = LastWord(tmp_path)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(home, "write_private", refuse)
        for _ in range(3):
            one.write(SAFE)
    assert len(caplog.records) == 1
    one.write(SAFE)
    assert (home.read_json(tmp_path / home.HELD) or {})["level"] == "SAFE_MODE"
