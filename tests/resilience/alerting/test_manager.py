"""What becomes of the alerts of the document's AlertManager (§8.2), in a program of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

import resilience
from resilience.alerting.alerts import MOST_ALERTS, Alert, AlertChannel, AlertPriority
from resilience.alerting.manager import AlertManager
from resilience.alerting.policy import Alerting
from resilience.testing import FakeClock
from tests.resilience.alerting.program import DELIVERED, P1, P2, P3, P4, P5, Receiver, outcome, send, sent, title


def test_active_are_those_that_nobody_sees_to_the_most_pressing_first(manager: AlertManager) -> None:
    for priority in (P4, P1, P3, P5, P2):
        sent(manager, priority=priority)
    sent(manager, "It floods", priority=P3)
    assert [(one.priority.value, one.id) for one in manager.get_active_alerts()] == [
        (1, 2),
        (2, 5),
        (3, 3),
        (3, 6),
        (4, 1),
        (5, 4),
    ]
    assert [one.priority for one in manager.get_active_alerts(P2)] == [P1, P2]


def test_what_is_acknowledged_is_not_active_and_says_by_whom(manager: AlertManager, clock: FakeClock) -> None:
    alert = sent(manager)
    clock.advance(60)
    assert asyncio.run(manager.acknowledge_alert(alert.id, "Ada"))
    assert manager.get_active_alerts() == []
    after = manager.alert_history[0]
    assert (after.acknowledged, after.acknowledged_by, after.acknowledged_at) == (True, "Ada", clock.now())


def test_nobody_can_acknowledge_what_is_not_there_or_is_over(manager: AlertManager) -> None:
    assert not asyncio.run(manager.acknowledge_alert(7, "Ada"))
    alert = sent(manager)
    assert [manager.resolve_alert(alert.id), manager.resolve_alert(alert.id), manager.resolve_alert(7)] == [True, False, False]
    assert not asyncio.run(manager.acknowledge_alert(alert.id, "Ada"))
    assert manager.get_active_alerts() == []


@pytest.mark.parametrize("is_acknowledged", [True, False])
def test_what_comes_again_after_somebody_saw_to_it_is_another_in_the_same_window(clock: FakeClock, is_acknowledged: bool) -> None:
    manager = AlertManager(Alerting(max_alerts_per_window=2), clock=clock)
    receiver = Receiver(manager, "log")
    first = sent(manager)
    for _ in range(2):
        alert = manager.get_active_alerts()[0]
        assert asyncio.run(manager.acknowledge_alert(alert.id, "Ada")) if is_acknowledged else manager.resolve_alert(alert.id)
        second = send(manager)
    assert second is None
    assert [one.id for one in manager.get_active_alerts()] == [first.id + 2]
    assert [one.acknowledged for one in manager.alert_history] == [is_acknowledged, is_acknowledged, False]
    assert [one.is_open for one in manager.alert_history] == [False, False, True]
    clock.advance(300)
    sent(manager)
    assert receiver.messages[2:] == ["in here (Held back before this: 1 more.)"]


def test_memory_is_bounded(manager: AlertManager) -> None:
    async def scene() -> None:
        for one in range(3 * MOST_ALERTS):
            alert = await manager.send_alert(title(one), "", channels=["log"])
            assert alert is not None
            if one % 2:
                await manager.acknowledge_alert(alert.id, "Ada")

    asyncio.run(scene())
    assert len(manager.alert_history) == 2 * MOST_ALERTS - 1
    for alert in manager.alert_history:
        manager.resolve_alert(alert.id)
    assert len(manager.alert_history) == MOST_ALERTS


def test_what_has_made_room_while_it_was_told_is_answered_all_the_same(manager: AlertManager) -> None:
    async def crowd_out(alert: Alert) -> None:
        for one in range(2 * MOST_ALERTS):
            await manager.send_alert(title(one), "", channels=[])

    manager.register_channel_handler("sms", crowd_out)
    alert = sent(manager, channels=["sms"])
    assert outcome(alert) == {"sms": (DELIVERED, "")}
    assert alert.id not in [one.id for one in manager.alert_history]


def test_many_threads_may_send_at_once(manager: AlertManager) -> None:
    """Each in an event loop of its own; handlers run outside of the lock, so that they may ask the manager, too."""
    got: list[int] = []
    manager.register_channel_handler("email", lambda alert: got.append(len(manager.get_active_alerts())))
    answers: list[Alert | None] = []

    def work() -> None:
        answers.extend(send(manager, channels=["email"]) for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len([one for one in answers if one is not None]) == 5
    assert got == [1] * 5
    (alert,) = manager.get_active_alerts()
    assert (alert.count, alert.held, outcome(alert)) == (200, 195, {"email": (DELIVERED, "")})


def test_the_documents_names_are_offered() -> None:
    assert (resilience.AlertManager, resilience.Alert) == (AlertManager, Alert)
    assert (resilience.AlertChannel, resilience.AlertPriority) == (AlertChannel, AlertPriority)
