"""WinClaw ends or dies, and the next one finds what it has left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from resilience.journal.history import ErrorFilter
from resilience.processes import takeover
from resilience.processes.identity import TOKEN, Identity
from resilience.processes.output import OUTPUT
from resilience.processes.records import RECORD, ProcessRecord, load, owner_of, write
from tests.resilience.processes.conftest import SLEEPER, TREE, Houses, is_alive, output, process, until


def test_winclaws_death_does_not_touch_them_and_the_next_one_takes_them_over(house: Houses) -> None:
    first = house(agent=process()).start()
    pid = first.becomes("agent", "running").pid
    first.crash()
    assert is_alive(pid)
    second = house(agent=process()).start()
    one = second.becomes("agent", "running")
    assert (one.pid, one.adopted, one.restarts) == (pid, True, 0)
    assert second.events("agent")[-1] == "process.adopted"
    psutil.Process(pid).kill()
    assert second.becomes("agent", "running", run=one.run + 1).adopted is False


def test_what_ended_while_nobody_watched_is_started_again(house: Houses) -> None:
    first = house(agent=process()).start()
    pid = first.becomes("agent", "running").pid
    first.crash()
    psutil.Process(pid).kill()
    until(lambda: not is_alive(pid))
    second = house(agent=process()).start()
    one = second.becomes("agent", "running")
    assert one.pid != pid
    started = [event for event in second.core.history.events(0, 100) if event.type == "process.started"]
    assert started[-1].body["because"] == "it ended while WinClaw was not running"
    assert second.core.history.errors(ErrorFilter(), 10) == []


def test_a_process_that_was_started_but_not_recorded_is_found_by_its_token(house: Houses) -> None:
    first = house(agent=process()).start()
    pid = first.becomes("agent", "running").pid
    first.crash()
    (first.folder / "processes" / "agent" / "process.json").unlink()
    second = house(agent=process()).start()
    assert second.becomes("agent", "running").pid == pid


def test_children_that_have_lost_their_head_are_ended_and_no_double_is_started(house: Houses) -> None:
    first = house(agent=process(TREE)).start()
    pid = first.becomes("agent", "running").pid
    pids = [int(word) for word in until(lambda: output(first, "agent").split())]
    first.crash()
    left = psutil.Process(pids[1])
    (first.folder / "processes" / "agent" / OUTPUT).write_text("")
    psutil.Process(pid).kill()
    until(lambda: not is_alive(pid))
    second = house(agent=process(TREE)).start()
    again = second.becomes("agent", "running")
    assert again.pid != pid
    until(lambda: not left.is_running())


def test_children_whose_head_ends_while_it_is_looked_at_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    token = f"{owner_of(tmp_path)}:agent:1"
    monkeypatch.setattr(takeover, "carriers", lambda _: {token: [psutil.Process()]})
    monkeypatch.setattr(takeover, "identity_of", lambda process, token: None)
    monkeypatch.setattr(takeover, "end_carriers", ended.append)
    found = takeover.left_behind(tmp_path, owner_of(tmp_path), ["agent"])
    assert (found["agent"][1], ended) == (None, [token])


def test_another_process_with_the_same_number_is_not_taken_over(house: Houses) -> None:
    first = house(agent=process()).start()
    first.becomes("agent", "running")
    first.stop()
    me = psutil.Process()
    stale = Identity(me.pid, me.create_time() - 1, "an:old:token")
    write(first.folder / "processes" / "agent" / RECORD, ProcessRecord(identity=stale, run=1))
    second = house(agent=process()).start()
    assert second.becomes("agent", "running").pid != me.pid


def test_a_clock_that_was_set_meanwhile_ends_nothing(house: Houses) -> None:
    """Linux tells the moments at which processes started by the clock of now."""
    first = house(agent=process()).start()
    one = first.becomes("agent", "running")
    first.crash()
    folder = first.folder / "processes" / "agent"
    identity = load(folder).identity
    assert identity is not None
    write(folder / RECORD, ProcessRecord(identity=replace(identity, started=identity.started - 7200), run=one.run))
    second = house(agent=process()).start()
    adopted = second.becomes("agent", "running")
    assert (adopted.pid, adopted.adopted) == (one.pid, True)


@pytest.mark.parametrize(("pid", "started_s", "token", "is_it"), [
    (None, 0, None, True), (None, 3600, None, True), (None, 0, "a:b:another", False), (1, 0, None, False),
])  # fmt: skip
def test_a_token_that_can_be_read_decides(pid: int | None, started_s: float, token: str | None, is_it: bool) -> None:
    own = "a:b:0123456789abcdef"
    with subprocess.Popen(SLEEPER, env={**os.environ, TOKEN: own}, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        identity = Identity(pid or child.pid, psutil.Process(child.pid).create_time() - started_s, token or own)
        try:
            assert (identity.find() is not None) is is_it
        finally:
            child.kill()


@pytest.mark.parametrize(("started_s", "is_it"), [(0.0, True), (1.0, False)])
def test_where_no_token_can_be_read_the_moment_decides(started_s: float, is_it: bool) -> None:
    me = psutil.Process()
    assert (Identity(me.pid, me.create_time() - started_s, "a:b:0123456789abcdef").find() is not None) is is_it


def test_what_is_no_longer_configured_is_stopped_by_the_next_winclaw(house: Houses) -> None:
    first = house(agent=process()).start()
    pid = first.becomes("agent", "running").pid
    first.crash()
    second = house(other=process()).start()
    second.becomes("other", "running")
    until(lambda: not is_alive(pid))
    until(lambda: second.status("agent") is None)


def test_quit_leaves_what_is_to_be_kept(house: Houses) -> None:
    first = house(kept=process(on_quit="keep"), stopped=process()).start()
    kept, stopped = first.becomes("kept", "running").pid, first.becomes("stopped", "running").pid
    first.stop()
    assert (is_alive(kept), is_alive(stopped)) == (True, False)
    second = house(kept=process(on_quit="keep"), stopped=process()).start()
    assert second.becomes("kept", "running").pid == kept
    second.becomes("stopped", "running")
