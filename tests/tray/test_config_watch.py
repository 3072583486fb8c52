"""How the settings in force follow the user's file; the test looks, instead of a thread."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from resilience import connect
from resilience.config.settings import Settings
from resilience.events import EventType
from resilience.home import CONFIG
from tests.program import REPOSITORY
from tests.resilience.core.cores import journal_of
from tests.tray.config_world import KEEPS, World
from tray.app import running
from tray.config_taking import AT_ONCE

BAD = "error_handling:\n  dashboard:\n    prot: 9000\n"


def test_a_changed_file_reaches_agents_without_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, port=0) as winclaw:
        agent = connect("one", folder=tmp_path)
        breaker = agent.resilience.circuits.get_or_create("mine")
        heard = threading.Event()
        agent.on_state(lambda _: heard.set() if breaker.config.failure_threshold == 2 else None)
        (tmp_path / CONFIG).write_text("error_handling: {circuit_breaker: {services: {mine: {failure_threshold: 2}}}}\n", newline="\n")
        assert heard.wait(20)
        agent.close()
        events = {event.type: event.body for event in winclaw.core.history.events(0, 100)}
        assert "circuit_breaker" in events["config.changed"]["changed"]


def test_the_documentation_names_the_sections_that_hold_at_once() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
    [said] = re.findall(r"\*\*Read as soon as it is saved\.\*\*(.*?) are in force", page)
    assert sorted(re.findall(r"`(\w+)`", said)) == sorted(AT_ONCE)
    assert set(Settings.__struct_fields__) > AT_ONCE


def test_a_file_is_believed_when_two_looks_see_the_same(world: World) -> None:
    """Editors empty a file, then write it: whoever looks in between would stop every process, for none is configured."""
    world.save("", looks=1)
    assert world.processes == ["agent"]
    world.save("error_handling: {processes: {other: {command: [sleeper]}}}\n", looks=1)
    assert world.processes == ["agent"]
    world.watch.look()
    assert world.processes == ["other"]
    world.save("")  # and who really empties it is believed, too
    assert world.processes == []
    assert world.told


def test_a_file_that_is_spoilt_while_it_runs_changes_nothing_and_is_told(world: World) -> None:
    before = world.watch.policy()
    world.save(BAD)
    assert world.watch.policy() is before
    assert (world.processes, world.notices) == (["agent"], ["config"])
    assert world.newest == KEEPS
    world.save(KEEPS.replace("}}}", "}}, tray: {toasts: false}}"))
    assert world.notices == []
    kinds = [kind for kind, _ in world.events]
    assert kinds[-2:] == ["config.refused", "config.changed"]
    assert "line 3" in world.events[-2][1]["problems"][0]
    assert world.events[-1][1]["from_next_start"] == ["tray"]


def test_who_sees_that_a_file_was_refused_is_told_what_is_wrong_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others see the notice before the look that gave it is over."""
    told = []

    def look_too(*_: object, **__: object) -> None:
        told.append((world.notices, [one["line"] for one in world.watch.explained()["problems"]]))

    monkeypatch.setattr(world.core, "announce", look_too)
    world.save(BAD)
    assert told == [(["config"], [3])]


def test_what_is_saved_while_the_journal_cannot_be_written_is_in_force_from_memory(world: World) -> None:
    """Agents, WinClaw itself and the versions change together; that it did is told as soon as that can be written."""
    journal_of(world.core).failure = OSError("full")
    wanted = KEEPS.replace("agent", "other")
    world.save(wanted)
    assert (world.processes, world.told) == (["other"], True)
    assert world.newest == wanted
    assert world.events == []
    journal_of(world.core).failure = None
    world.core.announce(EventType.APP_STARTED, "x").result(10)
    assert [kind for kind, _ in world.events] == ["config.changed"]


def test_an_edited_comment_is_no_change(world: World) -> None:
    before = len(world.events)
    world.save(f"# mine\n{KEEPS}")
    assert len(world.events) == before
    assert world.versions == [(2, "saved in the file", "in force"), (1, "saved in the file", "replaced by 2")]
    assert world.watch.listed()[0]["changed"] == []
    assert world.newest == f"# mine\n{KEEPS}"


def test_a_file_that_is_gone_changes_nothing(world: World) -> None:
    (world.folder / CONFIG).unlink()
    world.watch.look()
    world.watch.look()
    assert (world.processes, world.notices) == (["agent"], [])


