"""Whatever a program calls its parts and whatever they say, WinClaw takes what an agent tells of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from resilience.agent.client import Agent, connect
from resilience.events import Heartbeat

ODD = ["a\0b", "caf\udce9", "x" * 300]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = connect("tells", folder=tmp_path)
    one._link.stop()
    yield one
    one.close()


def heartbeat(agent: Agent) -> Heartbeat:
    """What the agent tells, as WinClaw decodes it."""
    return msgspec.json.decode(json.dumps({"agent": agent.name, **agent._news()}), type=Heartbeat)


@pytest.mark.parametrize("name", ["", *ODD])
def test_a_name_that_winclaw_does_not_take_is_refused_where_it_is_given(tmp_path: Path, agent: Agent, name: str) -> None:
    for give in (lambda: connect(name, folder=tmp_path), lambda: agent.loop(name), lambda: agent.protect(name),
                 lambda: agent.orders.register("clear_cache", name, str)):  # fmt: skip
        with pytest.raises(ValueError, match="name h"):
            give()


@pytest.mark.parametrize("name", ["", *ODD])
def test_a_name_that_is_given_with_a_call_is_cleaned_and_the_call_goes_on(agent: Agent, name: str) -> None:
    with agent.watch(name, name):
        pass
    features = {**agent.state["features"], "enable_email_send": False}
    agent._heard({"state": {**agent.state, "level": "SAFE_MODE", "features": features}, "policy": {"gates": {name: None}}})
    agent._enforcement._audit(name, name, refused=True)
    told = heartbeat(agent)
    assert len(told.circuits) == 1
    assert sum(audit.refused for audit in told.audit) == 1


@pytest.mark.parametrize("said", ODD)
def test_whatever_a_healer_says_winclaw_takes(agent: Agent, said: str) -> None:
    answered = threading.Event()
    agent.orders._news = answered.set
    agent.orders._healers["clear_cache", "c"] = [lambda: said * 10]
    agent.orders.take([{"id": "1", "action": "clear_cache", "component": "c", "parameters": {}}])
    assert answered.wait(10)
    assert [(answer.id, answer.done) for answer in heartbeat(agent).orders] == [("1", True)]


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail() -> None:
    raise Mute


@pytest.mark.parametrize(("healer", "done"), [(fail, False), (Mute, True)])
def test_a_healer_whose_words_cannot_be_read_is_answered_like_any_other(
    agent: Agent, healer: Callable[[], object], done: bool
) -> None:
    """It ended the thread that obeys, and the heal waited for its answer."""
    answered = threading.Event()
    agent.orders._news = answered.set
    agent.orders._healers["clear_cache", "c"] = [healer]
    agent.orders.take([{"id": "1", "action": "clear_cache", "component": "c", "parameters": {}}])
    assert answered.wait(5)
    answer = heartbeat(agent).orders[0]
    assert (answer.done, "(a Mute whose words cannot be read: RuntimeError)" in answer.what) == (done, True)


def test_no_more_is_told_of_safe_mode_at_once_than_winclaw_takes(agent: Agent) -> None:
    """What could not be told is put back beside what came in the meantime."""
    agent._enforcement.give_back([{"service": f"s{n}", "operation": "o", "allowed": 1, "refused": 0} for n in range(300)])
    assert [len(heartbeat(agent).audit) for _ in range(3)] == [200, 100, 0]


def test_a_circuit_that_stays_open_for_days_can_be_told(agent: Agent) -> None:
    agent.resilience.circuits.get_or_create("pay").hold_open(1e6, "x" * 20_000)
    assert heartbeat(agent).circuits[0].retry_after_s == 86_400
