"""Ports that processes need and somebody else holds."""

from __future__ import annotations

import os
import socket
import subprocess

import psutil
import pytest

from resilience.processes import ports
from resilience.processes.identity import TOKEN
from resilience.processes.ports import Ways
from tests.resilience.processes.conftest import Houses, free_port, process, python, until


def listening(port: int) -> tuple[str, ...]:
    return python(f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print('up'); time.sleep(1000)")


def test_a_port_that_a_stranger_holds_is_said_and_waited_for(house: Houses) -> None:
    me = psutil.Process()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        winclaw = house(agent=process(listening(port), port=port)).start()
        one = winclaw.becomes("agent", "waiting")
        until(lambda: winclaw.core.view()["needs_you"] == 1)
        needs_you = (winclaw.status("agent") or one).needs_you
        if os.environ.get("WINEPREFIX"):  # which does not tell whose a port is
            assert needs_you == f"port {port}, held by a program that WinClaw may not look at"
        else:
            assert needs_you == f"port {port}, held by {me.name()} (process {me.pid}), which is not WinClaw's"
        assert one.run == 0
    winclaw.becomes("agent", "running")
    assert winclaw.core.view()["needs_you"] == 0


def test_who_does_not_want_to_start_any_more_needs_nobody_to_clear_its_port(house: Houses) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        winclaw = house(agent=process(listening(port), port=port)).start()
        until(lambda: winclaw.core.view()["needs_you"] == 1)
        winclaw.ask("agent", "stop")
        assert until(lambda: (one := winclaw.status("agent")) and one.state.value == "stopped" and one).needs_you == ""


def test_what_an_earlier_run_has_left_at_the_port_is_ended(house: Houses) -> None:
    """A daemon that has got away carries the token of the run that it comes from."""
    port = free_port()
    winclaw = house(agent=process(listening(port), port=port, autostart=False)).start()
    winclaw.becomes("agent", "stopped")
    token = f"{winclaw.supervisor._owner}:agent:0123456789abcdef"
    with subprocess.Popen(listening(port), env={**os.environ, TOKEN: token}, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        winclaw.ask("agent", "start")
        try:
            winclaw.becomes("agent", "running")
        finally:
            daemon.kill()
    assert "process.cleared" in winclaw.events("agent")


def test_who_holds_a_port_is_looked_up_now_and_then_and_that_it_is_free_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at every process of the machine each second would cost more than all that WinClaw does beside it."""
    looks: list[str] = []
    monkeypatch.setattr(ports, "carriers", lambda ours: looks.append(ours) or {})
    ways = Ways()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        said = [ways.clear(port, "a:b:", now_s) for now_s in (0.0, 1.0, 9.9, 10.0, 11.0)]
        assert said[0][0].startswith(f"port {port}, held by ")
        assert said == [said[0]] * 5
        ways.clear(port, "a:c:", 11.0)  # what another process has left there, only a look for it finds
        assert looks == ["a:b:", "a:b:", "a:c:"]
    assert ways.clear(port, "a:b:", 12.0) == ("", None)
    with socket.create_server(("127.0.0.1", port)):
        assert ways.clear(port, "a:b:", 13.0)[0]
    assert len(looks) == 4
