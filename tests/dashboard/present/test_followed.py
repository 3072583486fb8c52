"""What was done about an error: only what is known to be about it."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.present.followed import done_about, followed
from resilience.alerting.alerts import Alert, AlertState, Cause
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.core.services import ServiceCircuit, Services
from resilience.core.state import State
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from tests.dashboard.present.conftest import NOW
from tests.tray.states import a_state

ERROR: dict[str, Any] = {"id": 5, "at": as_text(NOW), "component": "gpt-5.2", "fingerprint": "f", "metadata": {}}
GROUP = {"component": "gpt-5.2", "fingerprint": "f", "first_at": as_text(NOW)}


def event(kind: str, component: str = "gpt-5.2", **body: Any) -> dict[str, Any]:
    return {"id": 6, "at": as_text(NOW + timedelta(seconds=1)), "type": kind, "component": component, **body}


def an_alert(state: AlertState = AlertState.OPEN, fingerprint: str = "f", **more: Any) -> Alert:
    cause = Cause(about=f"error:{fingerprint}", title="E", message="m", severity=ErrorSeverity.ERROR, component="gpt-5.2")
    return Alert(id=3, cause=cause, at=NOW, last_at=NOW, state=state, **more)


def a_heal(state: HealState = HealState.HEALED, target: str = "gpt-5.2", seen_at: str = "gpt-5.2", after_s: float = 1) -> Heal:
    return Heal(
        id=9, rule="r", action=HealingActionType.CLEAR_CACHE, target=target, state=state, trigger="t",
        diagnosis=Diagnosis(pattern="r", component=seen_at, root_cause=target), at=NOW + timedelta(seconds=after_s),
    )  # fmt: skip


def knows(alert: Alert | None = None, heal: Heal | None = None, circuit: str = "") -> State:
    state = a_state()
    if circuit:
        one = ServiceCircuit(name="gpt-5.2", state=circuit, since=NOW, because="b")  # type: ignore[arg-type]
        state = replace(state, services=Services(circuits={"gpt-5.2": one}))
    return replace(
        state, alerts=MappingProxyType({alert.id: alert} if alert else {}), heals=MappingProxyType({heal.id: heal} if heal else {})
    )


def texts(*happened: dict[str, Any], error: dict[str, Any] = ERROR, state: State | None = None) -> list[tuple[str, str]]:
    return [(line["text"], line["href"]) for line in followed(error, happened, state or a_state())]


def test_what_is_about_its_component_is_told_in_order_with_its_page() -> None:
    heal = {"heal": 9, "action": "clear_cache", "outcome": "healed", "trigger": "t", "result": "", "verification": "it answers"}
    found = texts(
        event("circuit.opened", because="3 of 3 failed"),
        event("level.changed", "level", **{"from": "FULL", "to": "DEGRADED_LLM", "cause": "gpt-5.2 is down (llm_failure)"}),
        event("heal.ended", "other", **heal, diagnosis={"component": "gpt-5.2"}),
        event("command", "gpt-5.2", asked="reset", actor="tray", origin="here"),
    )
    assert found == [
        ("gpt-5.2 is open", "/circuits"), ("Full → Degraded LLM", ""), ("other is healed", "/healing/9"),
        ("Somebody at the tray closed gpt-5.2", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        event("circuit.opened", "gmail_api", because="x"), event("error"), event("audit", agent="a"), event("agent.left"),
        event("level.changed", "level", **{"from": "FULL", "to": "MINIMAL", "cause": "gpt-5.21 and my-gpt-5.2 are down"}),
        event("alert.undelivered", "email", alert=4, why="x", title="y"), event("heal.ended", "x", diagnosis="odd"),
    ],
    ids=lambda one: one["type"],
)  # fmt: skip
def test_what_is_about_something_else_is_left_out(other: dict[str, Any]) -> None:
    assert texts(other, state=knows(an_alert())) == texts(state=knows(an_alert()))


@pytest.mark.parametrize(("count", "words"), [(1, "once"), (4, "4 times")])
def test_retries_come_first_and_only_where_there_were_some(count: int, words: str) -> None:
    error = {**ERROR, "metadata": {"retry_count": count}}
    assert texts(error=error) == [(f"The call was tried again {words}, and this is how the last try ended", "")]
    assert texts(error={**ERROR, "metadata": {"retry_count": 0}}) == texts(error={**ERROR, "metadata": None}) == []


def test_its_alert_says_who_was_told() -> None:
    alert = an_alert().telling("raised", "x", ["log", "email"], NOW)
    (line,) = followed(ERROR, [], knows(alert))
    assert (line["text"], line["detail"], line["tone"], line["href"]) == (
        "An alert: E", "nobody has been told", "warn", "/incidents/3",
    )  # fmt: skip
    sent = alert.told(*(one.heard(NOW, delivered=True, why="") for one in alert.tellings))
    seen = replace(sent, state=AlertState.ACKNOWLEDGED, actor="tray", acknowledged_at=NOW)
    (line,) = followed(ERROR, [], knows(seen))
    assert (line["detail"], line["tone"]) == ("told by Log, Email; somebody at the tray sees to it", "info")
    (line,) = followed(ERROR, [], knows(an_alert(silent="snoozed")))
    assert line["detail"] == "snoozed"
    undelivered = event("alert.undelivered", "email", alert=3, why="no", title="E")
    assert ("An alert did not arrive by email", "/alerts#told") in texts(undelivered, state=knows(alert))
    assert followed(ERROR, [], knows(an_alert(fingerprint="other"))) == []
    late = {**ERROR, "at": as_text(NOW + timedelta(hours=1))}
    assert followed(late, [], knows(alert)) == [], "the alert had seen nothing of it"


def test_not_more_than_a_dozen_events_are_told() -> None:
    assert len(texts(*[event("process.started", pid=1)] * 20)) == 12


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (knows(), None),
        (knows(an_alert()), ("alert open", "warn", "/incidents/3")),
        (knows(an_alert(AlertState.ACKNOWLEDGED)), ("acknowledged", "info", "/incidents/3")),
        (knows(an_alert(AlertState.RESOLVED)), ("alert resolved", "off", "/incidents/3")),
        (knows(an_alert(fingerprint="g")), None),
        (knows(an_alert(), a_heal()), ("healed", "ok", "/healing/9")),
        (knows(heal=a_heal(target="process", seen_at="gpt-5.2")), ("healed", "ok", "/healing/9")),
        (knows(heal=a_heal(target="a", seen_at="b")), None),
        (knows(heal=a_heal(after_s=-5)), None),
        (knows(an_alert(), a_heal(), "OPEN"), ("circuit open", "bad", "/circuits")),
        (knows(an_alert(), a_heal(), "CLOSED"), ("healed", "ok", "/healing/9")),
        (knows(an_alert(), a_heal(HealState.WAITING), "OPEN"), ("waits for you", "warn", "/healing/9")),
        (knows(heal=a_heal(HealState.ESCALATED), circuit="OPEN"), ("needs you", "bad", "/healing/9")),
    ],
)
def test_of_a_trouble_the_nearest_that_is_done_is_told(state: State, word: tuple[str, str, str] | None) -> None:
    found = done_about(GROUP, state)
    assert (found and (found["word"], found["tone"], found["href"])) == word
