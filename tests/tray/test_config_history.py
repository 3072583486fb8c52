"""The versions of the configuration: when one is made, who made it, and what is put down to it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from resilience.config.problems import ConfigError
from resilience.config.settings import Settings
from resilience.core.core import Core, CoreBusyError
from resilience.core.state import State
from resilience.home import CONFIG
from resilience.testing import FakeClock
from tests.tray.config_world import KEEPS, OTHER, World, again
from tray.config_taking import CHECKS
from tray.config_watch import ConfigWatch
from tray.startup import settings_at_start


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


def test_the_file_of_a_first_run_is_version_one(tmp_path: Path, core: Core) -> None:
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


def test_a_part_that_refuses_is_asked_before_any_part_takes_it(tmp_path: Path, core: Core) -> None:
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


def test_what_the_core_did_not_take_is_no_version(world: World) -> None:
    world.core.stop()
    with pytest.raises(CoreBusyError):
        world.save(OTHER)
    assert [one.version.number for one in world.watch.versions.kept()] == [1]
    again(world)
    assert world.versions[0] == (2, "saved in the file", "in force")


def test_a_crash_soon_after_a_configuration_is_put_down_to_it(world: World, clock: FakeClock) -> None:
    world.save(OTHER)
    clock.advance(100)
    again(world, crashed=True, away_s=40.0)
    assert world.versions[0][2] == "in force; followed by trouble: WinClaw itself crashed 60 s later"
    assert world.events[-1] == ("config.trouble", {"version": 2, "what": "WinClaw itself crashed 60 s later"})


@pytest.mark.parametrize(("after_s", "away_s"), [(1000.0, 100.0), (-500.0, 0.0)])
def test_a_crash_long_after_it_or_by_a_clock_that_was_set_back_is_not(
    world: World, clock: FakeClock, after_s: float, away_s: float
) -> None:
    world.save(OTHER)
    again(world, FakeClock(clock.now() + timedelta(seconds=after_s)), crashed=True, away_s=away_s)
    assert world.versions[0][2] == "in force"


def test_a_crash_after_a_comment_is_put_down_to_the_change_before_it(world: World, clock: FakeClock) -> None:
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


def test_a_file_that_is_just_being_saved_is_not_read_again(world: World, clock: FakeClock) -> None:
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


def test_the_order_of_versions_knows_of_no_clock(world: World, clock: FakeClock) -> None:
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
