"""How long it takes until a level is enforced in an agent of another process: chosen by a person, and by a rule."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import resilience
from resilience import CircuitBreakerOpenError, DegradationLevel
from resilience.home import CONFIG
from tests.program import REPOSITORY
from tray.app import running

ENFORCED_S = 1.0
TIMES = 100
AGENT = """
import sys, time
import resilience

agent = resilience.connect("far-away", folder=sys.argv[1])
ask = agent.protect("gpt-5.2", retry="none")(lambda: None)

def told(state):
    try:
        ask()
        allowed = True
    except resilience.RefusedError:
        allowed = False
    print(state["level"], allowed, time.perf_counter(), flush=True)

agent.on_state(told)
print("ready", flush=True)
sys.stdin.read()
"""


def fail() -> None:
    raise ConnectionRefusedError(111, "refused")


def open_circuit(agent: resilience.agent.client.Agent) -> None:
    call = agent.protect("gpt-5.2", retry="none")(fail)
    while True:
        try:
            call()
        except ConnectionRefusedError:
            continue
        except CircuitBreakerOpenError:
            return


@pytest.mark.benchmark
def test_a_level_is_enforced_in_an_agent_within_a_second(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / CONFIG).write_text("error_handling: {degradation: {recover_after_s: 0}}", encoding="utf-8")
    with running(folder, port=0) as winclaw:
        far = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        assert far.stdin is not None
        assert far.stdout is not None
        near = resilience.connect("near", folder=folder)
        lines = iter(far.stdout.readline, "")
        while not next(lines).startswith("FULL"):
            pass

        def until(level: str, allowed: bool) -> float:
            return next(float(line.split()[2]) for line in lines if line.split()[:2] == [level, str(allowed)])

        chosen, ruled = [], []
        for number in range(2 * TIMES):
            level = DegradationLevel.MINIMAL if number % 2 == 0 else None
            began_s = time.perf_counter()
            winclaw.core.set_level(level, actor="benchmark", origin="here").result(10)
            ended_s = until("MINIMAL" if level else "FULL", level is None)
            chosen.append(ended_s - began_s)
        for _ in range(TIMES // 4):
            open_circuit(near)
            began_s = time.perf_counter()
            ruled.append(until("DEGRADED_LLM", allowed=False) - began_s)
            winclaw.core.switch_circuit("gpt-5.2", "reset", actor="benchmark", origin="here").result(10)
            until("FULL", allowed=True)
            while not near.resilience.circuits.get_or_create("gpt-5.2").is_closed:
                time.sleep(0.001)
        far.stdin.close()
        far.wait(10)
        far.stdout.close()
        near.close()
    for what, seconds in (("chosen by a person", chosen), ("by a rule, after a circuit has opened elsewhere", ruled)):
        p50, p95 = statistics.median(seconds), sorted(seconds)[int(len(seconds) * 0.95)]
        print(f"\n{what}: enforced in another process after p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms")
        assert max(seconds) < ENFORCED_S
