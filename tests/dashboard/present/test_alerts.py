"""The delivery log in words: whom each message went to, what came of each try, and of what nobody was told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from dashboard.present import alerts
from resilience.alerting.alerts import Alert, AlertPriority, AlertState, Failure, Telling
from resilience.alerting.channels import Channels, EmailChannel, WebhookChannel
from resilience.alerting.policy import Alerting
from tests.dashboard.present.conftest import NOW
from tests.resilience.alerting.desk import caused

POLICY = Alerting(
    channels=Channels(
        email=EmailChannel(enabled=True, recipients=("ada@example.com",), url="env:MAIL", quiet_hours="00:00-23:59"),
        webhook=WebhookChannel(enabled=True, url="https://example.com/hook"),
    )
)
ALERT = Alert(id=7, cause=caused("ERROR"), at=NOW, last_at=NOW)


def an_alert(*tellings: Telling, number: int = 7, severity: str = "ERROR", **more: object) -> Alert:
    return replace(ALERT, id=number, cause=caused(severity), tellings=tellings, messages=len(tellings), **more)  # type: ignore[arg-type]


def told(channel: str = "webhook", number: int = 1, after_s: float = 0, what: str = "raised") -> Telling:
    return Telling(key=f"{number}-1-{channel}", channel=channel, what=what, text="x", at=NOW + timedelta(seconds=after_s))


def one_of(telling: Telling, severity: str = "ERROR") -> dict[str, object]:
    (row,), _ = alerts.deliveries([an_alert(telling, severity=severity)], POLICY, NOW)
    return row


def test_a_message_that_arrived_says_whom_by_what_and_how_soon() -> None:
    sent = told("email").sending(NOW).heard(NOW + timedelta(seconds=2), delivered=True, why="the server said 250")
    row = one_of(sent)
    assert (row["channel"], row["whom"], row["word"], row["why"], row["took"], row["attempts"], row["tries"]) == (
        "Email", "ada@example.com", "delivered", "the server said 250", "2.0 s", 1, [],
    )  # fmt: skip
    assert (row["what"], row["title"], row["href"]) == ("that it began", "It burns", "/incidents/7")
    assert one_of(replace(sent, what="test"))["href"] == "/alerts#alert-7", "a test is no incident"


def test_every_try_is_told_with_its_reason() -> None:
    one, later = told(), NOW + timedelta(seconds=3)
    one = one.sending(NOW).heard(NOW, delivered=None, why="no connection")
    row = one_of(one)
    assert (row["word"], row["why"]) == ("waits", "no connection; it is tried again")
    one = one.sending(later).sending(later).heard(later, delivered=True, why="the server said 200")
    assert (one.attempts, one.failures) == (
        3, (Failure(NOW, "no connection"), Failure(later, "WinClaw ended before it was known whether it had arrived")),
    )  # fmt: skip
    row = one_of(one)
    assert [(each["word"], each["why"]) for each in row["tries"]] == [  # type: ignore[attr-defined]
        ("failed", "no connection"), ("failed", "WinClaw ended before it was known whether it had arrived"),
        ("delivered", "the server said 200"),
    ]  # fmt: skip
    assert row["left_out"] == 0


def test_of_many_tries_the_last_are_told_and_how_many_there_were() -> None:
    one = told()
    for number in range(9):
        one = one.sending(NOW).heard(NOW, delivered=None, why=f"failure {number}")
    one = one.sending(NOW).heard(NOW, delivered=False, why="a wrong address")
    row = one_of(one)
    assert [each["why"] for each in row["tries"]] == ["failure 5", "failure 6", "failure 7", "failure 8", "a wrong address"]  # type: ignore[attr-defined]
    assert (row["word"], row["attempts"], row["left_out"]) == ("did not arrive", 10, 5)
    given_up = told().heard(NOW, delivered=False, why="it is too old")
    assert given_up.failures == (), "it was not tried"


@pytest.mark.parametrize(
    ("telling", "severity", "why"),
    [
        (told("email"), "ERROR", "quiet hours, until"),
        (told("email"), "FATAL", ""),
        (told("email", what="test"), "ERROR", ""),
        (told("webhook"), "ERROR", ""),
        (told("gone"), "ERROR", ""),
        (told("email").sending(NOW), "ERROR", ""),
    ],
)
def test_what_waits_says_what_for(telling: Telling, severity: str, why: str) -> None:
    found = str(one_of(telling, severity)["why"])
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_the_log_is_paged_newest_first_and_can_leave_out_what_has_arrived() -> None:
    arrived = told(number=2, after_s=9).sending(NOW).heard(NOW, delivered=True, why="ok")
    all_of = [an_alert(told(number=1), told("email", 1, 5), number=1), an_alert(arrived, number=2)]
    first, older = alerts.deliveries(all_of, POLICY, NOW, limit=2)
    assert ([one["key"] for one in first], older) == (["2-1-webhook", "1-1-email"], "1-1-email")
    rest, older = alerts.deliveries(all_of, POLICY, NOW, before=older, limit=2)
    assert ([one["key"] for one in rest], older) == (["1-1-webhook"], "")
    missing, _ = alerts.deliveries(all_of, POLICY, NOW, only="not")
    assert [one["key"] for one in missing] == ["1-1-email", "1-1-webhook"]
    assert len(alerts.deliveries(all_of, POLICY, NOW, before="gone")[0]) == 3, "what has made room is passed over"


@pytest.mark.parametrize(
    ("alert", "policy", "because"),
    [
        (an_alert(silent="snoozed until tomorrow"), POLICY, "snoozed until tomorrow"),
        (an_alert(told(), held=3), POLICY, "3 more are held back: there were 5 in 300 s; a summary follows"),
        (an_alert(told(), held=1), POLICY, "1 more is held back: there were 5 in 300 s; a summary follows"),
        (an_alert(), Alerting(enabled=False), "alerting is turned off"),
        (an_alert(state=AlertState.RESOLVED), POLICY, "it was over, or seen to, before anybody had to be told"),
        (an_alert(told()), POLICY, None),
        (an_alert(), POLICY, None),
    ],
)
def test_of_what_nobody_is_told_the_reason_is(alert: Alert, policy: Alerting, because: str | None) -> None:
    assert [one["because"] for one in alerts.untold([alert], policy, ())] == ([because] if because else [])


def test_a_priority_that_no_channel_tells_of_is_said_to_be_so() -> None:
    quiet = replace(POLICY, routes=replace(POLICY.routes, P4_LOW=("toast",)))
    one = an_alert(priority=AlertPriority.P4_LOW)
    assert [row["because"] for row in alerts.untold([one], quiet, ())] == ["no channel that is on tells of P4"]
    assert alerts.untold([one], quiet, {"toast"}) == []


def test_the_newest_alerts_are_shown_of_very_many() -> None:
    rows = alerts.newest_first([an_alert(number=number) for number in range(1, 300)])
    assert (len(rows), rows[0]["id"]) == (200, 299)
