"""The document's AlertManager (§8.2), in a program of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

import resilience
from resilience.alerting.alerts import MOST_ALERTS, Alert, AlertChannel, AlertPriority, TellingState
from resilience.alerting.channels import Channel, Channels, EmailChannel, OtherChannel, PhoneChannel
from resilience.alerting.manager import MOST_AT_ONCE, AlertManager
from resilience.alerting.policy import Alerting, Maintenance, Priorities, Routes
from resilience.context import ErrorContext, ErrorSeverity
from resilience.testing import FakeClock, settle

P1, P2, P3, P4, P5 = AlertPriority
DELIVERED, FAILED = TellingState.DELIVERED, TellingState.FAILED


class Receiver:
    """A program's handlers: those of ``channels`` note which alert came by which channel."""

    def __init__(self, manager: AlertManager, *channels: str) -> None:
        self.got: list[tuple[str, Alert]] = []
        for channel in channels:
            manager.register_channel_handler(channel, self.noting(channel))

    def noting(self, channel: str) -> Callable[[Alert], Coroutine[Any, Any, None]]:
        async def note(alert: Alert) -> None:
            self.got.append((channel, alert))

        return note

    @property
    def channels(self) -> set[str]:
        return {channel for channel, _ in self.got}

    @property
    def messages(self) -> list[str]:
        return [alert.message for _, alert in self.got]


class JumpingClock(FakeClock):
    """A clock whose wall clock somebody sets."""

    jump = timedelta()

    def now(self) -> datetime:
        return super().now() + self.jump


def send(manager: AlertManager, title: str = "It burns", message: str = "in here", *args: Any, **more: Any) -> Alert | None:
    return asyncio.run(manager.send_alert(title, message, *args, **more))


def sent(manager: AlertManager, *args: Any, **more: Any) -> Alert:
    alert = send(manager, *args, **more)
    assert alert is not None
    return alert


def context(severity: str = "ERROR", component: str = "stove") -> ErrorContext:
    return ErrorContext.create(ValueError("too hot"), component, "cook", ErrorSeverity[severity])


def title(number: int) -> str:
    """Another for each number, which a number in it would not make it."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def outcome(alert: Alert) -> dict[str, tuple[TellingState, str]]:
    return {one.channel: (one.state, one.why) for one in alert.tellings}


@pytest.fixture
def manager(clock: FakeClock) -> AlertManager:
    return AlertManager(clock=clock)


# Who is told.


@pytest.mark.parametrize(("severity", "priority", "channels"), [
    ("DEBUG", P5, {"log"}),
    ("INFO", P5, {"log"}),
    ("WARNING", P4, {"log", "dashboard"}),
    ("ERROR", P3, {"log", "dashboard", "email", "webhook"}),
    ("CRITICAL", P2, {"log", "dashboard", "toast", "email", "sms", "webhook"}),
    ("FATAL", P1, set(AlertChannel)),
])  # fmt: skip
def test_the_severity_decides_who_is_told(
    manager: AlertManager, severity: str, priority: AlertPriority, channels: set[str]
) -> None:
    """Errata 38: CRITICAL gets a text message, and FATAL the webhook too, as §8.1's diagram says."""
    receiver = Receiver(manager, *AlertChannel)
    alert = sent(manager, error_context=context(severity))
    assert alert.priority is priority
    assert receiver.channels == set(alert.channels) == channels
    assert outcome(alert) == dict.fromkeys(channels, (DELIVERED, ""))


def test_a_channel_without_a_handler_is_not_told_and_never_sent(manager: AlertManager) -> None:
    assert sent(manager, priority=P1).channels == ["log"]


def test_a_channel_that_is_asked_for_but_has_no_handler_has_failed(manager: AlertManager) -> None:
    receiver = Receiver(manager, "email")
    alert = sent(manager, channels=["email", AlertChannel.SMS, "email"])
    assert outcome(alert) == {"email": (DELIVERED, ""), "sms": (FAILED, "no handler is registered for this channel")}
    assert len(receiver.got) == 1


def test_without_an_error_and_a_priority_it_is_p4(manager: AlertManager) -> None:
    assert sent(manager).priority is P4


def test_a_given_priority_counts_for_more_than_the_error(manager: AlertManager) -> None:
    assert sent(manager, error_context=context("FATAL"), priority=P5).priority is P5


def test_the_policy_says_who_is_told_of_what(clock: FakeClock) -> None:
    policy = Alerting(
        priorities=Priorities(WARNING="P2_HIGH"), routes=Routes(P2_HIGH=("sms", "log")),
        channels=Channels(sms=PhoneChannel(min_priority="P1_CRITICAL"), email=EmailChannel(min_priority="P3_MEDIUM")),
    )  # fmt: skip
    manager = AlertManager(policy, clock=clock)
    Receiver(manager, "email", "sms")
    assert sent(manager, error_context=context("WARNING")).channels == ["log", "email"]


def test_a_channel_of_ones_own_tells_from_p3_on_or_as_the_policy_says(clock: FakeClock) -> None:
    policy = Alerting(channels=Channels(others={"matrix": OtherChannel(min_priority="P5_INFO")}))
    manager = AlertManager(policy, clock=clock)
    Receiver(manager, "pager", "matrix")
    assert [sent(manager, priority=one).channels for one in (P3, P4)] == [["log", "matrix", "pager"], ["log", "matrix"]]


def test_who_has_turned_alerts_off_is_told_nothing(clock: FakeClock) -> None:
    manager = AlertManager(Alerting(enabled=False), clock=clock)
    receiver = Receiver(manager, "email")
    assert sent(manager, channels=["email"]).tellings == ()
    assert not receiver.got


def test_the_log_tells_at_the_level_of_the_priority(manager: AlertManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "winclaw.alerts")
    for priority in AlertPriority:
        sent(manager, priority=priority)
    found = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "winclaw.alerts"]
    levels = ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"]
    assert found == [(level, f"ALERT [{one.name}] It burns: in here") for level, one in zip(levels, AlertPriority, strict=True)]


def test_a_log_that_is_off_says_nothing(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "winclaw.alerts")
    manager = AlertManager(Alerting(channels=Channels(log=Channel(enabled=False))), clock=clock)
    assert sent(manager, priority=P1).channels == []
    assert caplog.records == []


@pytest.mark.parametrize("name", ["EMAIL", "", "all", "a b"])
def test_a_channel_that_nobody_could_name_is_refused(manager: AlertManager, name: str) -> None:
    with pytest.raises(ValueError, match=r"channel|others"):
        manager.register_channel_handler(name, print)
    assert sent(manager, priority=P1).channels == ["log"]


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"policy": Alerting(rate_limit_window=0)}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not possible"):
        AlertManager(**wrong)


# What handlers get.


def test_an_alert_has_what_the_document_gives_it(manager: AlertManager, clock: FakeClock) -> None:
    receiver, error = Receiver(manager, "email"), context()
    sent(manager, "It burns", "in here", AlertPriority.P2_HIGH, error, ["email"], room=7)
    _, alert = receiver.got[0]
    assert (alert.title, alert.message, alert.priority, alert.channels) == ("It burns", "in here", P2, ["email"])
    assert (alert.timestamp, alert.error_context, alert.metadata) == (clock.now(), error, {"room": 7})
    assert (alert.acknowledged, alert.acknowledged_by, alert.acknowledged_at) == (False, None, None)


def test_handlers_may_be_functions_or_coroutine_functions_or_give_something_to_await(manager: AlertManager) -> None:
    receiver, threads = Receiver(manager), []

    def plain(alert: Alert) -> str:
        threads.append(threading.current_thread())
        return "what it gives is nobody's concern"

    manager.register_channel_handler("plain", plain)
    manager.register_channel_handler("later", receiver.noting("later"))
    manager.register_channel_handler("lazy", lambda alert: receiver.noting("lazy")(alert))
    alert = sent(manager, channels=["plain", "later", "lazy"])
    assert outcome(alert) == dict.fromkeys(["plain", "later", "lazy"], (DELIVERED, ""))
    assert receiver.channels == {"later", "lazy"}
    assert threads[0] is not threading.main_thread()


def test_the_last_handler_that_was_registered_counts(manager: AlertManager) -> None:
    receiver = Receiver(manager, "log")
    sent(manager)
    assert receiver.channels == {"log"}


def test_a_handler_that_raises_breaks_no_other(manager: AlertManager, caplog: pytest.LogCaptureFixture) -> None:
    def out_of_order(alert: Alert) -> None:
        raise ConnectionError("no dial tone")

    def ends_the_program(alert: Alert) -> None:
        raise SystemExit(3)

    def stops(alert: Alert) -> None:
        raise StopIteration

    async def cancelled(alert: Alert) -> None:
        raise asyncio.CancelledError

    receiver = Receiver(manager, "email")
    for name, handler in {"a": out_of_order, "b": ends_the_program, "c": stops, "d": cancelled}.items():
        manager.register_channel_handler(name, handler)
    alert = sent(manager, channels=["a", "b", "c", "d", "email"])
    assert outcome(alert) == {
        "a": (FAILED, "ConnectionError: no dial tone"), "b": (FAILED, "SystemExit: 3"), "c": (FAILED, "StopIteration: "),
        "d": (FAILED, "its handler was cancelled"), "email": (DELIVERED, ""),
    }  # fmt: skip
    assert manager.alert_history == [alert]
    assert receiver.channels == {"email"}
    assert "the alert 'It burns' was not told by a: ConnectionError: no dial tone" in caplog.messages


def test_a_handler_that_hangs_holds_up_no_other(clock: FakeClock) -> None:
    manager, released = AlertManager(clock=clock, timeout_s=5.0), threading.Event()
    receiver = Receiver(manager, "email")

    async def hang(alert: Alert) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if released.is_set():
                    raise
                released.set()

    manager.register_channel_handler("sms", lambda alert: released.wait())
    manager.register_channel_handler("webhook", hang)

    async def scene() -> Alert | None:
        sending = asyncio.create_task(manager.send_alert("It burns", "", channels=["sms", "webhook", "email"]))
        await settle()
        assert receiver.channels == {"email"}
        await clock.run(4.9)
        assert not sending.done()
        await clock.run(0.1)
        return await sending

    alert = asyncio.run(scene())
    assert alert is not None
    late = (FAILED, "its handler has not ended within 5 s")
    assert outcome(alert) == {"sms": late, "webhook": late, "email": (DELIVERED, "")}


@pytest.fixture
def hanging(manager: AlertManager) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """A channel ``sms`` whose handler says that it was called, and then hangs until the event."""
    called, released = threading.Semaphore(0), threading.Event()

    def hang(alert: Alert) -> None:
        called.release()
        released.wait()

    manager.register_channel_handler("sms", hang)
    yield called, released
    released.set()


async def burst(manager: AlertManager) -> list[asyncio.Task[Alert | None]]:
    """Twice as many alerts as one handler is called for at once, under way."""
    sending = [asyncio.create_task(manager.send_alert(title(one), "", channels=["sms"])) for one in range(2 * MOST_AT_ONCE)]
    await settle()
    return sending


def test_a_handler_that_always_hangs_does_not_use_up_the_threads(
    manager: AlertManager, clock: FakeClock, hanging: tuple[threading.Semaphore, threading.Event]
) -> None:
    async def scene() -> None:
        sending = await burst(manager)
        await clock.run(30)
        assert {outcome(alert)["sms"][0] for alert in await asyncio.gather(*sending) if alert is not None} == {FAILED}

    before, (called, _) = threading.active_count(), hanging
    asyncio.run(scene())
    assert all(called.acquire() for _ in range(MOST_AT_ONCE))
    assert not called.acquire(blocking=False)
    assert threading.active_count() <= before + MOST_AT_ONCE


def test_after_a_hang_has_ended_its_channel_tells_again(
    manager: AlertManager, hanging: tuple[threading.Semaphore, threading.Event]
) -> None:
    called, released = hanging

    async def scene() -> None:
        sending = await burst(manager)
        assert all(called.acquire() for _ in range(MOST_AT_ONCE))
        released.set()
        alerts = await asyncio.gather(*sending)
        assert [outcome(alert)["sms"] for alert in alerts if alert is not None] == [(DELIVERED, "")] * (2 * MOST_AT_ONCE)

    asyncio.run(scene())


def test_a_thread_that_cannot_be_started_is_a_failure_like_others(manager: AlertManager, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    manager.register_channel_handler("sms", lambda alert: None)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        for one in range(2 * MOST_AT_ONCE):  # each gives its place back
            alert = sent(manager, title(one), channels=["sms"])
            assert outcome(alert) == {"sms": (FAILED, "RuntimeError: can't start new thread")}
    assert outcome(sent(manager, channels=["sms"])) == {"sms": (DELIVERED, "")}


def test_a_sending_that_is_cancelled_has_failed(manager: AlertManager) -> None:
    async def hang(alert: Alert) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        manager.register_channel_handler("sms", hang)
        sending = asyncio.create_task(manager.send_alert("It burns", "", channels=["sms"]))
        await settle()
        assert [one.state for one in manager.alert_history[0].tellings] == [TellingState.SENDING]
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled()

    asyncio.run(scene())
    assert outcome(manager.alert_history[0]) == {"sms": (FAILED, "it was interrupted")}


# How often.


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


# What becomes of them.


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
