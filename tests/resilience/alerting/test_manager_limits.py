"""How often the document's AlertManager (§8.2) tells of the same, and what it holds back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.alerting.alerts import Alert, AlertPriority
from resilience.alerting.manager import AlertManager
from resilience.alerting.policy import Alerting, Maintenance
from resilience.testing import FakeClock
from tests.resilience.alerting.program import P1, P3, P4, Receiver, context, send, sent


class JumpingClock(FakeClock):
    """A clock whose wall clock somebody sets."""

    jump = timedelta()

    def now(self) -> datetime:
        return super().now() + self.jump


@pytest.mark.parametrize("priority", [P1, P4])
def test_of_ten_thousand_equal_alerts_few_are_sent_and_the_next_says_how_many_were_not(
    manager: AlertManager, clock: FakeClock, caplog: pytest.LogCaptureFixture, priority: AlertPriority
) -> None:
    """Errata 39: not even what presses most is held back in silence."""
    receiver = Receiver(manager, "log")

    async def scene() -> list[Alert | None]:
        return [await manager.send_alert("It burns", "again", priority) for _ in range(10_000)]

    alerts = asyncio.run(scene())
    assert [one is not None for one in alerts] == [True] * 5 + [False] * 9_995
    assert receiver.messages == ["again"] * 5
    assert caplog.messages == [f"{priority.name}: 'It burns' is held back, and counted: enough were sent"]
    assert [(one.count, one.held) for one in manager.get_active_alerts()] == [(10_000, 9_995)]
    clock.advance(300)
    after = [sent(manager, message="now", priority=priority) for _ in range(2)]
    assert receiver.messages[5:] == ["now (Held back before this: 9995 more.)", "now"]
    assert [(one.count, one.held) for one in after] == [(10_001, 0), (10_002, 0)]


def test_a_window_begins_with_its_first_message(clock: FakeClock) -> None:
    manager = AlertManager(Alerting(max_alerts_per_window=2, rate_limit_window=10.0), clock=clock)
    trace = []
    for at_s in (0, 9, 9.5, 10, 11, 19.9, 20):
        clock.advance(at_s - clock.monotonic())
        trace.append((at_s, send(manager) is not None))
    assert trace == [(0, True), (9, True), (9.5, False), (10, True), (11, True), (19.9, False), (20, True)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_jumps_neither_mutes_nor_floods(hours: int) -> None:
    clock = JumpingClock()
    manager = AlertManager(Alerting(max_alerts_per_window=1), clock=clock)
    assert send(manager) is not None
    clock.jump = timedelta(hours=hours)
    assert send(manager) is None
    clock.advance(300)
    assert send(manager) is not None


@pytest.mark.parametrize(("other", "is_other"), [
    ({"title": "It floods"}, True),
    ({"priority": P3}, True),
    ({"component": "cellar"}, True),
    ({"error_context": context(component="cellar")}, True),
    ({"title": "Oven 18 of 'Ada' burns"}, False),
    ({"message": "in the hall", "room": 7}, False),
])  # fmt: skip
def test_alerts_are_of_a_kind_by_title_component_and_priority(clock: FakeClock, other: dict[str, Any], is_other: bool) -> None:
    """Errata 40: a number in the title does not make it another."""
    manager = AlertManager(Alerting(max_alerts_per_window=1), clock=clock)
    usual: dict[str, Any] = {"title": "Oven 17 of 'Eva' burns", "priority": P4, "component": "stove"}
    first, second = send(manager, **usual), send(manager, **{**usual, **other})
    assert first is not None
    assert (second is not None) is is_other


def test_maintenance_holds_back_and_the_next_says_so(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    now = clock.now().astimezone()
    pause = Maintenance(name="new pipes", starts=now.isoformat(), ends=(now + timedelta(hours=1)).isoformat())
    manager = AlertManager(Alerting(maintenance=(pause,)), clock=clock)
    receiver = Receiver(manager, "log")
    assert [send(manager), send(manager)] == [None, None]
    assert send(manager, priority=P1) is not None
    assert caplog.messages == ["P4_LOW: 'It burns' is held back, and counted: maintenance: new pipes"]
    clock.advance(3600)
    sent(manager)
    assert receiver.messages[1:] == ["in here (Held back before this: 2 more.)"]
