"""The page of an incident: where it stands, its alerts in order, and what happened in few lines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard.present import events, incidents
from resilience.alerting.alerts import Alert, AlertState, Cause
from resilience.alerting.digest import digest
from resilience.alerting.incidents import Incident, of_alert
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.events import Event
from tests.dashboard.present.conftest import NOW


def an_incident(*states: AlertState) -> Incident:
    """An incident with an alert in each state."""
    cause = Cause(about="error:f", title="E at kitchen", message="M", severity=ErrorSeverity.CRITICAL, component="kitchen")
    alerts = [Alert(id=number, cause=cause, at=NOW, last_at=NOW, state=state) for number, state in enumerate(states, start=1)]
    return of_alert(alerts, 1)


def happened(number: int, kind: str = "error", fingerprint: str = "f") -> Event:
    body = {"message": "it burns", "operation": "cook", "kind": "k", "severity": "ERROR", "fingerprint": fingerprint}
    return Event(number, as_text(NOW + timedelta(seconds=number)), kind, "kitchen", body if kind == "error" else {})


@pytest.mark.parametrize(
    ("states", "looks"),
    [
        ((AlertState.OPEN, AlertState.ACKNOWLEDGED), ("bad", "sq", "open")),
        ((AlertState.ACKNOWLEDGED, AlertState.RESOLVED), ("info", "ring", "acknowledged")),
        ((AlertState.RESOLVED, AlertState.RESOLVED), ("off", "dash", "over")),
    ],
)
def test_an_incident_is_open_until_all_that_is_open_is_acknowledged(
    states: tuple[AlertState, ...], looks: tuple[str, str, str]
) -> None:
    row = incidents.incident(an_incident(*states), [], NOW)
    assert (row["tone"], row["shape"], row["word"]) == looks


def test_the_page_has_what_the_api_has_and_the_rows_of_its_alerts_in_order() -> None:
    one, found = an_incident(AlertState.RESOLVED, AlertState.OPEN), [happened(1)]
    row = incidents.incident(one, iter(found), NOW)
    assert row.items() >= one.view().items()
    assert row["digest"] == digest(one, found, NOW)
    assert [(alert["id"], alert["word"], alert["told"]) for alert in row["rows"]] == [(1, "resolved", []), (2, "open", [])]
    assert (row["severity_tone"], row["severity_shape"]) == ("bad", "oct")


def lines(*found: Event) -> list[dict[str, Any]]:
    """What the page says of these events."""
    row = incidents.incident(an_incident(AlertState.OPEN), found, NOW)
    return list(row["lines"])


def test_an_error_that_comes_again_before_anything_else_is_one_line() -> None:
    found = [happened(1), happened(2, fingerprint="g"), happened(3), happened(4, "circuit.opened"), happened(5), happened(6)]
    assert [(line["id"], line["times"]) for line in lines(*found)] == [(1, 2), (2, 1), (4, 1), (5, 2)]


def test_every_line_has_its_words_and_none_is_new() -> None:
    (line,) = lines(happened(1))
    assert line == {**happened(1).view(), "line": events.line(happened(1).view()), "times": 1, "first": False}


def test_what_does_not_belong_to_it_has_no_line() -> None:
    assert lines(Event(1, as_text(NOW), "process.failed", "cellar", {})) == []
