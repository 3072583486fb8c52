"""What run.py decides; that it works on a fresh machine is shown by whoever runs it there."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

import run

ROOT: Final = Path(__file__).resolve().parents[1]
THIS: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"


def venv_in(folder: Path, settings: str) -> tuple[Path, Path]:
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")
    interpreter = folder / "python"
    interpreter.touch()
    return folder, interpreter


def test_an_old_python_can_read_far_enough_to_be_told() -> None:
    """A syntax error would say nothing of the version that is needed."""
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    definitions = [node.lineno for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    [check] = [node.lineno for node in tree.body if isinstance(node, ast.If) and "version_info" in ast.dump(node.test)]
    assert check < min(definitions)


def test_run_py_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"))
    names = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("settings", [f"home = /x\nversion = {THIS}.7\n", f"home = /x\nversion_info = {THIS}.7\n"])
def test_a_sound_environment_is_kept(tmp_path: Path, settings: str) -> None:
    folder, interpreter = venv_in(tmp_path / ".venv", settings)
    assert run.why_make(folder, interpreter, {}) is None
    assert run.why_make(folder, interpreter, {"folder": str(folder)}) is None


def test_a_missing_environment_is_made(tmp_path: Path) -> None:
    assert run.why_make(tmp_path / ".venv", tmp_path / "python", {}) == "there is none yet"


def test_an_environment_of_another_python_is_made_again(tmp_path: Path) -> None:
    folder, interpreter = venv_in(tmp_path / ".venv", "version = 3.1.4\n")
    assert run.why_make(folder, interpreter, {}) == f"it is of Python 3.1.4, this is {THIS}"


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path: Path) -> None:
    folder, interpreter = venv_in(tmp_path / ".venv", f"home = /opt/gone\nversion = {THIS}.7\n")
    interpreter.unlink()
    assert run.why_make(folder, interpreter, {}) == "its Python (/opt/gone) is gone"


def test_an_environment_that_was_moved_is_made_again(tmp_path: Path) -> None:
    """Its scripts start with the old path."""
    folder, interpreter = venv_in(tmp_path / ".venv", f"version = {THIS}.7\n")
    assert run.why_make(folder, interpreter, {"folder": "/old/.venv"}) == "it was moved here from /old/.venv"


@pytest.mark.parametrize(
    ("stamp", "bundled", "expected"),
    [
        ({}, True, True),
        ({"inputs": "same", "extras": ["app"]}, True, False),
        ({"inputs": "same", "extras": ["app", "test"]}, True, False),
        ({"inputs": "same", "extras": ["test"]}, True, True),
        ({"inputs": "other", "extras": ["app"]}, True, True),
        ({"inputs": "same", "extras": ["app"]}, False, True),
        ({"inputs": "same", "extras": "app"}, True, True),
    ],
)
def test_it_installs_only_what_is_not_installed_yet(stamp: dict[str, Any], bundled: bool, expected: bool) -> None:
    assert run.must_install(stamp, "same", {"app"}, bundled) is expected


def test_the_fingerprint_follows_what_is_installed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("a", encoding="utf-8")
    before = run.fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("b", encoding="utf-8")
    assert run.fingerprint(tmp_path) == before
    (tmp_path / "pyproject.toml").write_text("c", encoding="utf-8")
    assert run.fingerprint(tmp_path) != before


@pytest.mark.parametrize("content", [None, "", "[]", '{"inputs": '])
def test_an_unreadable_stamp_means_not_installed(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / run.STAMP).write_text(content, encoding="utf-8")
    assert run.read_stamp(tmp_path) == {}


def test_edge_is_looked_for_before_chrome_on_windows() -> None:
    environ = {"PROGRAMFILES": "C:/P", "PROGRAMFILES(X86)": "C:/P86"}
    assert run.browsers("win32", environ)[:3] == ["msedge", "chrome", "C:/P86/Microsoft/Edge/Application/msedge.exe"]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_usual_places_are_commands_or_whole_paths(platform: str) -> None:
    assert all("/" not in place or place.startswith("/") for place in run.browsers(platform, {}))


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither symlinks for everybody nor a PATH of shell scripts")
def test_a_browser_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\n", encoding="utf-8")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.find_browser() == str(browser)


@pytest.mark.skipif(os.name == "nt", reason="there, signals are not part of the exit status")
def test_the_programs_exit_status_and_signals_are_run_pys_own() -> None:
    script = "import run, sys; run.become(sys.executable, '-c', sys.argv[1])"
    left = subprocess.run([sys.executable, "-c", script, "raise SystemExit(7)"], cwd=ROOT, check=False)
    assert left.returncode == 7
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert subprocess.run([sys.executable, "-c", script, killed], cwd=ROOT, check=False).returncode == -signal.SIGTERM


def test_a_program_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(run.Trouble, match="does not start"):
        run.call(str(tmp_path / "nothing"))


def test_every_module_that_is_to_be_mutated_is_there() -> None:
    """mutmut passes over one that was renamed, without a word."""
    mutated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    ignored = [argument.removeprefix("--ignore=") for argument in mutated["pytest_add_cli_args"]]
    names = [*mutated["only_mutate"], *mutated["pytest_add_cli_args_test_selection"], *ignored]
    assert [name for name in names if not (ROOT / name).exists()] == []
