"""The versions of the configuration where WinClaw is killed, files are damaged, or the disk is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions
from resilience.core.core import Core
from resilience.home import CONFIG, VERSIONS
from resilience.recovery.checkpoint import CheckpointError
from resilience.testing import FakeClock
from tests.disks import fill, small_disk
from tests.tray.config_world import KEEPS, OTHER, World, again, trouble


def version_files(folder: Path) -> list[Path]:
    return sorted((folder / VERSIONS).rglob("*.checkpoint"))


def test_killed_between_commit_and_file_the_version_is_made_at_the_next_start(world: World) -> None:
    """The journal knows it, so it is the same version, with its author; what was not committed is none."""
    world.save(OTHER)
    version_files(world.folder)[-1].unlink()
    again(world)
    assert world.versions == [(2, "saved in the file", "in force"), (1, "saved in the file", "replaced by 2")]
    assert "away" not in world.watch.listed()[0]["origin"]
    version_files(world.folder)[-1].unlink()
    (world.folder / CONFIG).write_text(KEEPS.replace("agent", "third"), newline="\n")
    again(world)
    assert [number for number, _, _ in world.versions] == [3, 1]  # no number is given twice


def test_killed_after_a_roll_back_was_committed_it_holds_all_the_same(world: World) -> None:
    world.save(OTHER)
    trouble(world, 2)
    world.watch.heal({"of": 2})
    version_files(world.folder)[-1].unlink()
    again(world)
    assert (world.processes, world.notices) == (["agent"], ["config"])
    assert world.versions[0] == (3, "healing", "in force")
    again(world)
    assert (world.processes, len(world.versions)) == (["agent"], 3)


def test_a_damaged_newest_version_is_made_again_from_the_file(world: World) -> None:
    world.save(OTHER)
    newest = version_files(world.folder)[-1]
    newest.write_bytes(newest.read_bytes()[:-3])
    again(world)
    assert world.processes == ["other"]
    assert world.versions[0] == (2, "saved in the file", "in force")
    assert world.newest == OTHER


def test_with_a_bad_file_and_a_damaged_newest_version_the_one_before_holds_and_is_not_watched(world: World) -> None:
    world.save(OTHER)
    world.save(KEEPS.replace("agent", "third"))
    newest = version_files(world.folder)[-1]
    newest.write_bytes(newest.read_bytes()[:-3])
    (world.folder / CONFIG).write_text("error_handling: {dashboard: {prot: 1}}\n", newline="\n")
    again(world)
    assert (world.processes, world.notices) == (["other"], ["config"])
    assert world.versions[0] == (2, "saved in the file", "in force")
    assert world.core.state.config is not None
    assert world.core.state.config.before is None
    world.save(KEEPS)
    assert world.versions[0] == (4, "saved in the file", "in force"), "no number is given twice"


def test_a_version_that_was_kept_late_is_still_older_than_the_next(world: World) -> None:
    text = OTHER
    world.save(text)
    [newest, _] = version_files(world.folder)[::-1]
    kept = world.watch.versions.kept()[0].version
    newest.unlink()
    world.save(KEEPS.replace("agent", "third"))
    world.watch.versions.add(kept, text)
    assert [number for number, _, _ in world.versions] == [3, 2, 1]
    again(world)
    assert (world.processes, len(world.versions)) == (["third"], 3)


def test_a_full_disk_keeps_no_configuration_from_being_in_force(tmp_path: Path, core: Core) -> None:
    """That the version could not be kept is said, until it could."""
    with small_disk(tmp_path / VERSIONS, size_kb=64) as disk:
        world = World(tmp_path, core)
        filler = fill(disk)
        world.save(OTHER)
        assert (world.processes, world.told, world.notices) == (["other"], True, ["config_version"])
        assert [one.version.number for one in world.watch.versions.kept()] == [1]
        assert world.versions[0] == (2, "saved in the file", "in force")
        filler.unlink()
        world.watch.look()
        assert (world.notices, world.newest) == ([], OTHER)
        assert [number for number, _, _ in world.versions] == [2, 1]


class FullDisk(Versions):
    """Takes no version; counts how often it is tried."""

    tries = 0

    def add(self, version: ConfigVersion, text: str) -> None:
        self.tries += 1
        raise CheckpointError("No space left on device")


def test_while_the_disk_is_full_that_is_logged_once_and_tried_ever_more_rarely(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    full = FullDisk(world.folder, clock)
    world.watch._taking._versions = full
    world.save(OTHER)
    for _ in range(600):
        clock.advance(1)
        world.watch.look()
    assert [one.levelname for one in caplog.records if one.name == "winclaw.config"] == ["ERROR"]
    assert 10 <= full.tries <= 18
    world.watch._taking._versions = world.watch.versions
    clock.advance(60)
    world.watch.look()
    assert (world.notices, world.newest) == ([], OTHER)


def test_a_version_that_the_core_took_late_is_kept_all_the_same(world: World) -> None:
    """Nobody waited for its answer any more, so nobody wrote the version down."""
    world.save(OTHER)
    version_files(world.folder)[-1].unlink()
    world.watch.reload()
    assert world.newest == OTHER


def test_a_change_too_large_to_be_written_down_is_in_force_all_the_same(world: World) -> None:
    """Else the next WinClaw would not even start."""
    many = "".join(f"    p{at}: {{command: [x], environment: {{A: {chr(0x1F600) * 60}}}}}\n" for at in range(90))
    world.save(f"error_handling:\n  processes:\n{many}")
    world.save(f"error_handling:\n  processes:\n{many}".replace(chr(0x1F600), chr(0x1F601)))
    assert world.notices == ["config_version"]
    again(world)
    assert world.core.state.settings.processes["p1"].environment["A"] == chr(0x1F601) * 60
    assert (world.versions[0], world.notices) == ((3, "saved in the file", "in force"), ["config_version"])


def test_without_any_version_that_can_be_used_none_is_said_to_be_in_force(world: World) -> None:
    world.save(OTHER)
    for one in version_files(world.folder):
        one.unlink()
    (world.folder / CONFIG).write_text("error_handling: [\n", newline="\n")
    again(world)
    assert (world.processes, world.notices) == ([], ["config"])
    assert (world.watch.in_force()["version"], world.watch.in_force()["differs"], world.versions) == (None, [], [])
    with pytest.raises(LookupError):
        world.watch.heal({})
    again(world)
    assert world.watch.in_force()["version"] is None
    world.save(OTHER)
    assert (world.processes, world.watch.in_force()["version"], world.notices) == (["other"], 3, []), "no number is given twice"
    again(world)
    assert world.versions == [(3, "saved in the file", "in force")]


def test_what_was_in_force_before_the_defaults_is_a_new_version_once_it_can_be_read_again(world: World) -> None:
    for one in version_files(world.folder):
        one.unlink()
    (world.folder / CONFIG).write_text("error_handling: [\n", newline="\n")
    again(world)
    (world.folder / CONFIG).write_text(KEEPS, newline="\n")
    again(world)
    assert (world.processes, world.versions) == (["agent"], [(2, "saved in the file", "in force")])
