"""The description of the API: it is sound, leaves no route out, and says of who may do what and of each answer what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from resilience.core.inputs import HealTold
from resilience.healing.heals import HealState
from resilience.journal.samples import Sample
from tests.dashboard.conftest import Answer, Caller
from tests.dashboard.test_healing import heal
from tests.dashboard.test_pages import process_that_wrote
from tests.dashboard.test_samples import measured

OUTPUT = "/api/v1/processes/{name}/output"


@pytest.fixture
def description(call: Caller) -> dict[str, Any]:
    return call("GET", "/api/v1/openapi.json", headers=call.agent).json


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, by_method in description["paths"].items():
        for method, told in by_method.items():
            yield method.upper(), path, told


def test_it_is_for_who_may_read_and_sound(call: Caller, description: dict[str, Any]) -> None:
    validate(description)
    assert call("GET", "/api/v1/openapi.json", headers=call.login()).json == description
    assert call("GET", "/api/v1/openapi.json").status == 401
    assert call.winclaw.access.cookie == description["components"]["securitySchemes"]["session"]["name"]


def test_every_route_is_described(description: dict[str, Any]) -> None:
    """One that was added without ``@operation`` stands in it without answers."""
    assert [f"{method} {path}" for method, path, told in operations(description) if "summary" not in told] == []
    assert {"/api/v1/state", "/api/v1/agents/{name}/orders", "/api/v1/config", "/api/v1/openapi.json"} <= set(description["paths"])


def test_every_type_says_what_it_is(description: dict[str, Any]) -> None:
    untold = [name for name, one in description["components"]["schemas"].items() if "properties" in one and not one.get("description")]
    assert untold == []


def test_agents_may_do_what_is_described_for_them_and_nothing_else(call: Caller, description: dict[str, Any]) -> None:
    for method, path, told in operations(description):
        answer = call(method, re.sub(r"{\w+}", "0", path), None, call.agent)
        assert (answer.status == 403) == ({"agent": []} not in told["security"]), (method, path, answer.body)
        assert call(method, re.sub(r"{\w+}", "0", path)).status == 401
        assert {"operator": []} in told["security"]
        if method != "GET":
            assert {"session": [], "csrf": []} in told["security"]


def closed(schema: Any) -> Any:
    """``schema``, which now has no room for members that it does not name."""
    match schema:
        case {"properties": _, **others} if "additionalProperties" not in others:
            return closed({**schema, "additionalProperties": False})
        case dict():
            return {name: closed(one) for name, one in schema.items()}
        case list():
            return [closed(one) for one in schema]
        case _:
            return schema


def holds(description: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    told = description["paths"][path][method.lower()]["responses"][str(answer.status)]
    while "$ref" in told:
        told = description["components"]["responses"][told["$ref"].rpartition("/")[2]]
    schema = closed({**told["content"][answer.headers["Content-Type"]]["schema"], "components": description["components"]})
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json)


def busy(call: Caller) -> None:
    """Has something of everything happen that can be had without waiting."""
    report = {"type": "ECONNREFUSED", "message": "no", "component": "gpt-5.2", "operation": "ask", "severity": "CRITICAL", "stack": "x", "metadata": {"a": 1}, "cause": {"type": "OSError"}}
    loop = {"loop": "planning", "state": "stuck", "running": 1, "beat_age_s": 99, "because": "it is silent"}
    circuits = [{"service": "gpt-5.2", "state": "OPEN", "change": 1, "retry_after_s": 60, "counts": {"failures": 3}, "p95_ms": 3}, {"service": "gmail_api", "state": "CLOSED"}]
    beat = {"agent": "bot", "pid": 1, "version": "1", "circuits": circuits, "loops": [loop], "healers": ["clear_cache:*", "restore:memory"]}
    for number, state in ((1, HealState.WAITING), (2, HealState.HEALED)):
        call.winclaw.core.tell(HealTold(heal(number, state))).result(10)
    measured(call, 5, Sample("machine", 12.5, 60.0), Sample("gpt-5.2", calls=4, failures=1, p95_ms=830.0))
    assert call("POST", "/api/v1/errors", [report, report], call.agent).status == 200
    assert call("POST", "/api/v1/heartbeats", beat, call.agent).status == 200
    assert call("POST", "/api/v1/checkpoints", {"component": "memory", "state": {"x": [1]}}, call.agent).status == 200
    for path, body in (
        ("circuits/gmail_api/isolate", {"for_s": 60, "reason": "x"}), ("level", {"level": "minimal"}), ("alerts/test", {"channel": "log"}),
        ("recover", {"level": "component", "target": "memory"}),
    ):  # fmt: skip
        assert call("POST", f"/api/v1/{path}", body, call.operator).status == 200, path


def test_answers_are_as_described_and_tell_nothing_beside(call: Caller, description: dict[str, Any]) -> None:
    busy(call)
    error = call("GET", "/api/v1/errors", headers=call.agent).json["errors"][0]["id"]
    alert = next(one.id for one in call.winclaw.core.state.alerts.values() if not one.cause.about.startswith("test:"))
    saved = call("GET", "/api/v1/checkpoints", headers=call.agent).json["checkpoints"][0]["id"]
    recovery = max(call.winclaw.core.state.recoveries)
    names = {"error_id": error, "checkpoint_id": saved, "name": "bot"}
    numbers = {"/api/v1/recovery/{number}": recovery, "/api/v1/config/versions/{number}": 1, "/api/v1/healing/{number}": 1}
    for method, path, _ in operations(description):
        if method == "GET" and path != OUTPUT:
            at = path.replace("{number}", str(numbers.get(path, alert)))
            answer = call("GET", re.sub(r"{(\w+)}", lambda found: str(names[found[1]]), at), headers=call.operator)
            holds(description, method, path, answer)
            assert answer.status == 200, (path, answer.body)
    posts = [
        ("alerts/{number}/{decision}", f"alerts/{alert}/snooze", {"for_s": 60}), ("alerts/ack", "alerts/ack", None), ("recover", "recover", {"level": "component", "target": "memory", "dry_run": True}),
        ("level", "level", {"level": "safe-mode"}), ("level", "level", {"level": "auto"}), ("config/rollback", "config/rollback", {"version": 1}), ("config/rollback", "config/rollback", {"version": "x"}),
        ("errors", "errors", {"type": "X"}), ("heartbeats", "heartbeats", {"agent": "bot"}), ("login-links", "login-links", None),
        ("healing/{number}/{decision}", "healing/1/approve", None), ("circuits/{service}/{command}", "circuits/nobody/release", None), ("checkpoints", "checkpoints", {"component": "m", "state": None}),
    ]  # fmt: skip
    for path, at, body in posts:
        holds(description, "POST", f"/api/v1/{path}", call("POST", f"/api/v1/{at}", body, call.operator))


def test_output_comes_as_text_and_piece_by_piece(call: Caller, description: dict[str, Any], tmp_path: Path) -> None:
    """An empty mark is one, too: it asks for the first piece."""
    process_that_wrote(call, tmp_path / "home", "one\ntw")
    told = description["paths"][OUTPUT]["get"]["responses"]["200"]["content"]
    assert told["text/plain"] == {"schema": {"type": "string"}}
    at = OUTPUT.format(name="bot")
    assert call("GET", at, headers=call.operator).body.decode() == "one\ntw"
    for after in ("", "4-0"):
        holds(description, "GET", OUTPUT, call("GET", f"{at}?after={after}", headers=call.operator))
