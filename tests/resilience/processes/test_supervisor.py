"""The supervisor over real processes: they are killed, fork, ignore signals, hang, and always come back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from resilience.degradation.levels import DegradationLevel
from resilience.detection.policy import Probe
from resilience.journal.history import ErrorFilter
from resilience.processes import spawning
from resilience.processes.identity import carriers
from resilience.processes.policy import Process
from tests.resilience.processes.conftest import (
    SLEEPER,
    TREE,
    Houses,
    environment_of,
    free_port,
    is_alive,
    output,
    process,
    python,
    until,
)

STUBBORN = python("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(1000)")


def test_a_process_is_started_with_its_output_in_a_file(house: Houses) -> None:
    winclaw = house(agent=process(environment={"GREETING": "hello"})).start()
    one = winclaw.becomes("agent", "running")
    until(lambda: "up" in output(winclaw, "agent"))
    assert environment_of(one.pid)["GREETING"] == "hello"
    assert environment_of(one.pid)["WINCLAW_HOME"] == str(winclaw.folder)
    assert winclaw.supervisor.output("agent") == "up\n"
    assert winclaw.events("agent") == ["process.started"]


def test_a_killed_process_runs_again_and_the_crash_is_an_error(house: Houses) -> None:
    winclaw = house(agent=process()).start()
    first = winclaw.becomes("agent", "running")
    psutil.Process(first.pid).kill()
    second = winclaw.becomes("agent", "running", run=2)
    assert second.pid != first.pid
    assert second.restarts == 1
    error = until(lambda: winclaw.core.history.errors(ErrorFilter(component="agent"), 10))[0]
    assert (error.body["kind"], error.body["operation"]) == ("platform.os.process", "run")
    assert winclaw.events("agent") == ["process.started", "process.exited", "process.started"]
    assert error.body["message"] == ("agent ended with exit status 15" if sys.platform == "win32" else "agent was killed by SIGKILL")


def test_a_crash_loop_fails_needs_somebody_and_start_clears_it(house: Houses) -> None:
    winclaw = house(agent=process(python("raise SystemExit(3)"), max_restarts=2)).start()
    one = winclaw.becomes("agent", "failed")
    assert one.why == "it ended with exit status 3, and was started again 2 times within 60 s"
    assert one.run == 3
    [notice] = winclaw.core.view()["notices"]
    assert notice["what"] == "The process agent has failed."
    assert winclaw.core.view()["needs_you"] == 1
    winclaw.configure(agent=process(max_restarts=2))
    winclaw.ask("agent", "start")
    winclaw.becomes("agent", "running", run=4)
    assert winclaw.core.view()["needs_you"] == 0


def test_a_failure_is_remembered_by_the_next_winclaw(house: Houses) -> None:
    first = house(agent=process(python("raise SystemExit(3)"), max_restarts=0)).start()
    first.becomes("agent", "failed")
    first.stop()
    second = house(agent=process(max_restarts=0)).start()
    assert second.becomes("agent", "failed").why.startswith("it ended with exit status 3")


def test_a_program_that_is_not_there_is_said_clearly(house: Houses) -> None:
    winclaw = house(agent=process(("no-such-program",), max_restarts=1)).start()
    assert winclaw.becomes("agent", "failed").why.startswith("there is no program 'no-such-program'; give its whole path")


def test_a_folder_that_is_not_there_is_said_clearly(house: Houses, tmp_path: Path) -> None:
    winclaw = house(agent=process(folder=str(tmp_path / "none"), max_restarts=0)).start()
    assert winclaw.becomes("agent", "failed").why.startswith(f"there is no folder {tmp_path / 'none'}")


def test_a_variable_that_is_not_there_is_said_clearly(house: Houses) -> None:
    winclaw = house(agent=process(environment={"KEY": "env:NOT_SET_ANYWHERE"}, max_restarts=0)).start()
    assert "its KEY comes from the variable NOT_SET_ANYWHERE, which WinClaw does not have" in winclaw.becomes("agent", "failed").why


class WinError(Exception):
    """As pywin32's, which is no OSError."""


def test_what_cannot_be_started_for_an_unheard_of_reason_keeps_no_other_from_running(
    house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(child: subprocess.Popen[bytes]) -> object:
        if "the broken one" in child.args:  # type: ignore[operator]
            raise WinError(32, "CreateJobObject", "the system is busy")
        return of_the_system(child)

    of_the_system = spawning.system.job_for
    monkeypatch.setattr(spawning.system, "job_for", refuses)
    winclaw = house(broken=process((*SLEEPER, "the broken one"), max_restarts=1), well=process()).start()
    winclaw.becomes("well", "running")
    failed = winclaw.becomes("broken", "failed")
    assert failed.why.startswith("it could not be started: (32, 'CreateJobObject', 'the system is busy')")
    assert not carriers(f"{winclaw.supervisor._owner}:broken:")


def test_a_deliberate_stop_is_no_crash_and_lasts(house: Houses) -> None:
    winclaw = house(agent=process()).start()
    pid = winclaw.becomes("agent", "running").pid
    winclaw.ask("agent", "stop")
    one = winclaw.becomes("agent", "stopped")
    assert (one.why, is_alive(pid)) == ("stopped by test", False)
    assert winclaw.core.history.errors(ErrorFilter(), 10) == []
    assert winclaw.events("agent")[-2:] == ["process.stopping", "process.stopped"]
    winclaw.stop()
    again = house(agent=process()).start()
    again.becomes("agent", "stopped")
    again.ask("agent", "start")
    again.becomes("agent", "running")


def test_stop_takes_the_whole_tree_wherever_it_has_gone(house: Houses) -> None:
    """One child stays in the group, the other one has a session of its own."""
    winclaw = house(agent=process(TREE)).start()
    winclaw.becomes("agent", "running")
    pids = [int(word) for word in until(lambda: output(winclaw, "agent").split())]
    assert all(map(is_alive, pids))
    winclaw.ask("agent", "stop")
    winclaw.becomes("agent", "stopped")
    until(lambda: not any(map(is_alive, pids)))


def test_a_crash_takes_the_rest_of_the_tree_with_it(house: Houses) -> None:
    winclaw = house(agent=process(TREE, restart="never")).start()
    pid = winclaw.becomes("agent", "running").pid
    pids = [int(word) for word in until(lambda: output(winclaw, "agent").split())]
    psutil.Process(pid).kill()
    winclaw.becomes("agent", "exited")
    until(lambda: not any(map(is_alive, pids)))


@pytest.mark.skipif(sys.platform == "win32", reason="signals that can be ignored are POSIX's")
def test_who_ignores_the_request_is_killed_when_patience_ends(house: Houses) -> None:
    winclaw = house(agent=process(STUBBORN, stop_timeout_s=0.2)).start()
    pid = winclaw.becomes("agent", "running").pid
    until(lambda: "up" in output(winclaw, "agent"))
    winclaw.ask("agent", "stop")
    winclaw.becomes("agent", "stopped")
    assert not is_alive(pid)


def test_a_fork_storm_is_ended_whole(house: Houses) -> None:
    """Each child starts the next one and ends, so that whoever kills one by one is always too late."""
    runner = "import subprocess, sys, time; time.sleep(0.02); subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[1]])"
    code = f"import subprocess, sys, time; r = {runner!r}\n[subprocess.Popen([sys.executable, '-c', r, r]) for _ in range(3)]\ntime.sleep(1000)"
    winclaw = house(agent=process(python(code), stop_signal="KILL")).start()
    winclaw.becomes("agent", "running")
    time.sleep(0.3)
    winclaw.ask("agent", "stop")
    winclaw.becomes("agent", "stopped")
    until(lambda: not carriers(f"{winclaw.supervisor._owner}:agent:"))


def test_restart_gives_another_process(house: Houses) -> None:
    winclaw = house(agent=process()).start()
    first = winclaw.becomes("agent", "running")
    winclaw.ask("agent", "restart")
    second = winclaw.becomes("agent", "running", run=2)
    assert not is_alive(first.pid)
    assert is_alive(second.pid)
    assert winclaw.core.history.errors(ErrorFilter(), 10) == []


def test_they_start_in_order_and_end_in_reverse(house: Houses) -> None:
    winclaw = house(web=process(depends_on=("database",)), database=process()).start()
    winclaw.becomes("web", "running")
    winclaw.stop()
    journal = winclaw.again()
    told = [(one.component, one.type) for one in journal.core.history.events(0, 100) if one.type.startswith("process.st")]
    journal.stop()
    assert told == [
        ("database", "process.started"), ("web", "process.started"),
        ("web", "process.stopping"), ("web", "process.stopped"), ("database", "process.stopping"), ("database", "process.stopped"),
    ]  # fmt: skip


def test_safe_mode_stops_them_and_its_end_brings_them_back(house: Houses) -> None:
    winclaw = house(agent=process(), log=process(in_safe_mode="keep")).start()
    agent, log = winclaw.becomes("agent", "running"), winclaw.becomes("log", "running")
    winclaw.core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="here").result(10)
    assert winclaw.becomes("agent", "waiting").why == "Safe Mode is on"
    assert (is_alive(agent.pid), is_alive(log.pid)) == (False, True)
    winclaw.ask("agent", "start")
    winclaw.core.set_level(None, actor="test", origin="here", confirmed=True).result(10)
    assert winclaw.becomes("agent", "running", run=2).run == 2


def test_nothing_starts_while_safe_mode_is_on(house: Houses) -> None:
    first = house(agent=process(autostart=False)).start()
    first.core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="here").result(10)
    first.stop()
    second = house(agent=process()).start()
    assert second.becomes("agent", "waiting").run == 0
    assert second.events() == []


def test_another_configuration_adds_changes_and_removes(house: Houses) -> None:
    winclaw = house(kept=process(), changed=process(), removed=process()).start()
    kept, changed, removed = (winclaw.becomes(name, "running") for name in ("kept", "changed", "removed"))
    winclaw.configure(kept=process(max_restarts=9), changed=process(environment={"A": "1"}), added=process())
    assert winclaw.becomes("changed", "running", run=2).pid != changed.pid
    winclaw.becomes("added", "running")
    until(lambda: winclaw.status("removed") is None)
    assert not is_alive(removed.pid)
    now = winclaw.status("kept")
    assert now is not None
    assert now.pid == kept.pid


def test_what_is_taken_out_and_put_back_at_once_runs(house: Houses) -> None:
    winclaw = house(agent=process()).start()
    first = winclaw.becomes("agent", "running")
    winclaw.configure()
    winclaw.configure(agent=process())
    until(lambda: (one := winclaw.status("agent")) is not None and one.ready and (one.run > 1 or one.pid == first.pid))
    winclaw.ask("agent", "restart")
    assert winclaw.becomes("agent", "running", run=2)


def test_commands_for_what_is_not_there_are_refused(house: Houses) -> None:
    winclaw = house().start()
    with pytest.raises(KeyError):
        winclaw.supervisor.command("agent", "stop", actor="test", origin="here")
    with pytest.raises(KeyError):
        winclaw.supervisor.output("../../etc")


# Probes.

ANSWERS_THEN_HANGS = (
    "import http.server, pathlib, threading, time\n"
    "class Page(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        while pathlib.Path('hang').exists(): time.sleep(0.01)\n"
    "        self.send_response(200); self.end_headers()\n"
    "    def log_message(self, *_): pass\n"
    "http.server.ThreadingHTTPServer(('127.0.0.1', PORT), Page).serve_forever()"
)


def serving(**policy: Any) -> Process:
    port = free_port()
    probe = Probe(http=f"http://127.0.0.1:{port}/", interval_s=0.1, timeout_s=0.3)
    return process(python(ANSWERS_THEN_HANGS.replace("PORT", str(port))), port=port, probe=probe, **policy)


def test_a_process_is_ready_when_its_probe_says_so_and_others_wait_for_that(house: Houses) -> None:
    web = serving()
    winclaw = house(after=process(depends_on=("web",)), web=web).start()
    winclaw.becomes("after", "running")
    assert winclaw.becomes("web", "running").ready
    told = [(one.component, one.type) for one in winclaw.core.history.events(0, 100) if one.type.startswith("process.")]
    assert told.index(("web", "process.ready")) < told.index(("after", "process.started"))
    ready = next(one for one in winclaw.core.history.events(0, 100) if one.type == "process.ready" and one.component == "web")
    assert ready.body["seconds"] > 0


def test_a_process_that_hangs_is_seen_killed_and_answers_again(house: Houses) -> None:
    """It lives, but its probe is silent: a failure like a dead one."""
    web = serving(hung_after_s=1)
    winclaw = house(web=web).start()
    first = winclaw.becomes("web", "running")
    hang = winclaw.folder / "processes" / "web" / "work" / "hang"
    hang.touch()
    until(lambda: "process.silent" in winclaw.events("web"))
    assert winclaw.becomes("web", "starting", run=2).pid != first.pid
    hang.unlink()
    assert winclaw.becomes("web", "running", run=2).ready
    assert not is_alive(first.pid)
    exited = next(one for one in winclaw.core.history.events(0, 100) if one.type == "process.exited")
    assert exited.body["because"].startswith("it was silent for 1 s: no answer within 0.3 s")
    assert winclaw.core.history.errors(ErrorFilter(component="web"), 10)


def test_a_process_that_answers_again_in_time_is_left_alone(house: Houses) -> None:
    web = serving(hung_after_s=60)
    winclaw = house(web=web).start()
    first = winclaw.becomes("web", "running")
    hang = winclaw.folder / "processes" / "web" / "work" / "hang"
    hang.touch()
    until(lambda: "process.silent" in winclaw.events("web"))
    until(lambda: winclaw.core.view()["processes"][0]["ready"] is False)
    hang.unlink()
    until(lambda: winclaw.core.view()["processes"][0]["ready"])
    assert winclaw.becomes("web", "running").pid == first.pid
    assert winclaw.events("web")[-2:] == ["process.silent", "process.ready"]


def test_a_process_that_is_never_ready_fails(house: Houses) -> None:
    probe = Probe(tcp=f"127.0.0.1:{free_port()}", interval_s=0.1)
    winclaw = house(agent=process(probe=probe, ready_within_s=0.5, max_restarts=1)).start()
    assert winclaw.becomes("agent", "failed").why.startswith("it was not ready within 0.5 s")
