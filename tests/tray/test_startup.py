from __future__ import annotations

from pathlib import Path

import pytest

from resilience.config.settings import Settings
from resilience.home import CONFIG
from tray.app import AlreadyRunningError, running
from tray.startup import LAST_GOOD, settings_at_start

BAD = "error_handling:\n  dashboard:\n    prot: 9000\n"


def test_the_first_run_makes_a_configuration_that_says_the_defaults(tmp_path: Path) -> None:
    startup = settings_at_start(tmp_path)
    assert startup.settings == Settings()
    assert startup.notice is None
    assert (tmp_path / CONFIG).exists()


def test_a_users_file_is_never_rewritten(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("# mine\nerror_handling: {dashboard: {port: 9000}}\n")
    assert settings_at_start(tmp_path).settings.dashboard.port == 9000
    assert (tmp_path / CONFIG).read_text() == "# mine\nerror_handling: {dashboard: {port: 9000}}\n"


def test_with_a_bad_file_the_last_good_one_holds_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("error_handling: {dashboard: {port: 9000}}\n")
    settings_at_start(tmp_path)
    (tmp_path / CONFIG).write_text(BAD)
    startup = settings_at_start(tmp_path)
    assert startup.settings.dashboard.port == 9000
    assert startup.notice is not None
    assert "last good one" in startup.notice.what
    assert "port" in startup.notice.cause


@pytest.mark.parametrize("spoilt", [None, "not: [yaml"])
def test_without_a_last_good_one_the_defaults_hold(tmp_path: Path, spoilt: str | None) -> None:
    (tmp_path / CONFIG).write_text(BAD)
    if spoilt:
        (tmp_path / LAST_GOOD).write_text(spoilt)
    startup = settings_at_start(tmp_path)
    assert startup.settings == Settings()
    assert startup.notice is not None
    assert "defaults" in startup.notice.what


def test_the_app_starts_on_a_bad_file_and_says_so_everywhere(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(BAD)
    with running(tmp_path, port=22000) as winclaw:
        assert [notice.name for notice in winclaw.core.state.notices] == ["config"]
        winclaw.core.set_level(None, actor="test", origin="here").result(10)
        events = {event.type: event.body for event in winclaw.core.history.events(0)}
    assert "line 3" in events["config.refused"]["problems"][0]


def test_one_home_has_one_winclaw(tmp_path: Path) -> None:
    with running(tmp_path, port=22000), pytest.raises(AlreadyRunningError), running(tmp_path, port=22000):
        pass


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with running(tmp_path / "one", port=22000) as one, running(tmp_path / "two", port=22000) as two:
        assert one.url != two.url
