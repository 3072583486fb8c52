"""From a service that stops answering to one that is healed and proven so, through the whole of WinClaw."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resilience import ServiceUnavailableError, connect
from resilience.core.state import State
from resilience.healing.heals import HealState
from tray.app import Running, running

DEADLINE_S = 30
# Says 200 until somebody makes it ill, as a server does that has lost its database: it runs, and answers, and is no use.
ILL = """
import http.server, pathlib, sys
ill = pathlib.Path(sys.argv[2])
ill.unlink(missing_ok=True)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if ill.exists() else 200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait(winclaw: Running, met: Callable[[State], Any]) -> State:
    """The first state for which ``met`` is true."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        if met(state := winclaw.core.state):
            return state
        winclaw.core.wait_for_change(state.version, 0.1)
    raise AssertionError(f"not within {DEADLINE_S} s: {state.heals} {state.services.circuits}")


def circuit(state: State) -> str:
    found = state.services.circuits.get("vector_store")
    return found.state if found is not None else ""


def configure(home: Path, ill: Path, port: int) -> None:
    home.mkdir()
    settings = {
        "processes": {
            "chroma": {
                "command": [sys.executable, "-c", ILL, str(port), str(ill)], "stop_timeout_s": 1, "probe": {"tcp": f"127.0.0.1:{port}", "interval_s": 0.2},
            }
        },
        "services": {
            "vector_store": {
                "process": "chroma", "probe": {"http": f"http://127.0.0.1:{port}/health", "interval_s": 0.2},
            },
            "memory_system": {"depends_on": ["vector_store"]},
        },
        "self_healing": {
            "rules": [{"name": "probe_failed", "operations": ["probe"], "actions": ["restart_service"], "settle_s": 0.2}]
        },
    }  # fmt: skip
    (home / "error_handling_config.yaml").write_text(json.dumps({"error_handling": settings}))


def is_well(state: State) -> bool:
    probe = state.services.probes.get("vector_store")
    return probe is not None and probe.well


def test_a_service_that_is_ill_is_noticed_started_again_and_proven_well(tmp_path: Path) -> None:
    home, ill, port = tmp_path / "home", tmp_path / "ill", free_port()
    configure(home, ill, port)
    with running(home, port=0) as winclaw:
        wait(winclaw, is_well)
        first = wait(winclaw, lambda state: state.processes["chroma"].ready).processes["chroma"]
        ill.touch()
        wait(winclaw, lambda state: circuit(state) == "OPEN")
        state = wait(winclaw, lambda state: any(one.state is HealState.HEALED for one in state.heals.values()))
        assert circuit(state) == "CLOSED", [(one.at, one.type, one.body) for one in winclaw.core.history.events(0, 200)]
        assert state.processes["chroma"].pid != first.pid
        heal = next(iter(state.heals.values()))
        assert heal.diagnosis.impact.services == ("memory_system", "vector_store")
        assert heal.trigger.startswith("transient.service.unavailable in probe: the probe failed")
        found = [one.type for one in winclaw.core.history.events(0, 200)]
        order = ["circuit.opened", "error", "heal.started", "circuit.closed", "heal.ended"]
        assert [one for one in found if one in order] == order


def test_a_call_waits_until_its_service_is_healed_and_is_tried_once_more(tmp_path: Path) -> None:
    home, ill, port = tmp_path / "home", tmp_path / "ill", free_port()
    configure(home, ill, port)
    with running(home, port=0) as winclaw, contextlib.closing(connect("patient", folder=home)) as agent:
        asked = []

        @agent.protect("vector_store", retry="none", wait_for_healing_s=DEADLINE_S)
        def ask() -> bytes:
            asked.append(1)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                answer = connection.getresponse()
                found = answer.read()
                if answer.status != 200:
                    raise ServiceUnavailableError(found)
                return found

        wait(winclaw, is_well)
        wait(winclaw, lambda state: any(name == "patient" for name, _ in state.agents))
        ill.touch()
        assert ask() == b"ok"
        assert len(asked) in (1, 2)  # 1: its circuit was open already when it first called
        assert any(heal.state is HealState.HEALED for heal in winclaw.core.state.heals.values())


def test_a_probe_of_the_disk_that_fails_is_an_error_and_needs_somebody(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    settings = {"detection": {"probes": {"data_disk": {"disk": str(tmp_path), "min_free_mb": 10_000_000, "interval_s": 0.2}}}}
    (tmp_path / "home" / "error_handling_config.yaml").write_text(json.dumps({"error_handling": settings}))
    with running(tmp_path / "home", port=0) as winclaw:
        state = wait(winclaw, lambda state: any(one.name == "probe:data_disk" for one in state.needs_you))
        assert "data_disk" not in state.services.circuits
        wait(winclaw, lambda _: "transient.resource.disk_space" in winclaw.core.history.kinds())
        (tmp_path / "home" / "error_handling_config.yaml").write_text("error_handling: {}")
        wait(winclaw, lambda state: not state.unsettled)
