"""Where agents find WinClaw, on disks that take nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resilience import home
from tray.endpoint import Endpoint

ACCESS: Any = SimpleNamespace(url="http://127.0.0.1:1", agent_token="t")


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_it_is_there_from_publish_to_withdraw(tmp_path: Path) -> None:
    one = Endpoint(tmp_path, ACCESS)
    one.publish()
    assert home.read_json(tmp_path / home.ENDPOINT) == {"url": ACCESS.url, "token": "t", "pid": os.getpid()}
    one.withdraw()
    one.keep()
    assert not (tmp_path / home.ENDPOINT).exists()


def test_what_the_disk_refuses_is_said_once_and_tried_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands there is of another WinClaw, and would lead astray."""
    (tmp_path / home.ENDPOINT).write_text("{}", encoding="utf-8")
    one = Endpoint(tmp_path, ACCESS)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(home, "write_private", refuse)
        one.publish()
        one.keep()
    assert len(caplog.records) == 1
    assert not (tmp_path / home.ENDPOINT).exists()
    one.keep()
    assert home.read_json(tmp_path / home.ENDPOINT) is not None


def test_a_winclaw_that_ends_is_not_announced_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Endpoint(tmp_path, ACCESS)
    with monkeypatch.context() as patch:
        patch.setattr(home, "write_private", refuse)
        one.publish()
    one.withdraw()
    one.keep()
    assert not (tmp_path / home.ENDPOINT).exists()


def test_what_takes_the_room_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the WinClaw that crashed is removed before the new one is written, where there is no room for both."""
    path, write = tmp_path / home.ENDPOINT, home.write_private

    def full(*values: Any) -> None:
        if path.exists():
            refuse()
        write(*values)

    path.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(home, "write_private", full)
    Endpoint(tmp_path, ACCESS).publish()
    assert (home.read_json(path) or {})["token"] == "t"
