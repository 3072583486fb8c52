from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resilience.config.settings import Settings
from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions, digest
from resilience.home import CONFIG, VERSIONS
from tests.disks import fill, small_disk
from tray.app import AlreadyRunningError, running
from tray.startup import settings_at_start

BAD = "error_handling:\n  dashboard:\n    prot: 9000\n"


def test_the_first_run_makes_a_configuration_that_says_the_defaults(tmp_path: Path) -> None:
    startup = settings_at_start(tmp_path)
    assert startup.settings == Settings()
    assert startup.notice is None
    assert (tmp_path / CONFIG).exists()


def test_a_users_file_is_never_rewritten(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("# mine\nerror_handling: {dashboard: {port: 9000}}\n", newline="\n")
    assert settings_at_start(tmp_path).settings.dashboard.port == 9000
    assert (tmp_path / CONFIG).read_text() == "# mine\nerror_handling: {dashboard: {port: 9000}}\n"


def test_a_full_disk_on_which_there_is_no_configuration_keeps_nothing_from_starting(tmp_path: Path) -> None:
    """Else WinClaw would end at once, again and again, for want of a file that says nothing but the defaults."""
    with small_disk(tmp_path / "home") as folder:
        kept(folder, 1, "error_handling: {dashboard: {port: 9000}}\n")
        fill(folder)
        startup = settings_at_start(folder)
        assert (startup.settings.dashboard.port, startup.instead) == (9000, "version 1 is")
        assert "there is no such file" in startup.problems[0]
        assert not (folder / CONFIG).exists()


def kept(folder: Path, number: int, text: str, **more: Any) -> ConfigVersion:
    version = ConfigVersion(**{"number": number, "sha256": digest(text), "author": "saved in the file", **more})
    Versions(folder).add(version, text)
    return version


def test_with_a_bad_file_the_newest_version_holds_and_it_is_said(tmp_path: Path) -> None:
    kept(tmp_path, 1, "error_handling: {dashboard: {port: 9000}}\n")
    kept(tmp_path, 2, "error_handling: {dashboard: {port: 9001}}\n")
    (tmp_path / CONFIG).write_text(BAD, newline="\n")
    startup = settings_at_start(tmp_path)
    assert startup.settings.dashboard.port == 9001
    assert startup.notice is not None
    assert "version 2 is in force" in startup.notice.what
    assert "port" in startup.notice.cause


def test_a_damaged_version_is_passed_over_and_so_is_one_of_another_winclaw(tmp_path: Path) -> None:
    kept(tmp_path, 1, "error_handling: {dashboard: {port: 9000}}\n")
    kept(tmp_path, 2, "error_handling: {dashboard: {port: 9001}}\n")
    kept(tmp_path, 3, "error_handling: {of_another_winclaw: {}}\n")
    (tmp_path / CONFIG).write_text(BAD, newline="\n")
    assert settings_at_start(tmp_path).settings.dashboard.port == 9001
    file = sorted((tmp_path / VERSIONS).rglob("*.checkpoint"))[1]
    file.write_bytes(file.read_bytes().replace(b"9001", b"9007"))
    assert settings_at_start(tmp_path).settings.dashboard.port == 9000


def test_without_a_version_the_defaults_hold(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(BAD, newline="\n")
    startup = settings_at_start(tmp_path)
    assert startup.settings == Settings()
    assert startup.notice is not None
    assert "defaults" in startup.notice.what


def test_what_healing_rolled_back_stays_so_until_the_file_is_saved(tmp_path: Path) -> None:
    good, bad = "error_handling: {dashboard: {port: 9000}}\n", "error_handling: {dashboard: {port: 9001}}\n"
    kept(tmp_path, 1, good)
    kept(tmp_path, 2, bad)
    (tmp_path / CONFIG).write_text(bad, newline="\n")
    said = digest((tmp_path / CONFIG).read_bytes())
    rolled_back = kept(tmp_path, 3, good, author="healing", replaces=2, restores=1, because="it burns", file_sha256=said)
    startup = settings_at_start(tmp_path)
    assert (startup.settings.dashboard.port, startup.version) == (9000, rolled_back)
    assert startup.notice is not None
    assert startup.notice.what == "The configuration was rolled back to version 1."
    assert startup.notice.cause == "Trouble followed version 2, which is what error_handling_config.yaml still says: it burns."
    (tmp_path / CONFIG).write_text(f"# looked at\n{bad}", newline="\n")
    startup = settings_at_start(tmp_path)
    assert (startup.settings.dashboard.port, startup.version, startup.notice) == (9001, None, None)


def test_a_roll_back_that_this_winclaw_does_not_understand_leaves_the_file_in_force(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("error_handling: {dashboard: {port: 9001}}\n", newline="\n")
    said = digest((tmp_path / CONFIG).read_bytes())
    kept(tmp_path, 1, "error_handling: {of_another_winclaw: {}}\n", author="healing", file_sha256=said)
    assert settings_at_start(tmp_path).settings.dashboard.port == 9001


def test_what_is_a_version_already_is_no_new_one(tmp_path: Path) -> None:
    text = "\ufeff# mine\r\nerror_handling: {dashboard: {port: 9000}}\r\n"
    version = kept(tmp_path, 1, text)
    (tmp_path / CONFIG).write_bytes(text.encode())
    startup = settings_at_start(tmp_path)
    assert (startup.version, startup.text) == (version, text)


def test_the_app_starts_on_a_bad_file_and_says_so_everywhere(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(BAD, newline="\n")
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
