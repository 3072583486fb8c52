"""A file that claims to be an export may be damaged, or made by somebody who means harm: it is refused, and nothing is written."""

from __future__ import annotations

import io
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resilience.exporting.archive import Archive
from resilience.exporting.bundle import MANIFEST, Manifest, UnfitExportError
from resilience.exporting.restore import RestoreError
from tests.resilience.exporting.exporting import Machine, a_machine, contents, restored

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    a_machine(folder / "home").export(folder / "x.zip")
    return folder / "x.zip"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of three small files."""
    folder = tmp_path_factory.mktemp("small")
    machine = Machine(folder / "home")
    machine.config()
    machine.write("held.json", {"level": "SAFE_MODE"})
    machine.export(folder / "x.zip")
    return folder / "x.zip"


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as found:
        return {name: found.read(name) for name in found.namelist()}


def packed(target: Path, files: Files, change: Callable[[zipfile.ZipInfo], None] = lambda _: None, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w") as file:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, (stat.S_IFREG | 0o600) << 16
            change(info)
            file.writestr(info, content)
    return target


def with_manifest(files: Files, **changes: Any) -> Files:
    manifest = msgspec.json.decode(files[MANIFEST])
    return {**files, MANIFEST: msgspec.json.encode({**manifest, **changes})}


def refused(path: Path, folder: Path) -> str:
    """Why ``path`` is refused; nothing is written to ``folder`` or anywhere beside it."""
    folder.mkdir(exist_ok=True)
    before = contents(folder.parent)
    with pytest.raises((UnfitExportError, RestoreError)) as refusal:
        restored(path, folder)
    assert contents(folder.parent) == before
    assert list(folder.iterdir()) == []
    return str(refusal.value)


@pytest.mark.parametrize("name", [
    "../evil.db", "/etc/passwd", "outbox/../../evil.db", "C:/evil.db", "outbox\\..\\evil.db", "outbox/..", "outbox/", "evil.txt",
    "checkpoints/a/b/../c.checkpoint", "spool/nul.spool", "operator.json", "endpoint.json", "winclaw.lock", "outbox/a:b.db",
    "checkpoints/./system/x.checkpoint", "logs/a/b", "outbox/\u202egnp.db", "Journal.db", "processes/../process.json",
])  # fmt: skip
def test_a_name_that_no_export_has_is_refused(exported: Path, tmp_path: Path, name: str) -> None:
    said = refused(packed(tmp_path / "evil.zip", {**files_of(exported), name: b"x"}), tmp_path / "new")
    assert "no name of a file in one" in said or "twice" in said or "not in its manifest" in said


def test_a_link_a_folder_and_odd_packing_are_refused(exported: Path, tmp_path: Path) -> None:
    files = files_of(exported)

    def link(info: zipfile.ZipInfo) -> None:
        if info.filename == "held.json":
            info.create_system = 3  # as a POSIX system packs it; only there it means a link
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert "no plain file" in refused(packed(tmp_path / "link.zip", files, link), tmp_path / "new")
    assert "no plain file" in refused(packed(tmp_path / "lzma.zip", files, method=zipfile.ZIP_LZMA), tmp_path / "new")


def test_a_name_that_is_there_twice_is_refused(exported: Path, tmp_path: Path) -> None:
    """Which of them counts would be for the reader to choose."""
    path = packed(tmp_path / "twice.zip", files_of(exported))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("held.json", b"{}")
    assert "'held.json' twice" in refused(path, tmp_path / "new")


def test_an_encrypted_file_is_refused(exported: Path, tmp_path: Path) -> None:
    content = bytearray(exported.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    assert "encrypted" in refused(tmp_path / "x.zip", tmp_path / "new")


def test_what_is_no_export_is_refused(exported: Path, tmp_path: Path) -> None:
    for number, (content, said) in enumerate([
        (b"", "no zip file"), (b"hello" * 100, "no zip file"), (exported.read_bytes()[:-200], "no zip file"),
        (exported.read_bytes()[:2000], "no zip file"),
    ]):  # fmt: skip
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert said in refused(path, tmp_path / "new")
    assert "has no manifest.json" in refused(packed(tmp_path / "a.zip", {"held.json": b"{}"}), tmp_path / "new")
    for content in (b"", b"[]", b"{}", b'{"format":1}', b"\xff", b'{"format":"1"}', b"[" * 100_000):
        assert "cannot be read" in refused(packed(tmp_path / "b.zip", {MANIFEST: content}), tmp_path / "new")


def test_an_export_of_a_newer_winclaw_is_refused_by_its_version(exported: Path, tmp_path: Path) -> None:
    files = files_of(exported)
    newer = with_manifest(files, format=2, winclaw="9.9", parts="other than now")
    assert "newer WinClaw (9.9): its format is 2" in refused(packed(tmp_path / "a.zip", newer), tmp_path / "new")
    newer = with_manifest(files, journal=99, winclaw="9.9")
    assert "newer WinClaw (9.9): its journal has version 99" in refused(packed(tmp_path / "b.zip", newer), tmp_path / "new")


def lie(files: Files, name: str, **changes: Any) -> Files:
    parts = msgspec.json.decode(files[MANIFEST])["parts"]
    return with_manifest(files, parts=[{**part, **(changes if part["name"] == name else {})} for part in parts])


def test_a_manifest_that_lies_is_refused(exported: Path, tmp_path: Path) -> None:
    files = files_of(exported)
    manifest = msgspec.json.decode(files[MANIFEST])
    journal = next(part for part in manifest["parts"] if part["name"] == "journal.db")
    other = {**journal["tables"], "errors": {"rows": 19, "sha256": journal["tables"]["errors"]["sha256"]}}
    same_count = {**journal["tables"], "errors": {"rows": 20, "sha256": "0" * 64}}
    for said, lying in {
        "errors has 20 rows, and had 19": lie(files, "journal.db", tables=other),
        "rows of errors are others": lie(files, "journal.db", tables=same_count),
        "does not say what the tables": lie(files, "journal.db", tables={}),
        "its manifest says 1": lie(files, "held.json", bytes=1),
        "its checksum does not fit": lie(files, "held.json", sha256="0" * 64),
        "in its manifest, and missing": with_manifest({name: one for name, one in files.items() if name != "held.json"}),
        "is not in its manifest": with_manifest(files, parts=[one for one in manifest["parts"] if one["name"] != "held.json"]),
        "lists a file twice": with_manifest(files, parts=[*manifest["parts"], journal]),
        "no name of a file in one": {**with_manifest(files, parts=[*manifest["parts"], {**journal, "name": "../x"}]), "../x": b""},
    }.items():
        assert said in refused(packed(tmp_path / "lie.zip", lying), tmp_path / "new")


def test_a_bomb_is_refused_before_it_is_unpacked(small: Path, tmp_path: Path) -> None:
    """By what it says of itself, and where that is a lie, after so many bytes as it says."""
    files = files_of(small)
    said = lie(files, "held.json", bytes=10**12)

    def sizes(content: bytes, name: str, size: int) -> bytes:
        at = content.rindex(name.encode(), 0, content.rindex(b"PK\x05\x06"))
        return content[: at - 22] + size.to_bytes(4, "little") + content[at - 18 :]

    path = packed(tmp_path / "a.zip", lie({**files, "held.json": b"0" * 50_000_000}, "held.json", bytes=18))
    path.write_bytes(sizes(path.read_bytes(), "held.json", 18))
    reason = refused(path, tmp_path / "new")
    assert "damaged" in reason or "longer" in reason
    assert "manifest says 1000000000000" in refused(packed(tmp_path / "b.zip", said), tmp_path / "new")


def test_more_than_the_disk_holds_is_refused_by_what_it_says(small: Path, tmp_path: Path) -> None:
    files = files_of(small)
    size = 3_000_000_000
    path = packed(tmp_path / "a.zip", lie(files, "held.json", bytes=size))
    content = bytearray(path.read_bytes())
    at = bytes(content).rindex(b"held.json", 0, bytes(content).rindex(b"PK\x05\x06"))
    content[at - 22 : at - 18] = size.to_bytes(4, "little")
    path.write_bytes(content)
    refused(path, tmp_path / "new")


def test_no_bit_can_flip_and_what_is_restored_be_another(small: Path, tmp_path: Path) -> None:
    """Either the file is refused, or the flip is in what nobody reads: dates, and the like."""
    content, folder = small.read_bytes(), tmp_path / "new"
    restored(small, folder)
    expected = contents(folder)
    dice = random.Random(1)
    refusals = 0
    for position in range(len(content)):
        spoilt = bytearray(content)
        spoilt[position] ^= 1 << dice.randrange(8)
        try:
            with _from_memory(bytes(spoilt), tmp_path) as archive:
                archive.prove()
                got = {part.name: archive.read(part.name) for part in archive.manifest.parts}
        except UnfitExportError:
            refusals += 1
            continue
        assert got == expected
    assert refusals > len(content) * 0.8


def _from_memory(content: bytes, folder: Path) -> Archive:
    path = folder / "spoilt.zip"
    path.write_bytes(content)
    return Archive(path)


def test_a_manifest_is_read_back_as_it_was_written(exported: Path) -> None:
    content = zipfile.ZipFile(io.BytesIO(exported.read_bytes())).read(MANIFEST)
    assert msgspec.json.encode(msgspec.json.decode(content, type=Manifest)) == msgspec.json.encode(msgspec.json.decode(content))
