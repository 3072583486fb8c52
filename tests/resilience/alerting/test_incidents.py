"""What belongs together in an incident, and what happened around it."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.alerting.alerts import AlertState
from resilience.alerting.incidents import incidents, of_alert, timeline
from resilience.context import ErrorSeverity
from resilience.events import Event
from tests.resilience.alerting.stories import MOMENT, NOON, alert, at, event, ids, one_of

# What belongs together.


@pytest.mark.parametrize(("later_s", "groups"), [(300, [[1, 2]]), (300 + MOMENT, [[2], [1]])])
def test_what_begins_within_five_minutes_is_one_incident(later_s: float, groups: list[list[int]]) -> None:
    assert ids(alert(1), alert(2, later_s)) == groups


def test_openings_chain_by_the_latest_and_not_by_the_first() -> None:
    assert ids(alert(1), alert(2, 300), alert(3, 600), alert(4, 901)) == [[4], [1, 2, 3]]


def test_alerts_are_taken_in_the_order_in_which_they_began_then_by_number() -> None:
    assert ids(alert(3, 10), alert(2), alert(1, 10)) == [[2, 1, 3]]


@pytest.mark.parametrize(
    ("over_s", "groups"), [(None, [[1, 2]]), (4000, [[1, 2]]), (3600, [[1, 2]]), (3600 - MOMENT, [[2], [1]])]
)
def test_the_same_component_is_the_same_incident_while_it_is_not_over(over_s: float | None, groups: list[list[int]]) -> None:
    assert ids(alert(1, 0, over_s, component="a"), alert(2, 3600, component="a")) == groups


@pytest.mark.parametrize(
    ("first", "second", "groups"),
    [
        ({"component": "a"}, {"component": "b", "needs": ("x", "a")}, [[1, 2]]),
        ({"component": "b", "needs": ("x", "a")}, {"component": "a"}, [[1, 2]]),
        ({"component": "a"}, {"component": "b", "needs": ("x",)}, [[2], [1]]),
        ({"component": "a", "needs": ("x",)}, {"component": "b", "needs": ("x",)}, [[2], [1]]),
    ],
)
def test_what_needs_what_is_down_belongs_to_it(first: dict[str, Any], second: dict[str, Any], groups: list[list[int]]) -> None:
    assert ids(alert(1, **first), alert(2, 3600, **second)) == groups


def test_an_acknowledged_alert_is_still_open() -> None:
    first = alert(1, component="a", state=AlertState.ACKNOWLEDGED, acknowledged_at=at(1), actor="Ada")
    assert ids(first, alert(2, 3600, component="a")) == [[1, 2]]


def test_one_that_has_to_do_with_an_older_incident_joins_that_and_not_the_one_before_it() -> None:
    older, newer, third = alert(1, component="a"), alert(2, 3600), alert(3, 3610, component="a")
    assert ids(older, newer, third) == [[2], [1, 3]]
    assert ids(older, newer, third, alert(4, 3700)) == [[2], [1, 3, 4]]


def test_of_two_incidents_it_has_to_do_with_it_joins_the_newer() -> None:
    assert ids(alert(1, component="a"), alert(2, 3600, component="b"), alert(3, 9000, needs=("a", "b"))) == [[2, 3], [1]]


def test_a_test_of_a_channel_belongs_to_nothing_and_links_nothing() -> None:
    assert ids(alert(1), alert(2, 200, about="test:email"), alert(3, 400)) == [[3], [1]]
    assert ids(alert(1, about="latest:a")) == [[1]]
    assert incidents([]) == ()


def test_an_incident_has_the_number_of_its_first_alert_and_the_title_of_its_worst() -> None:
    fatal = ErrorSeverity.FATAL
    found = one_of(alert(7), alert(8, 1, severity=fatal, title="worst"), alert(9, 2, severity=fatal, title="as bad"))
    assert (found.id, found.began, found.severity, found.title) == (7, NOON, fatal, "worst")


def test_an_incident_ends_with_the_last_of_its_alerts() -> None:
    assert one_of(alert(1, 0, 900), alert(2, 5, 600)).ended == at(900)
    assert one_of(alert(1, 0, 900), alert(2, 5)).ended is None
    assert one_of(alert(1, state=AlertState.RESOLVED, last_at=at(50))).ended == at(50)


def test_the_incident_of_an_alert_is_found_by_any_of_its_numbers() -> None:
    alerts = [alert(1), alert(2, 10), alert(3, 9000), alert(4, 9001, about="test:sms")]
    assert [of_alert(alerts, number).id for number in (1, 2, 3)] == [1, 1, 3]
    for missing in (4, 5):
        with pytest.raises(KeyError, match=str(missing)):
            of_alert(alerts, missing)


def test_the_view_of_an_incident() -> None:
    seen = {"state": AlertState.RESOLVED, "actor": "Bob"}
    found = one_of(
        alert(1, 0, 300, component="a", acknowledged_at=at(90), actor="Bob"), alert(2, 5, 100, component="b"),
        alert(3, 6, 200, component="a", acknowledged_at=at(60), **seen), alert(4, 7, 7, acknowledged_at=at(70), actor="Ada"),
    )  # fmt: skip
    view = found.view()
    assert view == {
        "id": 1, "title": "T1", "severity": "ERROR", "began": "2026-01-01T12:00:00+00:00", "ended": "2026-01-01T12:05:00+00:00",
        "alerts": [1, 2, 3, 4], "components": ["a", "b", "c4"], "acknowledged_by": ["Bob", "Ada"],
    }  # fmt: skip
    assert found.acknowledged == {"Bob": at(60), "Ada": at(70)}
    assert one_of(alert(1)).view()["ended"] is None


# What happened around it.


@pytest.mark.parametrize(
    ("seconds", "belongs"), [(-60 - MOMENT, False), (-60, True), (100, True), (100 + MOMENT, False)]
)
def test_what_happened_from_a_minute_before_to_the_end_belongs(seconds: float, belongs: bool) -> None:
    assert bool(timeline(one_of(alert(1, 0, 100)), [event(1, "error", seconds)])) is belongs


def test_what_happens_while_it_goes_on_belongs() -> None:
    assert timeline(one_of(alert(1)), [event(1, "error", 1e6)])


@pytest.mark.parametrize(
    ("happened", "belongs"),
    [
        (event(1, "process.failed", component="a"), True),
        (event(1, "process.failed", component="needed"), True),
        (event(1, "process.failed", component="b"), True),
        (event(1, "process.failed", component="other"), False),
        (event(1, "level.changed", component="level"), True),
        (event(1, "command", component="level"), False),
        (event(1, "audit", component="a"), False),
        (event(1, "alert.undelivered", component="sms", alert=2), True),
        (event(1, "alert.undelivered", component="sms", alert=3), False),
        (event(1, "alert.undelivered", component="a"), False),
        (event(1, "heal.ended", component="other", diagnosis={"component": "a"}), True),
        (event(1, "heal.ended", component="other", diagnosis={"component": "other"}), False),
        (event(1, "heal.ended", component="other", diagnosis={"component": ["a"]}), False),
        (event(1, "heal.ended", component="other", diagnosis={}), False),
        (event(1, "heal.ended", component="other", diagnosis="a"), False),
        (event(1, "heal.ended", component="a", diagnosis={"component": "other"}), True),
    ],
)
def test_what_matters_is_the_level_and_what_concerns_its_components_and_what_they_need(happened: Event, belongs: bool) -> None:
    incident = one_of(alert(1, component="a", needs=("needed",)), alert(2, component="b"))
    assert incident.touched == {"a", "needed", "b"}
    assert bool(timeline(incident, [happened])) is belongs


def test_a_timeline_is_in_order_of_time_then_of_id() -> None:
    events = [event(3, "error", 5), event(2, "error", 5), event(1, "error", 9)]
    assert [one.id for one in timeline(one_of(alert(1)), events)] == [2, 3, 1]


def test_of_too_many_events_those_errors_are_left_out_that_came_before() -> None:
    errors = [event(number, "error", number, fingerprint="f") for number in range(1, 251)]
    others = [event(300, "error", 300, fingerprint="g"), event(301, "circuit.opened", 301), event(302, "circuit.closed", 302)]
    found = [one.id for one in timeline(one_of(alert(1)), [*others, *errors])]
    assert found == [*range(1, 198), 300, 301, 302]
    assert len(timeline(one_of(alert(1)), errors[:200])) == 200


def test_events_that_say_nothing_of_what_they_are_are_no_repetition() -> None:
    opened = [event(number, "circuit.opened", number) for number in range(1, 250)]
    assert [one.id for one in timeline(one_of(alert(1)), [event(300, "error", 300), *opened])] == [*range(1, 201)]
