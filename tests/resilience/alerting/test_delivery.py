"""From what happens to what is sent, with a real core and journal: nothing twice, nothing lost, nobody held up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertState, Telling, TellingState
from resilience.alerting.batches import MAX_AGE
from resilience.alerting.channels import Channels, EmailChannel
from resilience.alerting.delivery import AlertDelivery, Channel
from resilience.alerting.policy import Alerting
from resilience.alerting.sending import UndeliverableError
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.core.inputs import Configuration, Look, TooLateError
from resilience.core.notices import of_refusal
from resilience.degradation.levels import DegradationLevel
from resilience.events import EventType, Heartbeat, Report
from resilience.testing import FakeClock


class Sender:
    """Notes what it is to send; raises what it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def __call__(self, alert: Alert, telling: Telling) -> str:
        if self.error is not None:
            raise self.error
        self.sent.append((telling.what, alert.cause.title))
        return "taken"


def fatal(core: Core, message: str = "it burns", component: str = "kitchen", **more: Any) -> None:
    report = Report(type="MemoryError", message=message, component=component, operation="cook", severity="FATAL", **more)
    core.report([report]).result(10)


def channel(core: Core, clock: FakeClock, send: Callable[[Alert, Telling], str]) -> Channel:
    return Channel("webhook", send, core, clock, dice=lambda: 0.0)


def telling(core: Core, number: int = 1) -> Telling:
    return next(one for one in core.state.alerts[number].tellings if one.channel == "webhook")


def test_an_error_is_told_once_and_what_came_of_it_is_known(core: Core, clock: FakeClock) -> None:
    send = Sender()
    one = channel(core, clock, send)
    assert one.step() is None
    fatal(core)
    assert telling(core).state is TellingState.WAITING
    assert (one.step(), one.step()) == (0.0, None)
    assert send.sent == [("raised", "MemoryPressureError at kitchen")]
    told = telling(core)
    assert (told.state, told.attempts, told.why, told.ended) == (TellingState.DELIVERED, 1, "taken", clock.now())


def test_what_cannot_be_sent_now_is_tried_again_after_growing_pauses(core: Core, clock: FakeClock) -> None:
    send = Sender()
    send.error = ConnectionError("nobody there")
    one = channel(core, clock, send)
    fatal(core)
    pauses = []
    for _ in range(4):
        assert one.step() == 0.0
        pauses.append(one.step())
        assert one.step() == pauses[-1]  # news does not make it try sooner
        clock.advance(pauses[-1] or 0)
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert (telling(core).state, telling(core).why, telling(core).attempts) == (TellingState.WAITING, "nobody there", 4)
    send.error = None
    assert one.step() == 0.0
    assert (len(send.sent), telling(core).attempts) == (1, 5)


def test_the_circuit_of_a_channel_that_is_down_asks_for_its_pause(core: Core, clock: FakeClock) -> None:
    send = Sender()
    send.error = ConnectionError("nobody there")
    one = channel(core, clock, send)
    fatal(core)
    for _ in range(5):
        one.step()
        clock.advance(one.step() or 0)
    send.error = None
    assert (one.step(), one.step()) == (0.0, 14.0)  # it is open, and nothing was sent
    assert (send.sent, telling(core).state) == ([], TellingState.WAITING)
    clock.advance(14)
    assert (one.step(), len(send.sent)) == (0.0, 1)


def test_what_cannot_be_delivered_is_said_and_holds_up_nothing(core: Core, clock: FakeClock) -> None:
    send = Sender()
    send.error = UndeliverableError("the server said 404")
    one = channel(core, clock, send)
    fatal(core)
    assert one.step() == 0.0
    assert (telling(core).state, telling(core).why) == (TellingState.FAILED, "the server said 404")
    last = core.history.events(0)[-1]
    assert (last.type, last.component, last.body["why"]) == (EventType.ALERT_UNDELIVERED, "webhook", "the server said 404")
    send.error = None
    fatal(core, "another", metadata={"place": "cellar"})
    one.step()
    assert len(send.sent) == 1


def test_what_has_not_arrived_in_a_day_is_given_up(core: Core, clock: FakeClock) -> None:
    send = Sender()
    send.error = ConnectionError("nobody there")
    one = channel(core, clock, send)
    fatal(core)
    for _ in range(19):
        one.step()
        clock.advance(one.step() or 0)
    clock.advance(MAX_AGE.total_seconds() + 1)
    one.step()
    assert telling(core).is_open
    one.step()
    assert (telling(core).state, telling(core).why) == (TellingState.FAILED, "it did not arrive in 24 hours")


def test_what_was_never_tried_is_never_given_up(core: Core, clock: FakeClock) -> None:
    send = Sender()
    fatal(core)
    clock.advance(MAX_AGE.total_seconds() * 7)
    channel(core, clock, send).step()
    assert send.sent == [("raised", "MemoryPressureError at kitchen")]


def test_one_message_that_cannot_be_sent_holds_up_no_other(core: Core, clock: FakeClock) -> None:
    sent: list[str] = []

    def send(alert: Alert, _telling: Telling) -> str:
        if alert.cause.component == "kitchen":
            raise ConnectionError("not that one")
        sent.append(alert.cause.component)
        return "taken"

    one = channel(core, clock, send)
    fatal(core)
    assert one.step() == 0.0
    fatal(core, "another", component="cellar")
    assert (one.step(), sent) == (0.0, ["cellar"])
    assert one.step() == 1.0


def test_that_the_journal_cannot_be_written_is_told_at_once_and_once(core: Core, clock: FakeClock) -> None:
    send = Sender()
    one = channel(core, clock, send)
    send.error = ConnectionError("nobody there")
    core._publish(replace(core.state, notices=(of_refusal("the disk is full", loses_safe_mode=False),)), ())
    assert one.step() == 10.0
    send.error = None
    assert (one.step(), one.step()) == (0.0, None)
    assert send.sent == [("raised", "WinClaw cannot write to its journal")]
    core._publish(replace(core.state, notices=()), ())
    one.step()
    core._publish(replace(core.state, notices=(of_refusal("the disk is full", loses_safe_mode=False),)), ())
    one.step()
    assert len(send.sent) == 2


def test_who_sends_already_is_waited_for_also_by_who_comes_after_the_next(core: Core) -> None:
    began, let_go, sending = threading.Event(), threading.Event(), list[str]()

    def hangs(_alert: Alert, telling: Telling) -> str:
        sending.append(telling.key)
        began.set()
        let_go.wait(30)
        return "taken"

    delivery = AlertDelivery(core, lambda channels: [("webhook", hangs)] if channels.webhook.enabled else [], core.clock)
    delivery.start()
    fatal(core)
    assert began.wait(30)
    before = threading.active_count()
    on = core.state.settings
    off = Settings(alerting=Alerting(channels=Channels()))
    for settings in [off, on] * 10:
        core.tell(Configuration(settings)).result(10)
    while threading.active_count() > before + 2:
        threading.Event().wait(0.01)
    assert sending == [telling(core).key]
    let_go.set()
    delivery.stop()


def test_what_waits_is_delivered_by_the_next_winclaw_under_the_same_key(
    life: Callable[..., Core], clock: FakeClock
) -> None:
    first = life()
    fatal(first)
    key = telling(first).key
    keys: list[str] = []

    def dies(_alert: Alert, telling: Telling) -> str:
        keys.append(telling.key)
        raise SystemExit

    with pytest.raises(SystemExit):
        channel(first, clock, dies).step()
    assert telling(first).state is TellingState.SENDING
    second, send = life(), Sender()
    one = channel(second, clock, send)
    while one.step() == 0.0:
        pass
    assert (keys, telling(second).key, telling(second).state) == ([key], key, TellingState.DELIVERED)
    assert send.sent == [("raised", "MemoryPressureError at kitchen")]


def test_a_channel_that_is_turned_on_while_it_runs_tells_and_one_that_is_turned_off_gives_up(core: Core, clock: FakeClock) -> None:
    arrived, held = threading.Event(), threading.Event()

    def senders(channels: Channels) -> Iterator[tuple[str, Any]]:
        if channels.email.enabled:
            yield "email", lambda _alert, _telling: arrived.set() or "taken"
        else:
            yield "webhook", lambda _alert, _telling: held.wait(30) and "taken"

    delivery = AlertDelivery(core, senders, core.clock)
    delivery.start()
    mail = Alerting(channels=Channels(email=EmailChannel(enabled=True, url="env:MAIL")))
    fatal(core)
    core.tell(Configuration(Settings(alerting=mail))).result(10)
    fatal(core, "another")
    assert arrived.wait(30)
    held.set()
    delivery.stop()
    clock.advance(1)
    while telling(core).is_open:
        core.wait_for_change(core.state.version, 10)
    assert telling(core).why in ("this channel was turned off", "taken")


def test_a_channel_that_hangs_holds_up_no_other(core: Core) -> None:
    hanging, let_go, arrived = threading.Event(), threading.Event(), threading.Event()

    def hangs(_alert: Alert, _telling: Telling) -> str:
        hanging.set()
        let_go.wait(30)
        return "late"

    def takes(_alert: Alert, _telling: Telling) -> str:
        assert hanging.wait(30)
        arrived.set()
        return "taken"

    delivery = AlertDelivery(core, lambda _: [("log", hangs), ("webhook", takes)], core.clock)
    delivery.start()
    fatal(core)
    assert arrived.wait(30)
    let_go.set()
    delivery.stop()


def test_a_level_that_rules_lower_is_an_alert_until_it_is_back_and_one_that_a_person_chooses_is_none(core: Core) -> None:
    core.set_level(DegradationLevel.MINIMAL, actor="ada", origin="here").result(10)
    assert core.state.alerts == {}
    core.set_level(None, actor="ada", origin="here").result(10)
    circuit = {"service": "gpt-5.2", "state": "OPEN", "change": 1, "because": "it burns", "retry_after_s": 60.0}
    core.beat(msgspec.convert({"agent": "a", "circuits": [circuit]}, Heartbeat)).result(10)
    [alert] = core.state.alerts.values()
    assert (alert.cause.about, alert.cause.severity.name, alert.lasts) == ("level", "ERROR", True)


def test_a_lost_agent_is_an_alert_until_it_is_heard_also_after_a_restart(
    life: Callable[..., Core], clock: FakeClock
) -> None:
    core = life()
    core.beat(Heartbeat(agent="a", pid=7)).result(10)
    clock.advance(60)
    core.wait_for_change(core.state.version, 0.01)
    while not core.state.alerts:
        core.wait_for_change(core.state.version, 10)
    [alert] = core.state.alerts.values()
    assert (alert.cause.about, alert.state) == ("agent:a", AlertState.OPEN)
    again = life()
    clock.advance(120)
    again.announce(EventType.APP_STARTED, "winclaw").result(10)
    assert again.state.alerts[alert.id].is_open
    again.beat(Heartbeat(agent="a", pid=8)).result(10)
    assert again.state.alerts[alert.id].state is AlertState.RESOLVED


def test_acknowledging_is_on_disk_in_the_audit_log_and_only_once(life: Callable[..., Core], clock: FakeClock) -> None:
    core = life()
    fatal(core)
    core.decide_alert(1, "acknowledge", actor="ada", origin="here").result(10)
    said = core.history.events(0)[-1]
    assert (said.type, said.body["asked"], said.body["actor"]) == (EventType.COMMAND, "acknowledge alert 1", "ada")
    with pytest.raises(TooLateError, match="alert 1 is acknowledged"):
        core.decide_alert(1, "acknowledge", actor="bob", origin="here").result(10)
    with pytest.raises(KeyError):
        core.decide_alert(9, "acknowledge", actor="bob", origin="here").result(10)
    again = life()
    assert (again.state.alerts[1].state, again.state.alerts[1].actor) == (AlertState.ACKNOWLEDGED, "ada")


def test_ten_thousand_equal_errors_are_five_messages_and_one_summary(core: Core, clock: FakeClock) -> None:
    send, report = Sender(), Report(type="MemoryError", message="it burns", component="kitchen", operation="cook", severity="FATAL")
    one = channel(core, clock, send)
    for _ in range(20):
        core.report([report] * 500).result(30)
        while one.step() == 0.0:
            pass
    assert [what for what, _ in send.sent] == ["raised", *["again"] * 4]
    clock.advance(300)
    core._submit(Look()).result(10)
    while one.step() == 0.0:
        pass
    assert [what for what, _ in send.sent] == ["raised", *["again"] * 4, "summary"]
    assert core.state.alerts[1].count == 10_000


def test_a_channel_that_is_expected_before_it_is_offered_sends_what_waits(core: Core) -> None:
    arrived = threading.Event()
    delivery = AlertDelivery(core, lambda _: [], core.clock)
    delivery.start()
    delivery.expect("toast")
    fatal(core)
    assert core.state.offered == {"toast"}
    withdraw = delivery.offer("toast", lambda _alert, _telling: arrived.set() or "shown")
    assert arrived.wait(30)
    withdraw()
    delivery.offer("toast", lambda _alert, _telling: "shown")
    assert core.state.offered == {"toast"}
    delivery.stop()
