"""The versions of the configuration: who made them, what became of them, and the ways back; the test looks, instead of a thread."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock
from resilience.config.problems import ConfigError
from resilience.config.settings import Settings
from resilience.config.version import ConfigTrouble, ConfigVersion
from resilience.config.versions import Versions, digest
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import ConfigTroubled
from resilience.core.state import State
from resilience.healing.heals import HealState
from resilience.home import CONFIG, VERSIONS
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.recovery.checkpoint import CheckpointError
from resilience.redaction import Redactor
from resilience.testing import FakeClock
from tests.disks import fill, small_disk
from tests.resilience.core.conftest import clock, core, start  # noqa: F401 -- fixtures
from tests.tray.test_config_watch import KEEPS, World
from tray import config_offline
from tray.app import running
from tray.config_taking import CHECKS
from tray.config_watch import ConfigWatch
from tray.startup import settings_at_start

OTHER = KEEPS.replace("agent", "other")


@pytest.fixture
def world(tmp_path: Path, core: Core) -> Iterator[World]:  # noqa: F811
    world = World(tmp_path, core)
    yield world
    world.core.stop()
    world.core.history.close()


def again(world: World, at: Clock | None = None, **how: Any) -> None:
    """The next WinClaw on the same home, begun as the composition root does; ``at``: by another clock."""
    clock = at or world.core.clock  # noqa: F811
    world.core.stop()
    world.core.history.close()
    startup, journal = settings_at_start(world.folder), Journal(world.folder / "journal.db", clock.now())
    notices = [startup.notice] if startup.notice is not None else []
    world.core = Core(
        journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock, settings=startup.settings, notices=notices
    )
    world.core.start()
    world.watch = ConfigWatch(world.folder, startup, world.core)
    world.watch.begin(**how)


def refuse(error: Exception) -> Callable[..., Any]:
    """What does nothing but raise ``error``."""

    def refuses(*_: object) -> Any:
        raise error

    return refuses


def beside(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*.yaml") if one.name != CONFIG)


def test_each_accepted_configuration_is_a_version_with_author_changes_and_outcome(world: World) -> None:
    world.save(KEEPS.replace("}}}", "}}, circuit_breaker: {default: {failure_threshold: 3}}}"))
    newest, first = world.watch.listed()
    assert newest["changed"] == ["circuit_breaker.default.failure_threshold: 5 → 3"]
    assert (newest["version"], newest["author"], newest["outcome"], newest["in_force"]) == (2, "saved in the file", "in force", True)
    assert newest["origin"]
    assert (first["version"], first["outcome"]) == (1, "replaced by 2")
    [(kind, said)] = world.events
    assert kind == "config.changed"
    assert (said["version"], said["author"], said["settings"]) == (2, "saved in the file", newest["changed"])
    assert world.watch.described(2)["diff"][-2:] == [f"-{KEEPS.strip()}", f"+{(world.folder / CONFIG).read_text().strip()}"]


def test_the_file_of_a_first_run_is_version_one(tmp_path: Path, core: Core) -> None:  # noqa: F811
    watch = ConfigWatch(tmp_path, settings_at_start(tmp_path), core)
    watch.begin()
    [one] = watch.listed()
    assert (one["version"], one["author"], one["origin"], one["changed"]) == (1, "first run", "", [])


def test_what_is_refused_is_no_version(world: World) -> None:
    world.save("error_handling: {dashboard: {prot: 1}}\n")
    assert [number for number, _, _ in world.versions] == [1]


def test_two_saves_in_quick_succession_are_one_version_and_three_looks_later_two(world: World) -> None:
    world.save(OTHER, looks=1)
    world.save(KEEPS.replace("agent", "third"))
    assert world.processes == ["third"]
    assert [number for number, _, _ in world.versions] == [2, 1]
    world.save(OTHER)
    assert [number for number, _, _ in world.versions] == [3, 2, 1]


def test_what_was_saved_while_winclaw_was_away_is_a_version_too(world: World) -> None:
    (world.folder / CONFIG).write_text(OTHER, newline="\n")
    again(world)
    newest = world.watch.listed()[0]
    assert (newest["version"], newest["author"], newest["outcome"]) == (2, "saved in the file", "in force")
    assert newest["origin"].endswith("while WinClaw was away")
    assert newest["changed"] == ["processes.agent: removed", "processes.other: added"]
    again(world)
    assert len(world.versions) == 2


def test_a_part_that_refuses_is_asked_before_any_part_takes_it(tmp_path: Path, core: Core) -> None:  # noqa: F811
    """Verify, commit, or nothing: no part has changed, nobody was told of other settings, and no version was made."""

    def refuses(_: State, settings: Settings) -> None:
        if "other" in settings.processes:
            raise ValueError("the port is taken")

    world = World(tmp_path, core, {**CHECKS, "the last of all": refuses})
    before, told = core.state.settings, world.watch.policy()
    world.save(OTHER)
    assert core.state.settings is before
    assert world.watch.policy() is told
    assert (world.processes, world.notices, world.newest) == (["agent"], ["config"], KEEPS)
    [(kind, said)] = world.events
    assert kind == "config.refused"
    assert said["problems"] == ["the last of all cannot take it: the port is taken"]


def test_a_person_rolls_back_and_the_file_says_so(world: World, clock: FakeClock) -> None:  # noqa: F811
    world.save(OTHER)
    said = world.watch.roll_back(1, author="dashboard", origin="127.0.0.1")
    [old] = beside(world.folder)
    assert old in said
    assert old.startswith(f"error_handling_config.before-roll-back-{clock.now():%Y-%m-%d}")
    assert (world.folder / old).read_text() == OTHER
    assert (world.folder / CONFIG).read_text() == KEEPS
    assert world.versions == [
        (3, "dashboard", "in force"), (2, "saved in the file", "rolled back to 1"), (1, "saved in the file", "replaced by 2"),
    ]  # fmt: skip
    world.watch.look()
    world.watch.look()
    assert (world.processes, world.notices, len(world.versions)) == (["agent"], [], 3)
    kind, event = world.events[-1]
    assert kind == "config.rolled_back"
    assert (event["version"], event["replaces"], event["restores"], event["author"]) == (3, 2, 1, "dashboard")


def test_what_the_file_said_before_is_never_overwritten(world: World) -> None:
    world.save(OTHER)
    world.watch.roll_back(1, author="dashboard", origin="")
    world.watch.roll_back(2, author="dashboard", origin="")
    assert world.watch.roll_back(2, author="dashboard", origin="") == "version 2 is in force already"
    assert sorted((world.folder / name).read_text() for name in beside(world.folder)) == [KEEPS, OTHER]
    assert beside(world.folder)[0].endswith("-2.yaml")


def test_a_version_that_cannot_be_used_or_is_not_there_changes_nothing(world: World) -> None:
    with pytest.raises(LookupError, match="no version 7"):
        world.watch.roll_back(7, author="dashboard", origin="")
    old = "error_handling: {of_another_winclaw: {}}\n"
    Versions(world.folder).add(ConfigVersion(number=7, sha256=digest(old), author="test"), old)
    with pytest.raises(ConfigError, match="of_another_winclaw"):
        world.watch.roll_back(7, author="dashboard", origin="")
    assert ((world.folder / CONFIG).read_text(), beside(world.folder)) == (KEEPS, [])
    assert world.watch.described(7)["would_change"] is None


def trouble(world: World, number: int, what: str = "it burns") -> None:
    world.core.tell(ConfigTroubled(ConfigTrouble(number, what))).result(10)


def test_healing_rolls_back_until_the_file_is_saved_also_over_a_restart(world: World) -> None:
    world.save(OTHER)
    trouble(world, 2)
    assert "version 1 is in force again" in world.watch.heal({"of": 2, "heal": 5, "approved_by": ""})
    for _ in range(2):
        world.watch.look()
        world.watch.look()
        assert (world.processes, world.notices, world.told) == (["agent"], ["config"], True)
        assert (world.folder / CONFIG).read_text() == OTHER
        assert world.versions[0] == (3, "healing", "in force")
        assert world.versions[1] == (2, "saved in the file", "rolled back to 1: it burns")
        assert "stays in force" in world.watch.reload()
        again(world)
    world.save(KEEPS.replace("agent", "third"))
    assert (world.processes, world.notices) == (["third"], [])
    assert world.versions[1] == (3, "healing", "replaced by 4")
    assert beside(world.folder) == []


def test_what_was_rolled_back_is_in_force_once_it_was_saved_again_though_something_else_was_before(world: World) -> None:
    """A person takes the change out of the file, too, and puts it back later, while no WinClaw runs."""
    world.save(OTHER)
    trouble(world, 2)
    world.watch.heal({"of": 2, "heal": 7})
    world.save(KEEPS)
    assert (world.versions[0], world.notices) == ((4, "saved in the file", "in force"), [])
    (world.folder / CONFIG).write_text(OTHER, newline="\n")
    again(world)
    assert (world.processes, world.notices, world.versions[0][0]) == (["other"], [], 5)


def test_what_a_person_approves_goes_into_the_file(world: World) -> None:
    world.save(OTHER)
    trouble(world, 2)
    world.watch.heal({"of": 2, "heal": 5, "approved_by": "dashboard"})
    assert (world.folder / CONFIG).read_text() == KEEPS
    assert len(beside(world.folder)) == 1
    newest = world.watch.listed()[0]
    assert (newest["author"], newest["origin"]) == ("dashboard", "heal 5")
    again(world)
    assert (world.processes, world.notices, len(world.versions)) == (["agent"], [], 3)


def test_a_person_may_have_the_file_say_what_healing_went_back_to(world: World) -> None:
    world.save(OTHER)
    world.watch.heal({"of": 2})
    world.watch.roll_back(1, author="command line", origin="")
    assert ((world.folder / CONFIG).read_text(), world.notices) == (KEEPS, [])
    again(world)
    assert (world.processes, world.notices, world.versions[0]) == (["agent"], [], (4, "command line", "in force"))


def test_an_offer_that_is_out_of_date_does_nothing(world: World) -> None:
    world.save(OTHER)
    world.save(KEEPS.replace("agent", "third"))
    with pytest.raises(LookupError, match="another configuration is in force"):
        world.watch.heal({"of": 2})
    assert world.processes == ["third"]


def test_a_rule_of_the_users_goes_back_past_what_was_left_because_of_trouble(world: World) -> None:
    world.save(OTHER)
    trouble(world, 2)
    world.save(KEEPS.replace("agent", "third"))
    world.save(f"# mine\n{KEEPS.replace('agent', 'third')}")
    assert "version 1 is in force" in world.watch.heal({})
    with pytest.raises(LookupError, match="no other configuration"):
        world.watch.heal({})


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


def test_what_the_core_did_not_take_is_no_version(world: World) -> None:
    world.core.stop()
    with pytest.raises(CoreBusyError):
        world.save(OTHER)
    assert [one.version.number for one in world.watch.versions.kept()] == [1]
    again(world)
    assert world.versions[0] == (2, "saved in the file", "in force")


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


def test_a_full_disk_keeps_no_configuration_from_being_in_force(tmp_path: Path, core: Core) -> None:  # noqa: F811
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
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture  # noqa: F811
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


def test_a_file_that_cannot_be_written_is_not_rolled_back_and_nothing_changes(tmp_path: Path, core: Core) -> None:  # noqa: F811
    with small_disk(tmp_path / "home", size_kb=64) as folder:
        world = World(folder, core)
        world.save(OTHER)
        fill(folder)
        with pytest.raises(OSError):  # noqa: PT011
            world.watch.roll_back(1, author="dashboard", origin="")
        assert ((folder / CONFIG).read_text(), world.processes, world.told) == (OTHER, ["other"], True)


def test_a_crash_soon_after_a_configuration_is_put_down_to_it(world: World, clock: FakeClock) -> None:  # noqa: F811
    world.save(OTHER)
    clock.advance(100)
    again(world, crashed=True, away_s=40.0)
    assert world.versions[0][2] == "in force; followed by trouble: WinClaw itself crashed 60 s later"
    assert world.events[-1] == ("config.trouble", {"version": 2, "what": "WinClaw itself crashed 60 s later"})


@pytest.mark.parametrize(("after_s", "away_s"), [(1000.0, 100.0), (-500.0, 0.0)])
def test_a_crash_long_after_it_or_by_a_clock_that_was_set_back_is_not(
    world: World, clock: FakeClock, after_s: float, away_s: float  # noqa: F811
) -> None:
    world.save(OTHER)
    again(world, FakeClock(clock.now() + timedelta(seconds=after_s)), crashed=True, away_s=away_s)
    assert world.versions[0][2] == "in force"


def test_a_crash_after_a_comment_is_put_down_to_the_change_before_it(world: World, clock: FakeClock) -> None:  # noqa: F811
    world.save(OTHER)
    clock.advance(100)
    (world.folder / CONFIG).write_text(f"# why?\n{OTHER}", newline="\n")
    again(world, crashed=True, away_s=40.0)
    assert world.versions[:2] == [
        (3, "saved in the file", "in force"),
        (2, "saved in the file", "followed by trouble: WinClaw itself crashed 60 s later; replaced by 3"),
    ]  # fmt: skip
    assert world.events[-1] == ("config.trouble", {"version": 2, "what": "WinClaw itself crashed 60 s later"})
    assert "version 1 is in force again" in world.watch.heal({"of": 2, "heal": 5})
    assert world.processes == ["agent"]


def test_a_file_that_is_just_being_saved_is_not_read_again(world: World, clock: FakeClock) -> None:  # noqa: F811
    """Healing and recoveries ask for that by themselves, in any moment; what is really saved, the looks see."""
    file, pause = world.folder / CONFIG, clock.sleep

    def saved_meanwhile(seconds: float) -> None:
        pause(seconds)
        file.write_text(OTHER, newline="\n")

    file.write_text(OTHER[:20], newline="\n")
    clock.sleep = saved_meanwhile  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="just being saved"):
        world.watch.reload()
    assert (world.processes, world.notices) == (["agent"], [])
    clock.sleep = pause  # type: ignore[method-assign]
    assert world.watch.reload() == "the file is in force; changed with it: processes"
    file.write_text(" \n", newline="\n")
    with pytest.raises(ConfigError, match="it is empty"):
        world.watch.reload()
    assert (world.processes, world.notices) == (["other"], [])
    world.save("")
    assert world.processes == []
    assert world.watch.reload() == "the file is in force; nothing changed"


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


def test_a_roll_back_without_a_winclaw_says_what_it_has_done(tmp_path: Path, core: Core) -> None:  # noqa: F811
    """The file has what was asked for, so it is not "nothing has changed", though no version could be kept of it."""
    with small_disk(tmp_path / VERSIONS, size_kb=64) as disk:
        world = World(tmp_path, core)
        world.save(OTHER)
        world.core.stop()
        filler = fill(disk)
        said = config_offline.roll_back(tmp_path, 1)
        assert said.startswith("version 1 is in force from the next start on; what error_handling_config.yaml said before is kept as")
        assert "; that it was rolled back could not be written down: " in said
        assert (tmp_path / CONFIG).read_text() == KEEPS
        filler.unlink()
        again(world)
        assert (world.processes, world.versions[0]) == (["agent"], (3, "saved in the file", "in force"))
        world.core.stop()
        world.core.history.close()


def test_what_the_core_does_not_take_at_once_is_in_force_later_by_whom_it_was_asked_for(world: World) -> None:
    world.save(OTHER)
    answers = world.core.tell

    def busy(*_: object) -> object:
        raise TimeoutError

    world.core.tell = busy  # type: ignore[method-assign, assignment]
    with pytest.raises(TimeoutError):
        world.watch.roll_back(1, author="dashboard", origin="127.0.0.1")
    assert (world.folder / CONFIG).read_text() == KEEPS
    world.core.tell = answers  # type: ignore[method-assign]
    world.watch.look()
    world.watch.look()
    assert (world.processes, world.versions[0]) == (["agent"], (3, "dashboard", "in force"))


def test_a_roll_back_that_comes_into_force_late_is_one_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble is not put down to what somebody went back to, whenever that came."""
    world.save(OTHER)
    with monkeypatch.context() as busy:
        busy.setattr(world.core, "tell", refuse(CoreBusyError("busy")))
        with pytest.raises(CoreBusyError):
            world.watch.roll_back(1, author="dashboard", origin="127.0.0.1", because="it burns")
    world.watch.look()
    world.watch.look()
    assert world.core.state.config is not None
    version = world.core.state.config.version
    assert (version.restores, version.because, world.core.state.config.before) == (1, "it burns", None)
    assert world.versions[1] == (2, "saved in the file", "rolled back to 1: it burns")


@pytest.mark.parametrize("can_read", [True, False])
def test_a_roll_back_without_a_winclaw_is_not_taken_for_a_version_that_could_not_be_kept(world: World, can_read: bool) -> None:
    """It gets a number of its own; where the journal cannot be read, it is at least the one that is in force."""
    world.save(OTHER)
    world.watch.versions.add = refuse(CheckpointError("full"))  # type: ignore[method-assign]
    world.save(KEEPS.replace("agent", "third"))
    world.core.stop()
    journal = world.folder / "journal.db"
    if not can_read:
        journal.rename(journal.with_suffix(".away"))
    config_offline.roll_back(world.folder, 1)
    if not can_read:
        journal.with_suffix(".away").rename(journal)
    again(world)
    assert world.core.state.config is not None
    version = world.core.state.config.version
    assert (version.number, version.author, version.restores) == (4 if can_read else 3, "command line", 1)
    assert (world.processes, world.core.state.config.before) == (["agent"], None)


@pytest.mark.parametrize("url", ["nonsense", "env:WINCLAW_TEST_ADDRESS"])
def test_an_address_that_nobody_understands_is_refused_before_anything_is_in_force(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINCLAW_TEST_ADDRESS", "nosuchservice://secret")
    alerting = f"alerting: {{channels: {{email: {{enabled: true, recipients: [a@b.example], url: '{url}'}}}}}}"
    world.save(f"error_handling: {{processes: {{other: {{command: [sleeper]}}}}, {alerting}}}\n")
    assert (world.processes, world.notices) == (["agent"], ["config"])
    [(kind, said)] = world.events
    assert kind == "config.refused"
    if url != "nonsense":
        assert said["problems"] == ["alerts cannot take it: apprise does not understand alerting.channels.email.url"]


def test_the_order_of_versions_knows_of_no_clock(world: World, clock: FakeClock) -> None:  # noqa: F811
    world.save(OTHER)
    again(world, FakeClock(clock.now() - timedelta(days=400)))
    world.save(KEEPS.replace("agent", "third"))
    assert [number for number, _, _ in world.versions] == [3, 2, 1]
    again(world)
    assert world.processes == ["third"]


def test_what_a_restore_puts_into_the_file_is_by_it(world: World) -> None:
    world.watch.expect(OTHER.encode(), "restore", "backup.zip")
    world.save(OTHER)
    newest = world.watch.listed()[0]
    assert (newest["author"], newest["origin"]) == ("restore", "backup.zip")


def test_secrets_are_shown_nowhere(world: World) -> None:
    secret = "sk-" + "a" * 40
    world.save(f"# my token: {secret}\nerror_handling: {{processes: {{agent: {{command: [x], environment: {{API_KEY: {secret}}}}}}}}}\n")
    shown = [world.watch.listed(), world.watch.described(2), world.watch.in_force(), world.events]
    assert secret not in str(shown)
    assert "[redacted]" in str(world.watch.described(2)["text"])
    assert world.newest is not None
    assert secret in world.newest  # it is the user's own file, and his alone


def test_a_configuration_that_breaks_a_process_is_rolled_back_once_a_person_has_approved(tmp_path: Path) -> None:
    """The whole way, in a running WinClaw: offered, approved, the file rewritten, the process well again, and that seen."""
    good = "error_handling: {processes: {web: {command: [%s], max_restarts: 0, stop_timeout_s: 1, on_quit: stop}}}\n"
    sleeps = json.dumps([sys.executable, "-c", "import time; time.sleep(1000)"])[1:-1]
    file = tmp_path / CONFIG
    file.write_text(good % sleeps, newline="\n")
    with running(tmp_path, port=0) as winclaw:
        core = winclaw.core
        becomes(core, lambda state: "web" in state.processes and state.processes["web"].ready)
        file.write_text(good % json.dumps(str(tmp_path / "no-such-program")), newline="\n")
        becomes(core, lambda state: any(one.state is HealState.WAITING for one in state.heals.values()))
        [heal] = core.state.heals.values()
        assert "Trouble followed version 2 of the configuration: the process web, which ran well, has failed" in heal.trigger
        core.decide_heal(heal.id, "approve", actor="dashboard", origin="here").result(10)
        becomes(core, lambda state: not state.heals[heal.id].is_open)
        assert core.state.heals[heal.id].state is HealState.HEALED, core.state.heals
        assert core.state.processes["web"].ready
        assert file.read_text() == good % sleeps
        assert len(beside(tmp_path)) == 1
        assert core.state.config is not None
        assert (core.state.config.version.number, core.state.config.version.author) == (3, "dashboard")


def becomes(core: Core, holds: Callable[[State], bool]) -> None:  # noqa: F811
    """Waits until the state is such."""
    end_s, state = core.clock.monotonic() + 40, core.state
    while not holds(state):
        assert core.clock.monotonic() < end_s, (state.processes, state.heals, state.notices)
        state = core.wait_for_change(state.version, 1.0)
