"""Recovery over HTTP: who may do what, checkpoints of agents in any language, plans, and recoveries."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from msgspec.structs import replace

from dashboard.recovery import RecoveryDesk
from resilience.clock import SystemClock
from resilience.home import CHECKPOINTS, TRANSACTIONS
from resilience.recovery.plans import Recovery, RecoveryLevel, RecoveryState
from resilience.testing import immediate_retries
from resilience.transactions.manager import TransactionManager
from tests.dashboard.conftest import Caller
from tests.dashboard.remembering import remembering
from tray.app import Running

LARGE = "x" * 1_500_000


def test_an_agent_in_any_language_saves_and_loads_states(call: Caller) -> None:
    answer = call("POST", "/api/v1/checkpoints", {"component": "memory", "level": "memory", "state": {"facts": [1, 2.5, None, 10**30]}}, call.agent)
    assert answer.status == 200, answer.body
    saved = answer.json
    assert (saved["component"], saved["level"], saved["parent_checkpoint"]) == ("memory", "memory", None)
    assert "state" not in saved
    asked = {"component": "memory", "state": LARGE, "metadata": {"why": "large"}, "parent": saved["id"]}
    second = call("POST", "/api/v1/checkpoints", asked, call.agent).json
    heads = call("GET", "/api/v1/checkpoints?component=memory", None, call.agent).json["checkpoints"]
    assert [(one["id"], one["level"]) for one in heads] == [(second["id"], "component"), (saved["id"], "memory")]
    [only] = call("GET", "/api/v1/checkpoints?level=memory", None, call.agent).json["checkpoints"]
    assert only["id"] == saved["id"]
    found = call("GET", f"/api/v1/checkpoints/{saved['id']}", None, call.agent).json
    assert found["state"] == {"facts": [1, 2.5, None, 10**30]}
    assert call("GET", f"/api/v1/checkpoints/{second['id']}", None, call.agent).json["state"] == LARGE


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"state": {}}, 422, ""),
        ({"component": "m", "state": {}, "level": "disaster"}, 422, "level"),
        ({"component": "", "state": {}}, 422, "component"),
        ({"component": "m", "state": {}, "colour": "red"}, 422, ""),
        (b'{"component": "m", "state": NaN}', 400, None),
        (b'{"component": "m", "state": ' + b"[" * 150 + b"]" * 150 + b"}", 422, "state"),
        ({"component": "m", "state": {}, "metadata": {"x": "y" * 120_000}}, 413, "state"),
    ],
)
def test_an_unfit_checkpoint_is_refused_with_its_field(call: Caller, body: Any, status: int, field: str | None) -> None:
    answer = call("POST", "/api/v1/checkpoints", body, call.agent)
    assert answer.status == status, answer.body
    assert answer.json.get("field") == field
    assert call("GET", "/api/v1/checkpoints", None, call.agent).json["checkpoints"] == []


def test_a_state_past_the_limit_is_refused(call: Caller, winclaw: Running) -> None:
    limit = winclaw.core.state.settings.checkpoint.max_state_mb
    answer = call("POST", "/api/v1/checkpoints", {"component": "m", "state": "x" * (limit * 1_000_000 + 1)}, call.agent)
    assert answer.status == 413
    assert "16 MB is the limit (checkpoint.max_state_mb)" in answer.json["detail"]


def test_a_damaged_checkpoint_is_said_to_be_and_becomes_an_error(call: Caller, winclaw: Running, tmp_path: Path) -> None:
    told = threading.Event()
    winclaw.core.subscribe(lambda events, _: told.set() if any(one.type == "error" for one in events) else None)
    saved = call("POST", "/api/v1/checkpoints", {"component": "m", "state": [1]}, call.agent).json
    [path] = (tmp_path / "home" / CHECKPOINTS).rglob("*.checkpoint")
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    answer = call("GET", f"/api/v1/checkpoints/{saved['id']}", None, call.agent)
    assert answer.status == 410
    assert told.wait(10)
    [error] = call("GET", "/api/v1/errors?component=checkpoints", None, call.agent).json["errors"]
    assert error["error_type"] == "DiskFailureError"
    assert call("GET", f"/api/v1/checkpoints/{saved['id']}", None, call.agent).status == 404


@pytest.mark.parametrize("hostile", ["chk_00000001_0123456789abcdef", "..%5c..%5coperator.json", "*"])
def test_a_checkpoint_that_there_is_not_is_not_found(call: Caller, hostile: str) -> None:
    assert call("GET", f"/api/v1/checkpoints/{hostile}", None, call.agent).status == 404


def test_agents_may_not_command_a_recovery(call: Caller) -> None:
    assert call("POST", "/api/v1/recover", {"level": "system"}, call.agent).status == 403
    assert call("POST", "/recovery", b"level=system", call.agent).status == 403
    assert call("GET", "/api/v1/recovery", None, call.agent).status == 200
    assert call("GET", "/api/v1/recovery").status == 401


def test_a_plan_is_shown_and_nothing_is_done(call: Caller, winclaw: Running) -> None:
    plan = call("POST", "/api/v1/recover", {"level": "system", "dry_run": True}, call.operator).json["plan"]
    assert [(step["do"], step["state"]) for step in plan] == [("save", "planned"), ("reload_config", "planned")]
    disaster = call("POST", "/api/v1/recover", {"level": "disaster", "target": "day.zip", "dry_run": True}, call.operator).json["plan"]
    assert "day.zip" in disaster[0]["what"]
    assert winclaw.core.state.recoveries == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"level": "component", "target": "nothing"}, "Nothing can be done for nothing: it is no supervised process"),
        ({"level": "operation", "target": "m", "dry_run": True}, "There is no checkpoint of m at the level operation."),
        ({"level": "disaster", "target": "day.zip"}, "quit it, then winclaw restore"),
        ({"level": "component"}, "Say what is to be recovered: the name of a component, or the id of a session."),
        ({"level": "system", "target": "m"}, "The system is recovered as a whole; to recover m alone, take the level component."),
        ({"level": "system", "checkpoint": "x"}, "No single checkpoint can be chosen at the level system."),
        ({"level": "component", "target": "m", "checkpoint": "x"}, "There is no checkpoint x, or it has made room for newer ones."),
    ],
)
def test_where_there_is_nothing_to_recover_the_answer_says_why(call: Caller, body: dict[str, Any], said: str) -> None:
    answer = call("POST", "/api/v1/recover", body, call.operator)
    assert (answer.status, answer.json["title"]) == (422, "Nothing to recover")
    assert said in answer.json["detail"]


def test_a_level_that_there_is_not_is_refused(call: Caller) -> None:
    assert call("POST", "/api/v1/recover", {"level": "galaxy"}, call.operator).json["field"] == "level"
    assert call("GET", "/recovery?level=galaxy", None, call.login()).status == 422


def test_the_system_is_recovered_and_the_record_kept(call: Caller) -> None:
    begun = call("POST", "/api/v1/recover", {"level": "system"}, call.operator).json["recovery"]
    number, one = begun["id"], begun
    while one["state"] == "running":
        one = call("GET", f"/api/v1/recovery/{number}?wait=25", None, call.operator).json
    assert one["state"] == "recovered"
    [known] = call("GET", "/api/v1/recovery", None, call.operator).json["recoveries"]
    assert (known["id"], known["actor"], known["done"]) == (number, "command line", 2)
    assert call("GET", "/api/v1/recovery/77", None, call.operator).status == 404


def test_an_agent_of_ours_restores_what_it_is_asked_to(call: Caller, winclaw: Running, tmp_path: Path) -> None:
    """The whole way: saved by the agent, asked for by a person, restored in the agent, proven, and recorded."""
    with remembering(winclaw.core, tmp_path / "home") as (_, memory):
        memory["facts"] = []
        begun = call("POST", "/api/v1/recover", {"level": "component", "target": "memory"}, call.operator).json["recovery"]
        assert [step["do"] for step in begun["steps"]] == ["restore", "verify"]
        one = begun
        while one["state"] == "running":
            one = call("GET", f"/api/v1/recovery/{begun['id']}?wait=25", None, call.operator).json
        assert (one["state"], one["result"]) == ("recovered", "memory is recovered.")
        assert memory == {"facts": [1, 2]}
        assert "was looked at" in one["steps"][0]["result"]


def test_the_answer_of_a_checkpoint_is_json_of_its_very_state(call: Caller) -> None:
    body = b'{"component": "m", "state": {"a": 1e400000000000000000000000000}}'
    assert call("POST", "/api/v1/checkpoints", body, call.agent).status in (400, 422)
    body = b'{"component": "m", "state": {"\\u00e4": "\\ud83d\\ude00", "n": 0.1}}'
    saved = call("POST", "/api/v1/checkpoints", body, call.agent).json
    found = call("GET", f"/api/v1/checkpoints/{saved['id']}", None, call.agent)
    assert json.loads(found.body)["state"] == {"ä": "😀", "n": 0.1}


def saved_again(call: Caller, component: str = "m") -> None:
    """A component that can be restored, with one checkpoint more."""
    assert call("POST", "/api/v1/heartbeats", {"agent": "bot", "pid": 7, "healers": [f"restore:{component}"]}, call.agent).status == 200
    assert call("POST", "/api/v1/checkpoints", {"component": component, "state": [1]}, call.agent).status == 200


def test_another_plan_than_was_shown_is_not_begun_and_is_in_the_answer(call: Caller, winclaw: Running) -> None:
    saved_again(call)
    asked = {"level": "component", "target": "m"}
    shown = call("POST", "/api/v1/recover", {**asked, "dry_run": True}, call.operator).json
    saved_again(call)
    answer = call("POST", "/api/v1/recover", {**asked, "plan": shown["digest"]}, call.operator)
    assert (answer.status, answer.json["title"], answer.json["field"]) == (409, "The plan has changed", "plan")
    assert [step["do"] for step in answer.json["plan"]] == ["restore", "verify"]
    assert answer.json["plan"] != shown["plan"]
    assert winclaw.core.state.recoveries == {}
    assert call("POST", "/api/v1/recover", {**asked, "plan": answer.json["digest"]}, call.operator).status == 200


def test_the_page_shows_the_plan_anew_where_it_has_changed(call: Caller, winclaw: Running) -> None:
    saved_again(call, " lead")
    session = call.login()

    def fields(page: bytes) -> dict[str, str]:
        return dict(re.findall(r'name="(level|target|checkpoint|plan|csrf_token)" value="([^"]*)"', page.decode())[-5:])

    page = call("GET", f"/recovery?level=component&target={quote(' lead')}", None, session)
    assert b"Restore  lead from its checkpoint" in page.body, "a name may begin with a blank"
    shown = fields(page.body)
    assert (shown["target"], len(shown["plan"])) == (" lead", 32)
    saved_again(call, " lead")
    form = {**session, "Content-Type": "application/x-www-form-urlencoded"}
    answer = call("POST", "/recovery", urlencode(shown).encode(), form)
    assert answer.status == 409
    assert b"What would be done is no longer what was shown; nothing was done." in answer.body
    assert winclaw.core.state.recoveries == {}
    again = fields(answer.body)
    assert again["plan"] != shown["plan"]
    answer = call("POST", "/recovery", urlencode(again).encode(), form)
    assert (answer.status, answer.headers["Location"]) == (303, "/recovery/1")


def test_what_an_agent_tells_of_a_checkpoint_is_shown_short_and_without_secrets(call: Caller) -> None:
    secret = "Authorization: Bearer sk-abcdefghijklmnopqrstuvwxyz123456 "
    for metadata in ({"made": secret + "A" * 80_000}, {"operation": secret + "B" * 80_000}, {"made": ["C" * 80_000]}):
        call("POST", "/api/v1/checkpoints", {"component": "m", "state": 1, "metadata": metadata}, call.agent)
    page = call("GET", "/recovery", None, call.login()).body.decode()
    assert "sk-abcdefghij" not in page
    assert "before Authorization: [redacted]" in page
    assert max(len(run) for run in re.findall("A+|B+|C+", page)) <= 200
    assert len(page) < 30_000


class _Changing:
    """A core whose recovery ends between two looks at its state."""

    clock = SystemClock()

    def __init__(self) -> None:
        begun = Recovery(
            id=1, level=RecoveryLevel.SYSTEM, target="", actor="dashboard", at=self.clock.now(), steps=()
        )
        self.begun = MappingProxyType({1: begun})
        self.ended = MappingProxyType({1: replace(begun, state=RecoveryState.RECOVERED)})
        self.version, self.waited = 1, list[int]()

    @property
    def state(self) -> Any:
        seen = _Seen(self.version, self.begun if self.version == 1 else self.ended)
        self.version = 2
        return seen

    def wait_for_change(self, version: int, timeout_s: float) -> Any:
        self.waited.append(version)
        assert version == 1, "it would wait for another change, which does not come"
        return _Seen(2, self.ended)


class _Seen:
    def __init__(self, version: int, recoveries: Any) -> None:
        self.version, self.recoveries = version, recoveries


class _NoEngine:
    checkpoints = None


def test_an_end_between_two_looks_is_not_slept_through() -> None:
    core = _Changing()
    desk = RecoveryDesk(core, _NoEngine(), Path())  # type: ignore[arg-type]
    assert desk.progress(1, 25.0).state is RecoveryState.RECOVERED
    assert core.waited == [1]


def test_what_transactions_say_is_shown_without_secrets_and_what_they_kept_is_not(call: Caller, tmp_path: Path) -> None:
    """Redacted where it is written, and once more where it is shown: what an older agent has written was not."""
    manager = TransactionManager(tmp_path / "home" / TRANSACTIONS, agent="clerk")

    def undo(_: object) -> None:
        raise RuntimeError("401 for https://bob:hunter2secret@mail.example/")

    with immediate_retries(), pytest.raises(KeyError), manager.transaction("send") as tx:
        tx.do(lambda: "kept-geheim", undo=undo, key="mail-7")
        raise KeyError
    manager._ground.file._file.do(lambda conn: conn.execute("UPDATE steps SET why = why || ' token=geheim'"))
    manager.close()
    answer = call("GET", "/api/v1/recovery", None, call.agent)
    [one] = answer.json["transactions"]
    [left] = one["left"]
    assert (one["agent"], one["state"], left["key"]) == ("clerk", "left", "mail-7")
    assert left["why"] == "RuntimeError: 401 for https://bob:[redacted]@mail.example/ token=[redacted]"
    page = call("GET", "/recovery", None, call.login()).body
    for secret in (b"geheim", b"hunter2secret"):
        assert secret not in answer.body
        assert secret not in page
    assert f'agent.transactions.dismiss("{one["id"]}")'.encode() in page
