from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience.agent.client import Agent, connect
from resilience.agent.link import Link
from resilience.agent.spool import Spool
from resilience.clock import SystemClock
from resilience.degradation.gate import SERVICE_FEATURES, FeatureDisabledError
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.refusals import RefusedError
from resilience.testing import immediate_retries


class FakeTray:
    """A tray that takes what agents send, and answers what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.answer: Callable[[list[dict[str, Any]]], int] = lambda _: 200
        self.level = DegradationLevel.FULL
        self.version = 1
        self.changed = threading.Condition()
        self.ended = False
        tray = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Authorization"] != "Bearer secret":
                    self.reply(401, {})
                elif self.path == "/api/v1/heartbeats":
                    tray.beats.append(body)
                    self.reply(200, tray.view())
                else:
                    status = tray.answer(body)
                    if status == 200:
                        tray.reports += body
                    self.reply(status, {"detail": "no"})

            def do_GET(self) -> None:
                known = int(self.path.rpartition("version=")[2])
                with tray.changed:
                    tray.changed.wait_for(lambda: tray.ended or tray.version != known, 20)
                self.reply(200, tray.view())

            def reply(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"url": f"http://127.0.0.1:{self.server.server_port}", "token": "secret", "pid": 1}
        (folder / "endpoint.json").write_text(json.dumps(content))

    def view(self) -> dict[str, Any]:
        features = dict(FEATURES[self.level])
        state = {"level": self.level.name, "cause": "test", "features": features, "version": self.version}
        return {"state": state, "policy": {"gates": dict(SERVICE_FEATURES), "heartbeat_s": 0.2}}

    def set_level(self, level: DegradationLevel) -> None:
        with self.changed:
            self.level, self.version = level, self.version + 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def tray(folder: Path) -> Iterator[FakeTray]:
    one = FakeTray(folder)
    yield one
    one.close()


@pytest.fixture
def agent(folder: Path) -> Iterator[Agent]:
    one = connect("tester", folder=folder)
    yield one
    one.close()


def wait_for_level(agent: Agent, level: DegradationLevel) -> None:
    heard = threading.Event()
    agent.on_state(lambda state: heard.set() if state["level"] == level.name else None)
    if agent.state["level"] != level.name:
        assert heard.wait(10)


def test_a_report_says_what_the_contract_promises(tray: FakeTray, agent: Agent) -> None:
    try:
        try:
            raise TimeoutError("inner")
        except TimeoutError as inner:
            raise RuntimeError("outer sk-abcdefghijklmnopqrstu") from inner
    except RuntimeError as error:
        context = agent.report(error, "gpt-5.2", "ask", tries=3, api_key="x1")
    assert context.error_type == "LLMTimeoutError"
    assert agent.flush(10)
    report = tray.reports[0]
    assert report["type"] == "LLMTimeoutError"
    assert report["message"] == "outer [redacted]"
    assert (report["component"], report["operation"], report["agent"]) == ("gpt-5.2", "ask", "tester")
    assert report["cause"]["type"] == "TimeoutError"
    assert report["metadata"] == {"tries": 3, "api_key": "[redacted]", "exception": "RuntimeError"}
    assert report["at"].endswith("Z")
    assert "test_client.py" in report["stack"]
    assert len(report["key"]) == 32


def test_secrets_are_gone_before_the_report_touches_the_disk(folder: Path, agent: Agent) -> None:
    agent.report(RuntimeError("Bearer abcdefghijkl"), "x")
    assert b"abcdefghijkl" not in b"".join(file.read_bytes() for file in (folder / "spool").iterdir())


@pytest.mark.parametrize("level", [DegradationLevel.SAFE_MODE, DegradationLevel.DEGRADED_LLM])
def test_a_call_that_the_level_does_not_allow_is_not_made(tray: FakeTray, agent: Agent, level: DegradationLevel) -> None:
    calls: list[int] = []

    @agent.protect("gpt-5.2")
    def ask() -> str:
        calls.append(1)
        return "answer"

    assert ask() == "answer"
    tray.set_level(level)
    wait_for_level(agent, level)
    with pytest.raises(FeatureDisabledError) as refusal:
        ask()
    assert calls == [1]
    assert (refusal.value.level, refusal.value.service) == (level.name, "gpt-5.2")
    tray.set_level(DegradationLevel.FULL)
    wait_for_level(agent, DegradationLevel.FULL)
    assert ask() == "answer"


def test_in_safe_mode_only_what_reads_may_happen(tray: FakeTray, agent: Agent) -> None:
    tray.set_level(DegradationLevel.SAFE_MODE)
    wait_for_level(agent, DegradationLevel.SAFE_MODE)
    agent.require("file_system", read_only=True)
    for service in (*SERVICE_FEATURES, "something_of_mine"):
        with pytest.raises(FeatureDisabledError):
            agent.require(service)


def test_coroutines_are_protected_alike(tray: FakeTray, agent: Agent) -> None:
    @agent.protect("gmail_api")
    async def send(to: str) -> str:
        if to == "nobody":
            raise ConnectionResetError("gone")
        return f"sent to {to}"

    assert asyncio.run(send("me")) == "sent to me"
    with immediate_retries(), pytest.raises(ConnectionResetError) as failure:
        asyncio.run(send("nobody"))
    assert "tries failed" in failure.value.__notes__[-1]
    assert agent.flush(10)
    assert [report["type"] for report in tray.reports] == ["NetworkTransientError"]
    assert tray.reports[0]["operation"].endswith("send")


def test_a_block_is_watched_in_functions_and_in_coroutines(tray: FakeTray, agent: Agent) -> None:
    def plainly() -> None:
        with agent.watch("gmail_api", "send"):
            raise ConnectionResetError("gone")

    async def later() -> None:
        async with agent.watch("gmail_api", "send"):
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        plainly()
    with pytest.raises(ConnectionResetError):
        asyncio.run(later())
    with agent.watch("gmail_api"):
        pass
    assert agent.flush(10)
    assert [(report["component"], report["operation"]) for report in tray.reports] == [("gmail_api", "send")] * 2
    metrics = agent.resilience.circuits.get_or_create("gmail_api").metrics
    assert (metrics.successful_calls, metrics.failed_calls) == (1, 2)
    agent.resilience.circuits.get_or_create("gmail_api").isolate("tests")
    with pytest.raises(RefusedError), agent.watch("gmail_api"):
        raise AssertionError("the block must not run")


def test_cancellation_is_no_failure(tray: FakeTray, agent: Agent) -> None:
    @agent.protect("gmail_api")
    async def hang() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(hang())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert agent.flush(10)
    assert tray.reports == []


def test_one_report_that_the_tray_refuses_does_not_hold_up_the_others(folder: Path, tray: FakeTray, agent: Agent) -> None:
    tray.answer = lambda reports: 422 if any("bad" in report["message"] for report in reports) else 200
    for word in ("good 1", "bad", "good 2", "good 3"):
        agent.report(RuntimeError(word), "x")
    assert agent.flush(10)
    assert sorted(report["message"] for report in tray.reports) == ["good 1", "good 2", "good 3"]
    assert b'"bad"' in (folder / "spool" / "refused.jsonl").read_bytes()


def test_what_the_tray_cannot_store_now_is_sent_again(tray: FakeTray, agent: Agent) -> None:
    answers = iter([503, 500, 200])
    tray.answer = lambda _: next(answers, 200)
    agent.report(RuntimeError("x"), "x")
    assert agent.flush(10)
    assert len(tray.reports) == 1


def test_without_a_tray_everything_is_allowed_and_waits_on_disk(folder: Path, agent: Agent) -> None:
    @agent.protect("gpt-5.2")
    def ask() -> str:
        return "answer"

    assert ask() == "answer"
    agent.report(RuntimeError("x"), "x")
    assert not agent.flush(0.05)
    assert len(list((folder / "spool").glob("*.spool"))) == 1


def test_an_endpoint_that_is_not_on_this_machine_gets_nothing(folder: Path, tray: FakeTray) -> None:
    """Nobody who can write one file may have errors sent elsewhere."""
    port = tray.server.server_port
    (folder / "endpoint.json").write_text(json.dumps({"url": f"http://localhost.evil.example:{port}", "token": "secret"}))
    agent = connect("tester", folder=folder)
    agent.report(RuntimeError("x"), "x")
    assert not agent.flush(0.05)
    agent.close()
    assert tray.reports == []


def test_it_says_that_it_is_alive_and_goodbye(tray: FakeTray, folder: Path) -> None:
    agent = connect("tester", folder=folder)
    wait_for_level(agent, DegradationLevel.FULL)
    agent.report(RuntimeError("x"), "x")
    agent.flush(10)
    agent.close()
    assert tray.beats[0] == {"agent": "tester", "pid": os.getpid(), "leaving": False}
    assert tray.beats[-1]["leaving"] is True


@pytest.mark.parametrize(("status", "times"), [(422, 1), (503, 2)])
def test_news_that_winclaw_will_never_take_are_told_once_and_the_agent_lives(folder: Path, status: int, times: int) -> None:
    """They were put back and told again, and every heartbeat with them was refused: the agent was lost for good."""
    beats: list[dict[str, Any]] = []

    class Up:
        def ask(self, _method: str, _path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            beats.append(body)
            return (status, {}) if "orders" in body else (200, {})

    agent = connect("tester", folder=folder)
    agent._link.stop()
    agent._link._up = Up()  # type: ignore[assignment]
    agent.orders.give_back([{"id": "1", "done": True, "what": "odd"}])
    agent._link._beat(leaving=False)
    agent._link._beat(leaving=False)
    agent.close()
    assert sum("orders" in beat for beat in beats) == times
    assert ("orders" in beats[-1]) == (status == 503)


def test_a_state_that_could_not_be_taken_over_is_asked_for_again(folder: Path) -> None:
    """It was held for known; the level of before stayed in force until the next one came."""
    asked: list[str] = []
    taken: list[int] = []

    class Down:
        def ask(self, _method: str, path: str, **_: object) -> tuple[int, dict[str, Any]]:
            asked.append(path.rpartition("version=")[2])
            if len(asked) == 3:
                link._stopping.set()
            return 200, {"state": {"version": 7}, "policy": {"heartbeat_s": 5}}

        def close(self) -> None:
            """Nothing is open."""

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    def take_over(answer: dict[str, Any]) -> None:
        taken.append(answer["state"]["version"])
        if len(taken) == 1:
            raise RuntimeError("it stumbles")

    folder.mkdir()
    link = Link("a", folder, Spool(folder), SystemClock(), take_over, dict, lambda _: None, lambda: None)
    link._down, link._stopping = Down(), Stopping()  # type: ignore[assignment]
    link._listen()
    assert asked == ["-1", "-1", "7"]
    assert taken == [7, 7]


def test_who_listens_to_a_circuit_holds_nobody_up(tmp_path: Path) -> None:
    """It was called under the lock under which an agent's parts are made."""
    agent = connect("listens", folder=tmp_path)
    heard, let_go, made = threading.Event(), threading.Event(), threading.Event()

    def listen(_: object) -> None:
        heard.set()
        let_go.wait(20)

    def make() -> None:
        assert agent.loops
        made.set()

    agent.resilience.circuits.get_or_create("pay").listen(listen)
    told = {"name": "pay", "circuit": "OPEN", "version": 9, "because": "b", "agent": "other", "pid": 1, "retry_after_s": 5}
    answer = {"state": {**agent.state, "services": [told]}, "policy": {"gates": {}}}
    hearing = threading.Thread(target=agent._heard, args=[answer], daemon=True)
    hearing.start()
    assert heard.wait(10)
    threading.Thread(target=make, daemon=True).start()
    was_made = made.wait(5)
    let_go.set()
    hearing.join(10)
    agent.close()
    assert was_made


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("no attributes")


STRANGE: dict[str, Callable[[], BaseException]] = {
    "raises at every touch": Nasty,
    "lone surrogate": lambda: RuntimeError("\ud800 lone"),
    "NUL": lambda: RuntimeError("nul \0"),
    "a million characters": lambda: RuntimeError("x" * 1_000_000),
    "group": lambda: ExceptionGroup("g", [ValueError()]),
    "interrupt": KeyboardInterrupt,
}


@pytest.mark.parametrize("strange", list(STRANGE))
def test_no_error_is_too_strange_to_report(tray: FakeTray, agent: Agent, strange: str) -> None:
    error = STRANGE[strange]()
    agent.report(error, "x", "y", odd=object(), deep={"a": [{}]})
    assert agent.flush(10)
    assert len({one["key"] for one in tray.reports}) == 1  # sent again where the answer took too long, and stored once
    assert len(tray.reports[0]["message"]) <= 10_000


def needs_fork(test: Callable[..., None]) -> Callable[..., None]:
    skip = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
    return pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")(skip(test))


@needs_fork
def test_a_forked_child_reports_too(tray: FakeTray, agent: Agent) -> None:
    def in_child() -> None:
        agent.report(RuntimeError("from the child"), "x")
        os._exit(0 if agent.flush(10) else 1)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert [report["message"] for report in tray.reports] == ["from the child"]


@needs_fork
@pytest.mark.parametrize("level", [DegradationLevel.SAFE_MODE, DegradationLevel.MINIMAL])
def test_a_forked_child_hears_of_each_level_and_says_nothing_of_itself_but_what_it_did(
    tray: FakeTray, agent: Agent, level: DegradationLevel
) -> None:
    """It knew the level at its birth for ever, until it had something to report; a pool's workers went on in Safe Mode."""
    send = agent.protect("gmail_api", retry="none")(lambda: "sent")
    assert agent.loop("nightly").allowed
    with agent.loop("nightly"):
        pass
    agent.orders._answers.append({"id": "the parent's", "done": True, "what": ""})
    agent._enforcement._audit("gmail_api", "the parent's", refused=True)
    agent._link.stop()  # so that nothing of it is told before the fork
    told = len(tray.beats)

    def in_child() -> None:
        heard = threading.Event()
        agent.on_state(lambda state: heard.set() if state["level"] == level.name else None)
        if agent.state["level"] != level.name and not heard.wait(10):
            os._exit(1)
        try:
            send()
        except FeatureDisabledError:
            agent.close()
            os._exit(0)
        os._exit(2)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    tray.set_level(level)
    child.join(20)
    assert child.exitcode == 0
    audits = [audit for beat in tray.beats[told:] for audit in beat["audit"]]
    assert [audit["refused"] for audit in audits] == [1] * (level is DegradationLevel.SAFE_MODE)
    assert {beat["pid"] for beat in tray.beats[told:]} <= {child.pid}


@needs_fork
def test_a_forked_child_leaves_to_its_parent_what_is_its_parents(folder: Path, agent: Agent) -> None:
    """Whatever a thread of the parent's holds at that moment, and whatever it has yet to tell."""
    agent.report(RuntimeError("the parent's"), "x")
    agent.protect("gmail_api")
    agent.resilience.circuits.get_or_create("gmail_api").hold_open(9, "seen by the parent")
    assert agent.loop("nightly").allowed
    agent.orders._answers.append({"id": "1", "done": True, "what": ""})
    agent._enforcement._audit("gmail_api", "send", refused=True)
    held = threading.Event()
    let_go = threading.Event()

    def hold() -> None:
        with agent._making, agent._spool._lock, agent._enforcement._counting, agent.orders._changing, agent.loops._lock:
            held.set()
            let_go.wait(20)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(10)

    def in_child() -> None:
        news = agent._news()
        own = news.keys() <= {"circuits", "healers"} and all(not one["change"] for one in news["circuits"])
        agent.report(RuntimeError("the child's"), "x")
        with agent.loops.loop("nightly"):
            os._exit(0 if own and [b"the child's" in line for line in agent._spool.peek()] == [True] else 1)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join(20)
    let_go.set()
    assert child.exitcode == 0
    assert len(agent._spool.peek()) == 1


@needs_fork
def test_the_parents_spool_is_free_when_the_parent_has_died_and_its_child_lives(tmp_path: Path) -> None:
    parent = Spool(tmp_path)
    parent.append({"number": 1})
    (wait, go_on), (hear, say) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_on)
        parent.begin_anew()
        os.write(say, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.read(hear, 1)
    parent.close()
    finder = Spool(tmp_path)
    finder.adopt()
    adopted = finder.waiting
    for end in (go_on, wait, hear, say):
        os.close(end)
    os.waitpid(child, 0)
    finder.close()
    assert adopted


def test_an_agent_that_is_closed_is_not_kept_for_the_sake_of_forks(folder: Path) -> None:
    agent = connect("tester", folder=folder)
    agent.close()
    found = weakref.ref(agent)
    del agent
    gc.collect()
    assert found() is None


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_bad_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="between 1 and 200"):
        resilience.connect(name, folder=folder)


def test_a_state_is_shown_when_it_is_in_force_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program that waits for a level would be refused once more by a gate that has not heard yet."""
    agent = connect("shows", folder=tmp_path)
    try:
        seen: list[str] = []

        def look_again(_: object) -> None:
            seen.append(agent.state["level"])

        monkeypatch.setattr(type(agent.resilience), "look_again", look_again)
        agent._heard({"state": {**agent.state, "level": "MINIMAL"}, "policy": {"gates": {}}})
        assert seen == ["FULL"]
        assert agent.state["level"] == "MINIMAL"
    finally:
        agent.close()
