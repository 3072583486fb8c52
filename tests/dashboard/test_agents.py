from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience.agent.client import connect
from resilience.degradation.levels import DegradationLevel
from tests.dashboard.conftest import Caller
from tray.app import Running

GOOD = {"type": "TimeoutError", "message": "late", "component": "gpt-5.2", "operation": "ask"}
NOW = datetime.now(UTC)


def stored(call: Caller) -> int:
    return len(call("GET", "/api/v1/errors", headers=call.agent).json["errors"])


def test_one_report_or_a_list_is_answered_with_the_ids_in_order(call: Caller) -> None:
    one = call("POST", "/api/v1/errors", GOOD, call.agent)
    many = call("POST", "/api/v1/errors", [GOOD, GOOD], call.agent)
    assert (one.status, many.status) == (200, 200)
    ids = one.json["ids"] + many.json["ids"]
    assert ids == list(range(ids[0], ids[0] + 3))


def test_what_was_answered_can_be_read_back(call: Caller) -> None:
    at = (NOW - timedelta(minutes=5)).isoformat()
    report = {
        **GOOD, "severity": "CRITICAL", "at": at, "key": "k1", "stack": "Traceback …", "agent": "researcher",
        "cause": {"type": "OSError", "message": "inner", "metadata": {"errno": "ETIMEDOUT"}}, "metadata": {"try": 3},
    }  # fmt: skip
    answer = call("POST", "/api/v1/errors", [report], call.agent)
    found = call("GET", f"/api/v1/errors/{answer.json['ids'][0]}", headers=call.agent).json
    assert found["kind"] == "agentic.llm.timeout"
    assert found["severity"] == "CRITICAL"
    assert found["stack"] == "Traceback …"
    assert found["cause"]["type"] == "OSError"
    assert found["metadata"] == {"try": 3}
    assert found["at"] == (NOW - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert found["agent"] == "researcher"


def test_what_an_agent_tells_is_taken_however_odd_it_is(
    winclaw: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One NUL in a healer's answer, and every later heartbeat was refused: the agent was lost for good."""
    with contextlib.closing(connect("odd", folder=tmp_path / "home")) as agent:
        agent._link.stop()
        answered = threading.Event()
        agent.orders._news = answered.set
        agent.orders._healers["clear_cache", "c"] = [lambda: "removed caf\udce9\0"]
        agent.orders.take([{"id": "1", "action": "clear_cache", "component": "c", "parameters": {}}])
        assert answered.wait(10)
        agent.report(ValueError("x"), "c", ratio=float("nan"), prompt="word " * 300_000, **{"": "a\ud800"})
        agent._link._beat(leaving=False)
        agent._link._deliver()
        assert agent.orders.take_answers() == []
        assert not agent._spool.waiting
        assert ("odd", os.getpid()) in winclaw.core.state.agents
    assert not (tmp_path / "home" / "spool" / "refused.jsonl").exists()
    assert "refused" not in caplog.text


def test_an_empty_list_is_stored_as_nothing(call: Caller) -> None:
    assert call("POST", "/api/v1/errors", [], call.agent).json == {"ids": []}


BAD_SHAPES: list[tuple[str, Any, str]] = [
    ("wrong type", {**GOOD, "message": 7}, "message"),
    ("missing field", {key: value for key, value in GOOD.items() if key != "component"}, ""),
    ("unknown field", {**GOOD, "levle": 1}, ""),
    ("empty name", {**GOOD, "component": ""}, "component"),
    ("name too long", {**GOOD, "component": "x" * 201}, "component"),
    ("message too long", {**GOOD, "message": "x" * 10_001}, "message"),
    ("unknown severity", {**GOOD, "severity": "BAD"}, "severity"),
    ("NUL in a text", {**GOOD, "message": "a\0b"}, "message"),
    ("NUL in a name", {**GOOD, "component": "a\0b"}, "component"),
    ("NUL in metadata", {**GOOD, "metadata": {"a": ["b\0"]}}, "metadata"),
    ("time without zone", {**GOOD, "at": "2026-01-01T00:00:00"}, "at"),
    ("no time at all", {**GOOD, "at": "yesterday"}, "at"),
    ("future", {**GOOD, "at": (NOW + timedelta(days=2)).isoformat()}, "at"),
    ("far future", {**GOOD, "at": "9999-12-31T23:59:59Z"}, "at"),
    ("ancient", {**GOOD, "at": "1970-01-01T00:00:00Z"}, "at"),
    ("before time", {**GOOD, "at": "0001-01-01T00:00:00Z"}, "at"),
    ("metadata too large", {**GOOD, "metadata": {"a": "x" * 70_000}}, "metadata"),
    ("metadata no object", {**GOOD, "metadata": [1]}, "metadata"),
    ("cause no object", {**GOOD, "cause": "x"}, "cause"),
    ("cause with unknown field", {**GOOD, "cause": {"type": "X", "x": 1}}, "cause"),
    ("a string", "hello", ""),
    ("a number", 7, ""),
]


@pytest.mark.parametrize(("what", "report", "field"), BAD_SHAPES, ids=[what for what, _, _ in BAD_SHAPES])
def test_a_bad_report_is_refused_with_its_field_and_nothing_stored(call: Caller, what: str, report: Any, field: str) -> None:
    alone = call("POST", "/api/v1/errors", report, call.agent)
    assert alone.status == 422, alone.body
    assert alone.headers["Content-Type"] == "application/problem+json"
    assert alone.json["field"] == field
    assert alone.json["detail"]
    if isinstance(report, dict):
        among = call("POST", "/api/v1/errors", [GOOD, GOOD, report], call.agent)
        assert among.status == 422
        assert among.json["field"].startswith("[2]")
    assert stored(call) == 0


def test_causes_and_metadata_that_nest_too_deep_are_refused(call: Caller) -> None:
    chain: dict[str, Any] = {"type": "X"}
    for _ in range(30):
        chain = {"type": "X", "cause": chain}
    assert call("POST", "/api/v1/errors", {**GOOD, "cause": chain}, call.agent).status == 422
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert call("POST", "/api/v1/errors", {**GOOD, "metadata": deep}, call.agent).status == 422
    bottomless = json.dumps(GOOD)[:-1].encode() + b', "metadata": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    assert call("POST", "/api/v1/errors", bottomless, call.agent).status == 400
    assert stored(call) == 0


BAD_BODIES = [
    ("empty", b"", 400),
    ("no JSON", b"hello", 400),
    ("half a list", b"[" + json.dumps(GOOD).encode(), 400),
    ("not UTF-8", json.dumps(GOOD).replace("late", "\xff").encode("latin-1"), 400),
    ("lone surrogate", json.dumps(GOOD).replace("late", "\\ud800").encode(), 400),
    ("UTF-16", json.dumps(GOOD).encode("utf-16"), 400),
    ("rest after the end", json.dumps(GOOD).encode() + b"x", 400),
    ("10 MB", b"[" + b" " * 10_000_000 + b"]", 413),
    ("a batch of 100,000", b"[" + b",".join([b"{}"] * 100_000) + b"]", 422),
    ("a batch of 1,001", json.dumps([GOOD] * 1001).encode(), 413),
]


@pytest.mark.parametrize(("what", "body", "status"), BAD_BODIES, ids=[what for what, _, _ in BAD_BODIES])
def test_a_bad_body_is_refused_clearly_and_serving_goes_on(call: Caller, what: str, body: bytes, status: int) -> None:
    answer = call("POST", "/api/v1/errors", body, call.agent)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert call("POST", "/api/v1/errors", GOOD, call.agent).status == 200
    assert stored(call) == 1


def test_a_body_without_end_is_cut_off(call: Caller) -> None:
    """Chunks without a length cannot be used to get past the limit."""
    with socket.create_connection(("127.0.0.1", call.port), timeout=20) as peer:
        head = f"POST /api/v1/errors HTTP/1.1\r\nHost: 127.0.0.1:{call.port}\r\nAuthorization: {call.agent['Authorization']}\r\n"
        peer.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        try:
            for _ in range(200):
                peer.sendall(chunk)
            peer.sendall(b"0\r\n\r\n")
            answer = peer.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert not answer or answer.split()[1] in (b"400", b"413")
    assert call("GET", "/healthz").status == 200


def test_another_content_type_is_refused(call: Caller) -> None:
    answer = call("POST", "/api/v1/errors", GOOD, {**call.agent, "Content-Type": "text/plain"})
    assert answer.status == 415


def test_a_heartbeat_is_answered_with_the_state(call: Caller) -> None:
    answer = call("POST", "/api/v1/heartbeats", {"agent": "a", "pid": 7}, call.agent).json
    assert answer["state"]["level"] == "FULL"
    assert answer["policy"]["gates"]["gpt-5.2"] == "use_gpt_5_2"
    assert [agent["name"] for agent in call("GET", "/api/v1/state", headers=call.agent).json["agents"]] == ["a"]


def test_orders_come_at_once_when_the_state_changes(call: Caller) -> None:
    version = call("GET", "/api/v1/agents/a/orders", headers=call.agent).json["state"]["version"]
    answers: list[str] = []

    def wait() -> None:
        path = f"/api/v1/agents/a/orders?wait=20&version={version}"
        answers.append(call("GET", path, headers=call.agent).json["state"]["level"])

    waiter = threading.Thread(target=wait)
    waiter.start()
    call.winclaw.core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="here").result(10)
    waiter.join(15)
    assert answers == ["SAFE_MODE"]
