"""The wheel: what is in it, what it asks for, and that it needs no Node where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Final

import pytest
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

import hatch_build

ROOT: Final = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def metadata(wheel: Path) -> Message:
    return message_from_string(read(wheel, "METADATA"))


def read(wheel: Path, name: str) -> str:
    """A file of the wheel's dist-info."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [path for path in archive.namelist() if path.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


def test_one_wheel_fits_every_platform(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.parametrize(
    "name",
    [
        "resilience/py.typed",
        "resilience/config/default.yaml",
        "tray/__main__.py",
        *(f"dashboard/static/vendor/{name}" for name in hatch_build.OUTPUTS),
    ],
)
def test_the_wheel_carries(names: set[str], name: str) -> None:
    assert name in names


@pytest.mark.parametrize("folder", ["static", "templates"])
def test_the_wheel_carries_the_pages_inside_the_dashboard(names: set[str], folder: str) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
    assert {f"dashboard/{name}" for name in ours} <= names


def test_the_wheel_carries_the_licences(wheel: Path, names: set[str]) -> None:
    assert read(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    with zipfile.ZipFile(wheel) as archive:
        third_party = archive.read("dashboard/static/vendor/THIRD-PARTY.txt").decode()
    assert "uplot " in third_party
    assert "socket.io-client " in third_party
    assert third_party.count("Permission is hereby granted") >= 2


def test_the_wheel_carries_nothing_else(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"resilience", "dashboard", "tray"}
    assert [name for name in names if "node_modules" in name or "__pycache__" in name] == []


def test_the_bundle_offers_what_the_pages_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        script = archive.read("dashboard/static/vendor/vendor.js").decode()
    exported = script.rpartition("export{")[2]
    assert "as io" in exported
    assert "as uPlot" in exported


def test_an_agents_author_gets_msgspec_and_nothing_else(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line.partition(">")[0] for line in required] == ["msgspec"]


def test_the_rest_comes_with_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {"app", "sandbox", "test", "bench", "mutation"}
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_commands_lead_to_the_tray(wheel: Path) -> None:
    assert read(wheel, "entry_points.txt").split() == [
        "[console_scripts]", "winclaw", "=", "tray.__main__:main",
        "[gui_scripts]", "winclaw-tray", "=", "tray.__main__:main",
    ]  # fmt: skip


def test_the_hook_is_one_that_hatchling_takes() -> None:
    assert issubclass(hatch_build.FrontEndHook, BuildHookInterface)


def test_a_bundle_is_made_again_only_when_its_sources_are_newer(tmp_path: Path) -> None:
    for name in (*hatch_build.INPUTS, *(f"{hatch_build.OUTPUT}/{name}" for name in hatch_build.OUTPUTS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        set_age(tmp_path / name, 1000 if name.startswith(hatch_build.OUTPUT + "/") else 500)
    assert not hatch_build.is_stale(tmp_path)
    set_age(tmp_path / hatch_build.ENTRY, 1500)
    assert hatch_build.is_stale(tmp_path)
    set_age(tmp_path / hatch_build.ENTRY, 500)
    (tmp_path / hatch_build.OUTPUT / "THIRD-PARTY.txt").unlink()
    assert hatch_build.is_stale(tmp_path)


def set_age(path: Path, at_s: float) -> None:
    os.utime(path, (at_s, at_s))


def test_a_registry_out_of_reach_is_named_with_its_reason() -> None:
    output = (
        "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno ECONNREFUSED\n"
        "npm error FetchError: request to http://127.0.0.1:9/uplot failed\nnpm error A complete log of this run is in: x\n"
    )
    said = hatch_build.why_npm_failed(output)
    assert said.startswith("The npm registry could not be had: FetchError: request to http://127.0.0.1:9/uplot failed\n")
    assert "npm config set registry" in said


def test_a_package_without_a_licence_text_is_not_bundled(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "nameless", "version": "1.0.0"}', encoding="utf-8")
    with pytest.raises(hatch_build.BundleError, match="nameless comes without a licence text"):
        hatch_build.licence_of(tmp_path)


def test_packages_are_found_whatever_their_names_and_depth() -> None:
    inputs = ["vendor.entry.js", "node_modules/a/x.js", "node_modules/@s/b/dist/y.js", "node_modules/a/node_modules/c/z.js"]
    assert hatch_build.packages_in(inputs) == ["node_modules/@s/b", "node_modules/a", "node_modules/a/node_modules/c"]


def test_no_file_of_the_front_end_names_a_registry() -> None:
    """Where packages come from is the business of the machine that builds."""
    for name in ("package.json", "package-lock.json", ".npmrc", "pyproject.toml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text, name
