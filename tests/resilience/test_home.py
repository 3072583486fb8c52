from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resilience import home


def test_winclaw_home_decides_where_the_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WINCLAW_HOME", str(tmp_path))
    assert home.find() == tmp_path


def test_a_relative_home_stays_where_it_was_first_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that changes its folder has one home all the same."""
    monkeypatch.setenv("WINCLAW_HOME", f"./{tmp_path.name}/home")
    monkeypatch.chdir(tmp_path.parent)
    assert home.find() == tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    assert home.find() == tmp_path / "home"


def test_without_it_the_home_is_in_the_users_local_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINCLAW_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform != "darwin":
        assert home.find() == tmp_path / ("WinClaw" if sys.platform == "win32" else "winclaw")


def test_a_private_file_is_replaced_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    home.write_private(path, "first")
    home.write_private(path, "second \N{GREEK SMALL LETTER OMEGA}")
    assert path.read_text(encoding="utf-8") == "second \N{GREEK SMALL LETTER OMEGA}"
    assert list(tmp_path.iterdir()) == [path]


def test_on_windows_what_somebody_is_reading_is_removed_and_replaced_as_soon_as_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who quits while an agent looks where to report, or a scanner reads the black box, is taken for one that crashed."""
    monkeypatch.setattr(home.sys, "platform", "win32")
    monkeypatch.setattr(home, "keep_private", lambda _: None)
    monkeypatch.setattr(home, "_PAUSE_S", 0)
    for method, do in (("replace", lambda: home.write_private(tmp_path / "file", "x")), ("unlink", lambda: home.remove(tmp_path / "file"))):
        done, tries = getattr(Path, method), []

        def in_use(self: Path, *values: Path, done: Any = done, tries: list[Path] = tries, **named: bool) -> Any:
            tries.append(self)
            if len(tries) < 4:
                raise PermissionError(13, "in use")
            return done(self, *values, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Path, method, in_use)
            do()
        assert (tmp_path / "file").exists() is (method == "replace")
    with pytest.raises(PermissionError), monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _in_use)
        home.remove(tmp_path / "file")


def _in_use(*_: object, **__: object) -> None:
    raise PermissionError(13, "in use")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b"\0" * 100])
def test_whatever_stands_in_a_file_is_a_json_object_or_nothing(tmp_path: Path, content: bytes) -> None:
    """WinClaw starts, and an agent reports, all the same."""
    (tmp_path / "file").write_bytes(content)
    assert home.read_json(tmp_path / "file") is None
    assert home.read_json(tmp_path) is None


def test_a_file_is_put_only_where_there_is_none(tmp_path: Path) -> None:
    new, path = tmp_path / "new", tmp_path / "file"
    new.write_text("first")
    home.put_new(new, path)
    new.unlink(missing_ok=True)
    new.write_text("second")
    with pytest.raises(FileExistsError):
        home.put_new(new, path)
    assert path.read_text() == "first"


def test_a_file_is_put_where_the_file_system_has_no_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    new, path = tmp_path / "new", tmp_path / "file"
    new.write_text("first")
    home.put_new(new, path)
    assert path.read_text() == "first"
    assert not new.exists()
    new.write_text("second")
    with pytest.raises(FileExistsError):
        home.put_new(new, path)
    assert path.read_text() == "first"


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    home.write_private(path, "first")
    with pytest.raises(UnicodeEncodeError):
        home.write_private(path, "\ud800")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="rights are an access list there; see the next test")
def test_home_is_for_this_user_alone(tmp_path: Path) -> None:
    folder = home.make_private_folder(tmp_path / "a" / "b")
    home.write_private(folder / "secret", "x")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "nt", reason="Windows' access lists")
def test_home_is_for_its_owner_and_the_system_alone(tmp_path: Path) -> None:
    folder = home.make_private_folder(tmp_path / "a")
    home.write_private(folder / "secret", "x")
    import win32security  # type: ignore[import-untyped,unused-ignore]

    for path in (folder, folder / "secret"):
        found = win32security.GetFileSecurity(str(path), win32security.DACL_SECURITY_INFORMATION)
        entries = found.GetSecurityDescriptorDacl()
        holders = {win32security.ConvertSidToStringSid(entries.GetAce(n)[2]) for n in range(entries.GetAceCount())}
        assert holders == {"S-1-5-18", win32security.ConvertSidToStringSid(_me())}
    (folder / "secret").unlink()


def _me() -> object:
    import win32api  # type: ignore[import-untyped,unused-ignore]
    import win32security

    token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), 8)
    return win32security.GetTokenInformation(token, win32security.TokenUser)[0]


@pytest.mark.parametrize("content", ["", "[1]", "{", "nul\0"])
def test_json_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    assert home.read_json(path) is None
    path.write_text(content)
    assert home.read_json(path) is None


def test_an_agent_needs_nothing_beyond_the_standard_library(tmp_path: Path) -> None:
    """It links, reports and leaves where not even msgspec is installed."""
    alone = """
import sys
sys.modules["msgspec"] = None
import resilience
agent = resilience.connect("alone", folder=sys.argv[1])
agent.report(TimeoutError("late"), "gpt-5.2")
agent.close()
"""
    subprocess.run([sys.executable, "-c", alone, str(tmp_path)], check=True, timeout=60)
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 1
