"""What the handlers of a program's AlertManager (§8.2) get, and that one that fails or hangs holds up no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from resilience.alerting.alerts import Alert, AlertPriority, TellingState
from resilience.alerting.manager import MOST_AT_ONCE, AlertManager
from resilience.testing import FakeClock, settle
from tests.resilience.alerting.program import DELIVERED, FAILED, P2, Receiver, context, outcome, sent, title


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
