"""The ways back to an earlier version of the configuration: a person's, healing's, and the one without a WinClaw."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resilience.config.problems import ConfigError
from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions, digest
from resilience.core.core import Core, CoreBusyError
from resilience.core.state import State
from resilience.healing.heals import HealState
from resilience.home import CONFIG, VERSIONS
from resilience.recovery.checkpoint import CheckpointError
from resilience.testing import FakeClock
from tests.disks import fill, small_disk
from tests.tray.config_world import KEEPS, OTHER, World, again, beside, refuse, trouble
from tray import config_offline
from tray.app import running


def test_a_person_rolls_back_and_the_file_says_so(world: World, clock: FakeClock) -> None:
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


def test_a_file_that_cannot_be_written_is_not_rolled_back_and_nothing_changes(tmp_path: Path, core: Core) -> None:
    with small_disk(tmp_path / "home", size_kb=64) as folder:
        world = World(folder, core)
        world.save(OTHER)
        fill(folder)
        with pytest.raises(OSError):  # noqa: PT011
            world.watch.roll_back(1, author="dashboard", origin="")
        assert ((folder / CONFIG).read_text(), world.processes, world.told) == (OTHER, ["other"], True)


def test_a_roll_back_without_a_winclaw_says_what_it_has_done(tmp_path: Path, core: Core) -> None:
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
    world.core.history.close()
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


def becomes(core: Core, holds: Callable[[State], bool]) -> None:
    """Waits until the state is such."""
    end_s, state = core.clock.monotonic() + 40, core.state
    while not holds(state):
        assert core.clock.monotonic() < end_s, (state.processes, state.heals, state.notices)
        state = core.wait_for_change(state.version, 1.0)
