"""The level through all layers: chosen by a person or a rule, obeyed by real agents, also while nobody runs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import DegradationLevel, FeatureDisabledError, IsolatedError, LoopPausedError
from resilience.agent.client import Agent
from resilience.config.settings import Settings
from resilience.home import CONFIG, HELD
from resilience.outbox.message import Message
from tests.failing import fail, open_circuit
from tests.program import REPOSITORY, Program
from tray.app import Running, running

FULL, LLM, LIMITED, MINIMAL, SAFE = DegradationLevel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def connect(folder: Path) -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def make(name: str = "one") -> Agent:
        agents.append(resilience.connect(name, folder=folder))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


def configure(folder: Path, text: str) -> None:
    """Writes the configuration, before WinClaw starts."""
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")


def until(agent: Agent, told: Callable[[Any], bool]) -> Any:
    """Waits until the agent was told a state that ``told`` finds right."""
    reached = threading.Event()
    agent.on_state(lambda state: reached.set() if told(state) else None)
    if not told(agent.state):
        assert reached.wait(20), agent.state
    return agent.state


def until_level(agent: Agent, level: DegradationLevel) -> None:
    until(agent, lambda state: state["level"] == level.name)


def choose(winclaw: Running, level: DegradationLevel | None) -> None:
    winclaw.core.set_level(level, actor="test", origin="here", confirmed=True).result(10)


def test_an_agent_that_has_lost_winclaw_keeps_the_last_level_it_knew(folder: Path, connect: Callable[..., Agent]) -> None:
    with running(folder, port=0) as winclaw:
        agent = connect()
        choose(winclaw, MINIMAL)
        until_level(agent, MINIMAL)
    with pytest.raises(FeatureDisabledError):
        agent.require("gpt-5.2")
    with pytest.raises(LoopPausedError):
        agent.loop("planning").__enter__()


@pytest.mark.parametrize("level", [SAFE, MINIMAL, LLM])
def test_an_agent_that_starts_while_nobody_runs_obeys_what_was_pinned(
    folder: Path, connect: Callable[..., Agent], level: DegradationLevel
) -> None:
    with running(folder, port=0) as winclaw:
        choose(winclaw, level)
    agent = connect()
    assert agent.state["level"] == level.name
    assert agent.context_limit_tokens == 4096
    with pytest.raises(FeatureDisabledError, match="Chosen by hand"):
        agent.protect("gpt-5.2")(fail)()
    with running(folder, port=0) as winclaw:
        choose(winclaw, None)
        until_level(agent, FULL)
    assert not (folder / HELD).exists()
    assert connect("two").state["level"] == "FULL"


def test_safe_mode_holds_for_such_an_agent_through_kill_9(folder: Path, connect: Callable[..., Agent]) -> None:
    program = Program(folder).start()
    program.command("safe-mode", "on")
    program.kill()
    agent = connect()
    with pytest.raises(FeatureDisabledError):
        agent.require("file_system")
    agent.require("file_system", read_only=True)


def test_a_level_that_rules_chose_does_not_outlive_who_could_raise_it(folder: Path, connect: Callable[..., Agent]) -> None:
    with running(folder, port=0):
        agent = connect()
        open_circuit(agent, "memory_system")
        until_level(agent, MINIMAL)
    assert connect("two").state["level"] == "FULL"


def test_an_isolated_service_stays_isolated_while_nobody_runs(folder: Path, connect: Callable[..., Agent]) -> None:
    with running(folder, port=0) as winclaw:
        winclaw.core.switch_circuit("file_system", "isolate", actor="test", origin="here").result(10)
    agent = connect()
    with pytest.raises(IsolatedError, match="isolated when WinClaw was last there"):
        agent.protect("file_system")(fail)()
    with running(folder, port=0) as winclaw:
        winclaw.core.switch_circuit("file_system", "reset", actor="test", origin="here").result(10)
        until(agent, lambda state: not state.get("isolated", ["?"]))
        assert agent.protect("file_system")(lambda: 7)() == 7


@pytest.mark.parametrize("content", [b"", b"null", b"[1]", b'{"level": "PARTY"}', b'{"level": 5, "isolated": {}}', b"\xff"])
def test_a_damaged_file_of_what_is_held_stops_no_agent(folder: Path, connect: Callable[..., Agent], content: bytes) -> None:
    folder.mkdir()
    (folder / HELD).write_bytes(content)
    assert connect().state["level"] == "FULL"


def test_what_an_agent_tries_in_safe_mode_is_audited(winclaw: Running, connect: Callable[..., Agent]) -> None:
    agent = connect("careful")
    choose(winclaw, SAFE)
    until_level(agent, SAFE)

    @agent.protect("file_system", read_only=True)
    def read() -> str:
        return "content"

    @agent.protect("gmail_api", retry="none", read_only=True)
    def fetch_mail() -> None:
        raise AssertionError("there is no network in Safe Mode")

    assert [read(), read()] == ["content", "content"]
    with pytest.raises(FeatureDisabledError, match="enable_gmail"):
        fetch_mail()
    agent._link.beat_soon()
    agent.close()
    found = [event for event in winclaw.core.history.events(0, 100) if event.type == "audit"]
    counts = {(one.component, one.body["operation"].rpartition(".")[2]): (one.body["allowed"], one.body["refused"]) for one in found}
    assert counts == {("file_system", "read"): (2, 0), ("gmail_api", "fetch_mail"): (0, 1)}


def test_a_service_that_the_level_is_due_to_is_probed_and_the_level_rises_by_itself(
    folder: Path, connect: Callable[..., Agent]
) -> None:
    """Without probes through the closed gate the level could never rise again."""
    configure(
        folder,
        "error_handling: {degradation: {recover_after_s: 0.2}, circuit_breaker: {services: {gpt-5.2: {timeout_seconds: 0.3}}}}",
    )
    with running(folder, port=0):
        agent = connect()
        works = threading.Event()

        @agent.protect("gpt-5.2", retry="none", fallback=lambda: "the fallback's answer")
        def ask() -> str:
            if not works.is_set():
                fail()
            return "answer"

        while agent.state["level"] != "DEGRADED_LLM":
            assert ask() == "the fallback's answer"
        works.set()
        answers = set()
        while agent.state["level"] != "FULL":
            answers.add(ask())
        assert answers == {"answer", "the fallback's answer"}
        assert ask() == "answer"


def test_every_agent_obeys_each_level_in_its_calls_loops_and_messages(winclaw: Running, connect: Callable[..., Agent]) -> None:
    agents = [connect("one"), connect("two")]
    loops, gates = Settings().loops, {name: one.feature for name, one in Settings().services.items()}
    runs = {FULL: 15, LLM: 5, LIMITED: 5, MINIMAL: 1, SAFE: 0}
    for level in (LLM, LIMITED, MINIMAL, SAFE, FULL):
        choose(winclaw, level)
        for agent in agents:
            until_level(agent, level)
            allowed = [name for name in loops if agent.loop(name).allowed]
            assert len(allowed) == runs[level]
            for service, feature in gates.items():
                may = agent.state["features"][feature] if feature else True
                if may and level is not SAFE:
                    agent.require(service)
                else:
                    with pytest.raises(FeatureDisabledError):
                        agent.require(service)
            assert (agent._enforcement.why_wait("gmail_api") is None) == (level in (FULL, LLM))


def test_messages_wait_at_a_low_level_the_state_counts_them_and_they_leave_in_order(
    folder: Path, connect: Callable[..., Agent]
) -> None:
    configure(folder, "error_handling: {outbox: {drain_per_s: 1000}}")
    with running(folder, port=0) as winclaw:
        _wait_and_leave(winclaw, connect())


def _wait_and_leave(winclaw: Running, agent: Agent) -> None:
    sent: list[int] = []
    all_sent = threading.Event()

    @agent.outbox.sender("gmail_api")
    def send(message: Message) -> None:
        sent.append(message.payload)
        if len(sent) == 4:
            all_sent.set()

    choose(winclaw, LIMITED)
    until_level(agent, LIMITED)
    for number in range(4):
        agent.outbox.send("gmail_api", number, key=f"mail-{number}")
    agent.outbox.send("gmail_api", "again", key="mail-0")
    state = until(agent, lambda state: state.get("waiting", {}).get("messages") == 4)
    assert state["waiting"] == {"messages": 4, "channels": {"gmail_api": 4}}
    assert agent.outbox.status()[0]["why"].startswith("level LIMITED_EXTERNAL: Chosen by hand")
    assert sent == []
    choose(winclaw, None)
    assert all_sent.wait(20)
    assert sent == [0, 1, 2, 3]
    until(agent, lambda state: state["waiting"]["messages"] == 0)


class Mailbox(ThreadingHTTPServer):
    """A receiver of messages: notes each that arrives, and can be asked whether a key has arrived."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self.arrived: list[str] = []
        self.on_message = on_message
        super().__init__(("127.0.0.1", 0), _MailboxRequest)
        self.daemon_threads = True
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()


class _MailboxRequest(BaseHTTPRequestHandler):
    server: Mailbox

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        self.server.arrived.append(key)
        self.server.on_message(key)
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        body = json.dumps(self.path.removeprefix("/") in self.server.arrived).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


SENDER = """
import sys, json, threading, urllib.request
import resilience

folder, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
agent = resilience.connect("mailer", folder=folder)

def arrived(message):
    return json.load(urllib.request.urlopen(f"{url}/{message.key}", timeout=10))

@agent.outbox.sender("gmail_api", was_sent=arrived)
def send(message):
    request = urllib.request.Request(url, json.dumps(message.payload).encode(), {"Idempotency-Key": message.key})
    urllib.request.urlopen(request, timeout=10).close()

for number in range(count):
    agent.outbox.send("gmail_api", {"number": number}, key=f"mail-{number:03}")
print("accepted", flush=True)
threading.Event().wait()
"""


def test_kill_9_of_agent_and_winclaw_while_messages_drain_loses_none_and_sends_none_twice(folder: Path) -> None:
    """All are accepted at a level where they wait; then both processes die again and again while they leave."""
    count, killed = 24, threading.Event()
    configure(folder, "error_handling: {outbox: {drain_per_s: 200}}")
    program, agent = Program(folder), None
    dies_at = {"mail-003", "mail-007", "mail-008", "mail-015", "mail-023"}

    def on_message(key: str) -> None:
        if key in dies_at and agent is not None:  # in the middle: it has arrived, and the agent does not know
            agent.kill()
            agent.wait(10)
            killed.set()

    mailbox = Mailbox(on_message)
    url = f"http://127.0.0.1:{mailbox.server_address[1]}"

    def start() -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", SENDER, str(folder), url, str(count)]
        return subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)

    try:
        program.start()
        program.ask("POST", "/api/v1/level", {"level": "limited-external"}, operator=True)
        agent = start()
        assert agent.stdout is not None
        assert agent.stdout.readline() == "accepted\n"
        while program.ask("GET", "/api/v1/state")["waiting"]["messages"] != count:
            pass
        assert mailbox.arrived == []
        program.ask("POST", "/api/v1/level", {"level": "auto"}, operator=True)
        for place in range(len(dies_at)):
            assert killed.wait(30), mailbox.arrived
            killed.clear()
            if place == 1:
                program.kill()
                program.start()
            agent.stdout.close()
            agent = start()
            assert agent.stdout is not None
            assert agent.stdout.readline() == "accepted\n" or killed.wait(30)  # it may die before it has said so
        while program.ask("GET", "/api/v1/state")["waiting"]["messages"]:
            pass
    finally:
        if agent is not None:
            agent.kill()
            agent.wait(10)
            assert agent.stdout is not None
            agent.stdout.close()
        program.kill()
        mailbox.shutdown()
        mailbox.server_close()
    assert mailbox.arrived == [f"mail-{number:03}" for number in range(count)]
