"""What keeps an alert silent, and what is told when that is over: snooze, maintenance, and what it cannot work without."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from resilience.alerting.alerts import AlertState
from resilience.alerting.policy import Maintenance
from resilience.alerting.routing import NETWORK
from resilience.alerting.silences import LONGEST_SNOOZE, time_of
from tests.resilience.alerting.desk import WINDOW_S, Desk, caused


def test_a_snoozed_alert_is_silent_until_the_end_and_then_tells_that_it_lasts() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL"))
    until = desk.at + timedelta(hours=1)
    assert "snoozed until" in desk.person(lambda turn: turn.snooze(1, until)).silent
    desk.lasts(caused("FATAL"))
    desk.pass_s(3599)
    assert desk.told() == ["raised"]
    desk.pass_s(1)
    assert (desk.told(), desk.last.silent, desk.last.snoozed_until) == (["raised", "again"], "", None)
    with pytest.raises(KeyError):
        desk.turn().snooze(9, until)


def test_a_snoozed_error_that_has_not_come_again_tells_nothing_when_the_snooze_ends() -> None:
    desk = Desk()
    desk.happens()
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(minutes=5)))
    desk.pass_s(300)
    assert (desk.told(), desk.last.silent) == (["raised"], "")


def test_a_snoozed_error_that_came_again_is_one_message_when_the_snooze_ends() -> None:
    desk = Desk()
    desk.happens()
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(minutes=10)))
    desk.happens(times=40)
    desk.pass_s(600)
    desk.pass_s(WINDOW_S)
    assert (desk.told(), desk.last.count) == (["raised", "again"], 41)


def test_what_is_over_while_it_is_snoozed_is_said() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    desk.lasts()
    assert (desk.told(), desk.last.state) == (["raised"], AlertState.RESOLVED)
    desk.pass_s(3600)
    desk.pass_s(1)
    assert (desk.told(), desk.last.silent) == (["raised", "resolved"], "")


def test_who_acknowledges_ends_the_snooze() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    desk.person(lambda turn: turn.acknowledge(1, "ada", "here"))
    assert (desk.last.silent, desk.last.snoozed_until, desk.last.origin) == ("", None, "here")
    desk.pass_s(3600)
    assert desk.told() == ["raised"]


def test_while_all_is_snoozed_only_what_is_fatal_is_told() -> None:
    desk = Desk()
    desk.snoozed_until = desk.at + timedelta(hours=1)
    desk.lasts(caused("CRITICAL", "process:a"), caused("FATAL", "journal"))
    assert [(one.id, len(one.tellings), "all alerts are snoozed" in one.silent) for one in desk.alerts.values()] == [
        (1, 0, True), (2, 7, False),
    ]  # fmt: skip
    desk.pass_s(3600)
    assert desk.told() == ["raised", "raised"]


def test_maintenance_is_silent_for_its_components_and_tells_afterwards_what_lasts() -> None:
    desk = Desk(maintenance=(Maintenance(components=("kitchen",), starts="2020-01-01T00:00", ends="2030-01-01T00:00"),))
    desk.lasts(caused(about="a"), caused(about="b", component="cellar"))
    assert [one.silent for one in desk.alerts.values()] == ["maintenance: maintenance", ""]
    assert desk.told() == ["raised"]
    desk.policy = Desk().policy
    desk.pass_s(1)
    assert desk.told() == ["raised", "raised"]


def test_what_is_raised_and_over_in_silence_is_never_told() -> None:
    desk = Desk()
    desk.snoozed_until = desk.at + timedelta(hours=1)
    desk.lasts(caused())
    desk.lasts()
    desk.pass_s(3600)
    assert (desk.told(), desk.last.state) == ([], AlertState.RESOLVED)


# Behind what it needs.


def test_what_needs_something_waits_whether_that_is_down_too_and_is_told_if_not() -> None:
    desk = Desk()
    desk.lasts(caused(needs=("database",)))
    assert "database" in desk.last.silent
    desk.pass_s(9.9)
    assert desk.told() == []
    desk.pass_s(0.1)
    assert (desk.told(), desk.last.silent, desk.last.due_s) == (["raised"], "", None)
    desk.pass_s(60)
    assert desk.told() == ["raised"]


def test_what_is_fatal_waits_for_nothing() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.lasts(caused("FATAL", needs=("database",)))
    assert desk.told() == ["raised"]


def test_behind_what_is_down_nothing_is_told_and_what_lasts_longer_is() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.lasts(caused(needs=("cable", "database")))
    assert (desk.last.silent, desk.last.behind) == ("it needs database, which is down", "database")
    desk.pass_s(1000)
    assert desk.told() == []
    desk.down = frozenset()
    desk.pass_s(1)
    desk.pass_s(9)
    assert desk.told() == []
    desk.pass_s(1)
    assert (desk.told(), desk.last.behind) == (["raised"], "")


def test_errors_behind_what_is_down_are_forgotten_with_it_until_they_come_again() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.happens(times=100, needs=("database",))
    desk.down = frozenset()
    desk.pass_s(1)
    desk.pass_s(WINDOW_S)
    assert (desk.told(), desk.last.held) == ([], 0)
    desk.happens(needs=("database",))
    assert desk.told() == ["raised"]


def test_what_is_down_does_not_keep_itself_silent() -> None:
    desk = Desk()
    desk.down = frozenset({"kitchen"})
    desk.lasts(caused(needs=("kitchen",)))
    desk.pass_s(10)
    assert desk.told() == ["raised"]


def test_a_dead_network_is_one_alert_not_ten() -> None:
    desk = Desk()
    for number in range(10):
        desk.happens(times=5, about=f"error:{number}", component=f"service {number}", severity="CRITICAL", needs=(NETWORK,))
        desk.pass_s(1)
    desk.pass_s(30)
    [network] = [one for one in desk.alerts.values() if one.tellings]
    assert (network.cause.about, network.cause.severity.name, desk.told()) == (NETWORK, "CRITICAL", ["raised"])
    assert "service 0, service 1" in network.cause.message
    assert {one.behind for one in desk.alerts.values() if one is not network} == {NETWORK}


def test_two_services_without_a_connection_are_no_dead_network() -> None:
    desk = Desk()
    for _ in range(5):
        for number in range(2):
            desk.happens(about=f"error:{number}", component=f"service {number}", needs=(NETWORK,))
    desk.pass_s(10)
    assert desk.told() == ["raised", "raised"]


def test_connections_that_were_lost_long_apart_are_no_dead_network() -> None:
    desk = Desk()
    for number in range(5):
        desk.happens(about=f"error:{number}", component=f"service {number}", needs=(NETWORK,))
        desk.pass_s(60)
    assert NETWORK not in {one.cause.about for one in desk.alerts.values()}


def test_when_the_network_is_back_its_alert_ends_and_says_so() -> None:
    desk = Desk()
    for number in range(3):
        desk.happens(about=f"error:{number}", component=f"service {number}", needs=(NETWORK,))
    desk.pass_s(899)
    assert desk.told() == ["raised"]
    desk.pass_s(1)
    assert desk.told() == ["raised", "resolved"]
    desk.pass_s(1000)
    assert {one.state for one in desk.alerts.values()} == {AlertState.RESOLVED}
    assert desk.told() == ["raised", "resolved"]


def test_errors_of_what_is_known_to_be_unwell_are_no_news() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL", "probe:kitchen", component="kitchen"))
    desk.happens(severity="CRITICAL")
    assert (desk.last.silent, desk.last.behind) == ("that it is unwell is told already", "kitchen")
    desk.happens(about="error:2", component="cellar", severity="CRITICAL")
    desk.happens(about="error:3", severity="FATAL")
    assert desk.told() == ["raised"] * 3
    desk.lasts()
    desk.pass_s(1)
    assert (desk.alerts[2].silent, desk.told()) == ("", ["raised", "resolved", "raised", "raised"])
    desk.happens(severity="CRITICAL")
    assert desk.told().count("raised") == 4


def test_an_error_that_is_worse_than_what_is_told_of_it_is_news() -> None:
    desk = Desk()
    desk.lasts(caused("ERROR", "probe:kitchen", component="kitchen"))
    desk.happens(severity="CRITICAL")
    assert desk.told() == ["raised", "raised"]


def test_what_happened_in_a_long_silence_is_told_at_its_end_and_then_that_it_is_over() -> None:
    desk = Desk()
    desk.snoozed_until = desk.at + timedelta(hours=8)
    desk.happens(severity="CRITICAL")
    desk.pass_s(8 * 3600)
    assert desk.told() == ["raised"]
    desk.pass_s(899)
    assert desk.last.is_open
    desk.pass_s(1)
    assert desk.told() == ["raised", "resolved"]


def test_what_waited_for_another_life_to_see_what_it_needs_is_told_by_the_next() -> None:
    desk = Desk()
    desk.happens(severity="CRITICAL", needs=("database",))
    desk.alerts, desk.s = {1: replace(desk.last, seen_s=None, window_s=None, due_s=None, escalated_s=None)}, 5.0
    desk.pass_s(5000)
    assert desk.told() == ["raised"]


def test_a_snooze_ends_though_the_clock_is_set_back() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL"))
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    desk.at -= timedelta(days=365)
    desk.pass_s(1)
    assert desk.told() == ["raised", "again"]


@pytest.mark.parametrize(("ahead", "holds"), [
    (timedelta(0), False), (timedelta(microseconds=1), True), (LONGEST_SNOOZE, True), (LONGEST_SNOOZE + timedelta(hours=2), True),
    (LONGEST_SNOOZE + timedelta(hours=2, microseconds=1), False),
])  # fmt: skip
def test_a_snooze_holds_up_to_its_end_and_one_that_is_longer_than_any_is_none(ahead: timedelta, holds: bool) -> None:
    """With two hours more, for a clock that is set back a little."""
    desk = Desk()
    desk.snoozed_until = desk.at + ahead
    silent = desk.happens().silent
    assert silent == (f"all alerts are snoozed until {time_of(desk.snoozed_until)}" if holds else "")


def test_what_comes_and_goes_stays_snoozed() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    for _ in range(3):
        desk.lasts()
        desk.lasts(caused())
        desk.pass_s(60)
    assert desk.told() == ["raised"]
    desk.pass_s(3600)
    assert desk.told() == ["raised", "raised"]
    assert {one.silent for one in desk.alerts.values()} == {""}


def test_a_summary_waits_for_the_end_of_a_silence() -> None:
    desk = Desk(max_alerts_per_window=1)
    desk.happens(times=9)
    desk.snoozed_until = desk.at + timedelta(hours=1)
    desk.pass_s(WINDOW_S)
    assert desk.told() == ["raised"]
    desk.snoozed_until = None
    desk.pass_s(1)
    assert desk.told() == ["raised", "summary"]


def test_in_maintenance_it_is_not_said_that_something_is_over_until_afterwards() -> None:
    desk = Desk()
    desk.lasts(caused())
    desk.policy = Desk(maintenance=(Maintenance(starts="2020-01-01T00:00", ends="2030-01-01T00:00"),)).policy
    desk.lasts()
    desk.pass_s(60)
    assert desk.told() == ["raised"]
    desk.policy = Desk().policy
    desk.pass_s(1)
    assert desk.told() == ["raised", "resolved"]


def cut_off(desk: Desk, *numbers: int) -> None:
    for number in numbers:
        desk.happens(about=f"error:{number}", component=f"service {number:02}", severity="ERROR", needs=(NETWORK,))


def test_the_alert_of_a_dead_network_says_who_has_no_connection() -> None:
    desk = Desk()
    cut_off(desk, 1, 2, 3)
    network = desk.last
    assert (network.cause.title, network.cause.page, network.cause.component, network.count, network.lasts) == (
        "Several services cannot be reached: is the network down?", "/errors?kind=transient.network", NETWORK, 1, False,
    )  # fmt: skip
    assert network.cause.message == "No connection to service 01, service 02, service 03."
    desk.pass_s(5)
    cut_off(desk, *range(4, 12))
    names = ", ".join(f"service {number:02}" for number in range(1, 11))
    assert (desk.last.id, desk.alerts[network.id].count, desk.alerts[network.id].last_at) == (12, 9, desk.at)
    assert desk.alerts[network.id].cause.message == f"No connection to {names} and others."
    assert desk.told().count("raised") == 1


def test_connections_lost_within_a_minute_are_one_trouble() -> None:
    for apart_s, is_one in ((29.9, True), (30.0, False)):
        desk = Desk()
        for number in range(3):
            cut_off(desk, number)
            desk.pass_s(apart_s)
        assert (NETWORK in {one.cause.about for one in desk.alerts.values()}) is is_one


def test_a_network_that_dies_again_is_told_again() -> None:
    desk = Desk()
    cut_off(desk, 1, 2, 3)
    desk.pass_s(900)
    desk.pass_s(900)
    cut_off(desk, 1, 2, 3)
    assert desk.told("sms") == ["raised", "resolved", "raised"]


def test_errors_without_connection_that_are_over_or_of_another_kind_count_for_no_dead_network() -> None:
    desk = Desk()
    cut_off(desk, 1, 2)
    desk.happens(about="error:3", component="service 3")
    desk.lasts(caused(about="x", component="service 4", needs=(NETWORK,)))
    assert NETWORK not in {one.cause.about for one in desk.alerts.values()}
    desk.pass_s(10)
    desk.pass_s(890)
    cut_off(desk, 5)
    assert NETWORK not in {one.cause.about for one in desk.alerts.values()}


def test_what_keeps_it_silent_is_said_as_it_changes() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.lasts(caused(needs=("database",)))
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    assert desk.last.silent == f"snoozed until {desk.at + timedelta(hours=1):%Y-%m-%d %H:%M} UTC"
    desk.pass_s(3600)
    assert (desk.last.silent, desk.last.behind, desk.last.snoozed_until is None) == ("it needs database, which is down", "database", False)
    desk.down = frozenset()
    desk.pass_s(1)
    assert (desk.last.silent, desk.last.behind, desk.last.due_s) == ("it waits whether database is down, too", "", desk.s + 10)
    desk.pass_s(10)
    assert (desk.last.silent, desk.last.due_s, desk.last.snoozed_until, desk.last.escalated_s) == ("", None, None, desk.s)
    assert desk.told() == ["raised"]


def test_an_acknowledged_alert_says_nothing_at_the_end_of_a_silence() -> None:
    desk = Desk()
    desk.down = frozenset({"database"})
    desk.lasts(caused(needs=("database",)))
    desk.alerts = {1: replace(desk.last, state=AlertState.ACKNOWLEDGED)}
    desk.down = frozenset()
    for _ in range(20):
        desk.pass_s(1)
    assert (desk.told(), desk.last.silent) == ([], "")


def test_who_acknowledges_what_is_behind_something_hears_no_more_of_that() -> None:
    desk = Desk(max_alerts_per_window=1)
    desk.down = frozenset({"database"})
    desk.happens(times=5, needs=("database",))
    desk.person(lambda turn: turn.acknowledge(1, "ada", "here"))
    assert (desk.last.silent, desk.last.behind, desk.last.held) == ("", "", 0)


def test_ten_without_connection_are_all_named() -> None:
    desk = Desk()
    cut_off(desk, *range(1, 11))
    network = next(one for one in desk.alerts.values() if one.cause.about == NETWORK)
    assert network.cause.message.endswith("service 09, service 10.")
    assert network.seen_s == desk.s
    desk.pass_s(800)
    cut_off(desk, 1, 2, 3)
    desk.pass_s(899)
    assert desk.alerts[network.id].is_open


def test_that_it_is_over_is_told_after_a_silence_by_all_who_told_of_it() -> None:
    """Though it was milder at its end."""
    desk = Desk()
    desk.lasts(caused("CRITICAL"))
    desk.lasts(caused("ERROR"))
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(hours=1)))
    desk.lasts()
    desk.pass_s(3600)
    assert desk.told("sms") == ["raised", "resolved"]
    assert desk.last.tellings[-1].text == "It is over."


def test_of_what_is_unwell_the_worst_that_is_told_counts() -> None:
    desk = Desk()
    desk.lasts(caused("CRITICAL", "level", component="web"), caused("ERROR", "probe:web", component="web"))
    assert desk.happens(severity="CRITICAL", component="web").silent == "that it is unwell is told already"
    assert desk.happens(severity="FATAL", about="error:2", component="web").silent == ""


def test_after_a_silence_nothing_of_it_is_left() -> None:
    desk = Desk()
    desk.down = frozenset({"db"})
    desk.lasts(caused(needs=("db",)))
    assert (desk.last.behind, desk.last.tellings) == ("db", ())
    desk.down = frozenset()
    desk.pass_s(1)
    desk.pass_s(desk.policy.wait_for_parent_s)
    assert (desk.told(), desk.last.silent, desk.last.behind, desk.last.due_s) == (["raised"], "", "", None)
    desk.down = frozenset({"db"})
    desk.lasts(caused("CRITICAL", needs=("db",)))
    assert desk.last.behind == "db"
    desk.lasts()
    assert (desk.last.silent, desk.last.behind, desk.last.due_s) == ("", "", None)
    desk.down = frozenset()
    desk.lasts(caused(about="level", needs=("db",)))
    assert desk.last.due_s is not None
    desk.lasts()
    assert desk.last.due_s is None
    desk.down = frozenset({"db"})
    assert desk.happens(needs=("db",)).behind == "db"
    desk.down = frozenset()
    desk.pass_s(1)
    assert (desk.last.tellings, desk.last.silent, desk.last.behind, desk.last.due_s) == ((), "", "", None)


def test_what_came_just_so_long_ago_as_ends_it_is_told_first() -> None:
    """It is not told and over at once."""
    desk = Desk()
    desk.happens()
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(seconds=desk.policy.resolve_after_s)))
    desk.happens(times=2)
    desk.pass_s(desk.policy.resolve_after_s)
    assert (desk.told(), desk.last.is_open) == (["raised", "again"], True)


def test_what_comes_when_a_silence_is_just_over_is_told_before_anybody_has_looked() -> None:
    desk = Desk()
    desk.happens()
    desk.person(lambda turn: turn.snooze(1, desk.at + timedelta(minutes=5)))
    desk.at, desk.s = desk.at + timedelta(minutes=5), desk.s + 300
    assert (desk.happens().silent, desk.told()) == ("", ["raised", "again"])
