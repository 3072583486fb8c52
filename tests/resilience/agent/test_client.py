"""What an agent's author meets: reports, calls that the level allows or not, and the state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import resilience
from resilience.agent.client import Agent, connect
from resilience.config.settings import Bulkheads, Settings, call_policies
from resilience.degradation.gate import SERVICE_FEATURES, FeatureDisabledError
from resilience.degradation.levels import DegradationLevel
from resilience.outbox.message import UnfitMessageError
from resilience.policies import BulkheadLimits, OutboxLimits
from resilience.refusals import RefusedError
from resilience.testing import immediate_retries
from tests.resilience.agent.conftest import FakeTray, wait_for_level


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


def test_where_policies_are_not_understood_those_before_stay_for_what_is_made_later_too(tmp_path: Path) -> None:
    """What was made after a newer WinClaw had told its policies began with the defaults."""
    agent = connect("older", folder=tmp_path)
    assert agent.loops
    told = call_policies(Settings(outbox=OutboxLimits(max_payload_kb=1)))["settings"]
    for settings in (told, {**told, "of_a_newer_one": 1}):
        agent._heard({"state": agent.state, "policy": {"gates": {}, "settings": settings}})
    with pytest.raises(UnfitMessageError, match="1 kB is the limit"):
        agent.outbox.send("mail", "x" * 1000)
    agent.close()


def test_what_an_agent_has_set_itself_stays_where_it_is_told_nothing_that_it_understands(tmp_path: Path) -> None:
    """The defaults took its place."""
    agent = connect("older", folder=tmp_path)
    agent.outbox.configure(OutboxLimits(max_payload_kb=1))
    agent.resilience.configure(Settings(bulkhead=Bulkheads(default=BulkheadLimits(max_concurrent=2))))
    for policy in ({"gates": {}, "settings": {"of_a_newer_one": 1}}, {"gates": {}}):
        agent._heard({"state": agent.state, "policy": policy})
        with pytest.raises(UnfitMessageError, match="1 kB is the limit"):
            agent.outbox.send("mail", "x" * 1000)
        assert agent.resilience.settings.bulkhead.default.max_concurrent == 2
    agent.close()


def test_a_block_that_fails_in_a_loop_is_reported_for_both(tray: FakeTray, agent: Agent) -> None:
    """Rules that count the loop's errors saw none of it."""
    with pytest.raises(ConnectionResetError), agent.loop("planning"), agent.watch("gmail_api", "send"):
        raise ConnectionResetError("gone")
    assert agent.flush(10)
    assert [(report["component"], report["operation"]) for report in tray.reports] == [("gmail_api", "send"), ("planning", "run")]
