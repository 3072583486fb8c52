"""A circuit holds for every agent of the machine, and people can command it."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import resilience
from resilience.agent.client import Agent
from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerOpenError, CircuitState
from resilience.config.settings import Service, Settings
from resilience.core.inputs import Configuration, ProbeTold
from resilience.core.services import Probed
from resilience.degradation.levels import DegradationLevel
from resilience.detection.policy import Probe
from resilience.events import CircuitReport, Heartbeat
from tests.dashboard.conftest import Caller
from tests.failing import fail, open_circuit
from tray.app import Running, running


@pytest.fixture
def connect(winclaw: Running, tmp_path: Path) -> Iterator[Callable[[str], Agent]]:
    agents: list[Agent] = []

    def make(name: str) -> Agent:
        agents.append(resilience.connect(name, folder=tmp_path / "home"))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


def reaches(breaker: CircuitBreaker, state: CircuitState) -> None:
    """Waits until the circuit is in ``state``."""
    reached = threading.Event()
    breaker.listen(lambda _: reached.set() if breaker.state is state else None)
    if breaker.state is not state:
        assert reached.wait(10)


def shown(call: Caller, circuit: str) -> dict[str, Any]:
    """The first service of the state, as soon as its circuit is so."""
    core, version = call.winclaw.core, -1
    while True:
        state = core.wait_for_change(version, 10)
        services = state.view(core.clock.now())["services"]
        if services and services[0]["circuit"] == circuit:
            return dict(services[0])
        assert state.version != version, services
        version = state.version


def test_a_circuit_that_one_agent_opens_holds_for_the_others(call: Caller, connect: Callable[[str], Agent]) -> None:
    one, other = connect("one"), connect("other")
    breaker = other.resilience.circuits.get_or_create("gpt-5.2")
    open_circuit(one)
    view = shown(call, "OPEN")
    assert (view["agent"], view["because"], view["counts"]["failures"]) == ("one", "3 calls in a row failed", 3)
    reaches(breaker, CircuitState.OPEN)
    with pytest.raises(CircuitBreakerOpenError, match=r"3 calls in a row failed \(seen by one\)") as refusal:
        other.protect("gpt-5.2")(lambda: 1)()
    assert 0 < refusal.value.reason["retry_after_s"] <= 10
    late = connect("late")
    reaches(late.resilience.circuits.get_or_create("gpt-5.2"), CircuitState.OPEN)
    types = [event.type for event in call.winclaw.core.history.events(0, 100)]
    assert types.count("circuit.opened") == 1


def test_agents_try_at_once_what_winclaws_probe_finds_well(call: Caller, connect: Callable[[str], Agent]) -> None:
    """Before, they waited until the time of their open circuit was up. What another agent tries for itself tells them nothing."""
    core, one = call.winclaw.core, connect("one")
    never_told = Service(probe=Probe(tcp="127.0.0.1:1", failures=100))
    services = {**Settings().services, "gpt-5.2": never_told}
    core.tell(Configuration(Settings(services=services))).result(10)
    breaker = one.resilience.circuits.get_or_create("gpt-5.2")
    breaker.isolate()  # so that WinClaw hears at once that this agent uses it
    breaker.reset()
    shown(call, "CLOSED")
    core.tell(ProbeTold("gpt-5.2", Probed(well=False, what="HTTP status 500", since=core.clock.now()))).result(10)
    reaches(breaker, CircuitState.OPEN)
    core.tell(ProbeTold("gpt-5.2", Probed(well=True, what="HTTP status 200", since=core.clock.now()))).result(10)
    reaches(breaker, CircuitState.HALF_OPEN)
    for state, change in (("OPEN", 1), ("HALF_OPEN", 2)):
        said = CircuitReport(service="gpt-5.2", state=state, change=change, because="it burns", retry_after_s=60)
        core.beat(Heartbeat(agent="other", pid=1, circuits=(said,))).result(10)
        reaches(breaker, CircuitState.OPEN)
    assert shown(call, "HALF_OPEN")["agent"] == "other"
    assert breaker.state is CircuitState.OPEN


def test_a_person_closes_isolates_and_releases_it_for_all(call: Caller, connect: Callable[[str], Agent]) -> None:
    agent = connect("one")
    breaker = agent.resilience.circuits.get_or_create("gpt-5.2")
    open_circuit(agent)
    shown(call, "OPEN")
    for command, state in (("reset", "CLOSED"), ("isolate", "ISOLATED"), ("release", "HALF_OPEN"), ("reset", "CLOSED")):
        answer = call("POST", f"/api/v1/circuits/gpt-5.2/{command}", {}, call.operator)
        assert answer.json["state"]["services"][0]["circuit"] == state
        reaches(breaker, CircuitState[state])
    commands = [event.body for event in call.winclaw.core.history.events(0, 100) if event.type == "command"]
    assert [(one["asked"], one["actor"]) for one in commands] == [
        ("reset", "command line"), ("isolate", "command line"), ("release", "command line"), ("reset", "command line"),
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "status", "field"), [("x/reset", 404, "service"), ("gpt-5.2/explode", 422, "command")])
def test_a_command_that_cannot_be_is_refused(call: Caller, path: str, status: int, field: str) -> None:
    answer = call("POST", f"/api/v1/circuits/{path}", {}, call.operator)
    assert (answer.status, answer.json["field"]) == (status, field)


def test_agents_command_no_circuit(call: Caller) -> None:
    assert call("POST", "/api/v1/circuits/gpt-5.2/isolate", {}, call.agent).status == 403


@pytest.mark.parametrize(
    ("circuit", "field"),
    [
        ({"service": "x"}, "circuits[0]"), ({"service": "x", "state": "AJAR"}, "circuits[0].state"),
        ({"service": "", "state": "OPEN"}, "circuits[0].service"),
        ({"service": "x", "state": "OPEN", "retry_after_s": -1}, "circuits[0].retry_after_s"),
        ({"service": "x", "state": "OPEN", "calls": "many"}, "circuits[0].calls"),
        ({"service": "x", "state": "OPEN", "mood": 1}, "circuits[0]"),
    ],
)  # fmt: skip
def test_a_report_of_a_circuit_that_makes_no_sense_is_refused(call: Caller, circuit: dict[str, Any], field: str) -> None:
    answer = call("POST", "/api/v1/heartbeats", {"agent": "a", "circuits": [circuit]}, call.agent)
    assert (answer.status, answer.json["field"]) == (422, field)
    assert call.winclaw.core.state.services.circuits == {}


def test_no_secret_comes_in_with_a_reason(call: Caller) -> None:
    circuit = {"service": "x", "state": "OPEN", "change": 1, "because": "key sk-abcdefghijklmnopqrstu is refused"}
    assert call("POST", "/api/v1/heartbeats", {"agent": "a", "circuits": [circuit]}, call.agent).status == 200
    assert call.winclaw.core.view()["services"][0]["because"] == "key [redacted] is refused"


def test_an_open_circuit_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "home", port=0) as first:
        agent = resilience.connect("one", folder=tmp_path / "home")
        open_circuit(agent, "gmail_api")
        while not first.core.state.services.circuits or first.core.view()["services"][0]["circuit"] != "OPEN":
            first.core.wait_for_change(first.core.state.version, 10)
        agent.close()
    with running(tmp_path / "home", port=0) as second:
        view = second.core.view()["services"][0]
        assert (view["name"], view["circuit"]) == ("gmail_api", "OPEN")
        late = resilience.connect("late", folder=tmp_path / "home")
        reaches(late.resilience.circuits.get_or_create("gmail_api"), CircuitState.OPEN)
        late.close()


def test_agents_learn_the_policies_and_are_not_told_twice(call: Caller, connect: Callable[[str], Agent]) -> None:
    agent = connect("one")
    told = threading.Event()
    agent.on_state(lambda _: told.set())
    assert agent.resilience.circuits.get_or_create("gpt-5.2").config.failure_threshold == 3
    policy = call("GET", "/api/v1/agents/x/orders", None, call.agent).json["policy"]
    assert policy["settings"]["circuit_breaker"]["services"]["gpt-5.2"]["failure_threshold"] == 3
    again = call("GET", f"/api/v1/agents/x/orders?settings={policy['settings_id']}", None, call.agent).json["policy"]
    assert "settings" not in again
    assert "settings" not in call("POST", "/api/v1/heartbeats", {"agent": "x"}, call.agent).json["policy"]


def test_the_configurations_policies_hold_in_agents(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "error_handling_config.yaml").write_text(
        "error_handling:\n  circuit_breaker:\n    services:\n      mine: {failure_threshold: 1}\n"
    )
    with running(home, port=0):
        agent = resilience.connect("one", folder=home)
        heard = threading.Event()
        agent.on_state(lambda _: heard.set())
        breaker = agent.resilience.circuits.get_or_create("mine")
        if breaker.config.failure_threshold != 1:
            assert heard.wait(10)
        with pytest.raises(ConnectionRefusedError):
            agent.protect("mine", retry="none")(fail)()
        assert breaker.is_open
        agent.close()


def test_the_page_shows_why_and_its_buttons_work(call: Caller, connect: Callable[[str], Agent]) -> None:
    session = call.login()
    assert b"No agent has protected a call yet" in call("GET", "/circuits", None, session).body
    open_circuit(connect("one"))
    shown(call, "OPEN")
    body = call("GET", "/circuits", None, session).body.decode()
    assert "3 calls in a row failed · seen by one" in body
    assert re.search(r'Not answering, <span class="next" data-until="[^"]+">next try in \d+ s</span>', body)
    token = body.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {**session, "Content-Type": "application/x-www-form-urlencoded", "Origin": call.winclaw.url}
    for command, state in (("isolate", "ISOLATED"), ("release", "HALF_OPEN"), ("reset", "CLOSED")):
        asked = f"csrf_token={token}&service=gpt-5.2&command={command}".encode()
        assert call("POST", "/circuits", asked, form).status == 303
        assert call.winclaw.core.view()["services"][0]["circuit"] == state
    assert call("POST", "/circuits", b"service=gpt-5.2&command=reset", form).status == 403
    assert call("POST", "/circuits", f"csrf_token={token}&service=nobody&command=reset".encode(), form).status == 404
    assert call("POST", "/circuits", f"csrf_token={token}".encode(), form).status == 422


@pytest.mark.parametrize("name", ["../circuits/gpt-5.2", "a/../gpt-5.2", "..", ".", "//evil", "/lead", "a?b#c", "%2e%2e", "\u202eevil"])
def test_whatever_a_service_is_called_its_button_is_for_it(call: Caller, name: str) -> None:
    """Browsers resolve dots in an address, whichever way they are written."""
    for service in ("gpt-5.2", name):
        said = CircuitReport(service=service, state="CLOSED", change=0)
        call.winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=(said,))).result(10)
    session = call.login()
    body = call("GET", "/circuits", None, session).body.decode()
    token = body.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {**session, "Content-Type": "application/x-www-form-urlencoded", "Origin": call.winclaw.url}
    shown_as = html.unescape(body.partition('name="service" value="')[2].partition('"')[0])
    assert shown_as in (name, "gpt-5.2")
    asked = urlencode({"csrf_token": token, "service": name, "command": "isolate"}).encode()
    assert call("POST", "/circuits", asked, form).status == 303
    states = {one["name"]: one["circuit"] for one in call.winclaw.core.view()["services"]}
    assert states == {"gpt-5.2": "CLOSED", name: "ISOLATED"}


def test_safe_mode_reaches_protected_calls(call: Caller, connect: Callable[[str], Agent]) -> None:
    agent = connect("one")
    asked = agent.protect("gpt-5.2", fallback=lambda: "by hand")(lambda: "by the model")
    assert asked() == "by the model"
    told = threading.Event()
    agent.on_state(lambda state: told.set() if state["level"] == "SAFE_MODE" else None)
    call.winclaw.core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="test").result(10)
    assert told.wait(10)
    assert asked() == "by hand"
