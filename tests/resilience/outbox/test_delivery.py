"""How messages leave: each channel in order, again after failures, not while they are refused."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from resilience.circuit.breaker import CircuitBreaker
from resilience.classification.classifier import ErrorClassifier
from resilience.errors import RateLimitError
from resilience.outbox.message import Message, MessageGivenUpError
from resilience.policies import OutboxLimits
from resilience.refusals import RefusedError
from resilience.testing import FakeClock
from tests.resilience.outbox.conftest import Desk, Stepped


def test_a_channel_keeps_its_order_and_holds_no_other_back(desk: Desk) -> None:
    for number in range(3):
        desk.outbox.send("mail", number, key=f"mail-{number}")
        desk.outbox.send("chat", number, key=f"chat-{number}")
    desk.register("mail", "chat")
    desk.answers["mail"] = TimeoutError("late")
    desk.run()
    assert [message.key for message in desk.sent if message.channel == "mail"] == ["mail-0"]
    desk.run(0.1)
    assert [message.key for message in desk.sent if message.channel == "chat"] == ["chat-0", "chat-1", "chat-2"]
    del desk.answers["mail"]
    desk.run(10)
    assert [message.key for message in desk.sent if message.channel == "mail"] == ["mail-0", "mail-0", "mail-1", "mail-2"]


def test_channels_take_turns_when_sending_is_slow(desk: Desk) -> None:
    channels = ["mail", "chat", "sms"]
    for channel in channels:
        for number in range(3):
            desk.outbox.send(channel, number)

    def slow(message: Message) -> None:
        desk.sent.append(message)
        desk.clock.advance(10)

    for channel in channels:
        desk.outbox.sender(channel)(slow)
    desk.run(100)
    assert [message.channel for message in desk.sent] == channels * 3


def test_a_passing_failure_is_tried_again_after_growing_pauses_and_given_up_in_the_end(desk: Desk) -> None:
    desk.outbox.send("mail", 1, key="a")
    desk.outbox.send("mail", 2, key="b")
    desk.register("mail")
    desk.answers["mail"] = ConnectionError("down")
    assert desk.run(123) == [0, 1, 3, 7, 15, 31, 63, 123]
    assert [message.attempt for message in desk.sent] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert desk.keys == ["a"] * 8
    [(error, channel, operation)] = desk.reported
    assert isinstance(error, MessageGivenUpError)
    assert (channel, operation, str(error.__cause__)) == ("mail", "send", "down")
    assert "a on mail" in str(error)
    assert ErrorClassifier().verdict(error).error_class is ErrorClassifier().verdict(ConnectionError()).error_class
    row = desk.status()
    assert (row["failed"], row["waiting"]) == (1, 1)
    del desk.answers["mail"]
    desk.run(60)
    assert desk.keys[8:] == ["b"]


def test_a_lasting_failure_gives_the_message_up_at_once_and_the_next_goes_on(desk: Desk) -> None:
    desk.outbox.send("mail", 1, key="a")
    desk.outbox.send("mail", 2, key="b")
    desk.register("mail")
    desk.answers["mail"] = ValueError("no such address")
    desk.outbox.step()
    del desk.answers["mail"]
    desk.run(1)
    assert desk.keys == ["a", "b"]
    assert [type(error) for error, _, _ in desk.reported] == [MessageGivenUpError]
    assert desk.status()["failed"] == 1


def test_what_was_given_up_goes_back_to_its_place(desk: Desk) -> None:
    desk.outbox.send("mail", 1, key="a")
    desk.register("mail")
    desk.answers["mail"] = ValueError("no such address")
    desk.run()
    desk.outbox.send("mail", 2, key="b")
    desk.reasons["mail"] = "not now"
    assert desk.outbox.retry("mail", "a") is True
    assert desk.outbox.retry("mail", "b") is False
    desk.reasons.clear()
    desk.answers.clear()
    desk.run(10)
    assert [(message.key, message.attempt, message.in_doubt) for message in desk.sent] == [
        ("a", 1, False), ("a", 1, True), ("b", 1, False),
    ]  # fmt: skip


def test_a_refusal_is_no_attempt_and_waits_as_long_as_it_asks(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    desk.register("mail")
    desk.refusals["mail"] = RefusedError("the circuit is open", retry_after_s=30)
    assert desk.run(70) == []
    assert desk.refused == [0, 30, 60]
    assert desk.status()["why"] == "RefusedError: the circuit is open"
    del desk.refusals["mail"]
    assert desk.run(0) == []
    desk.outbox.wake()
    assert desk.run(0) == [70]
    assert [(message.attempt, message.in_doubt) for message in desk.sent] == [(1, False)]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_refusal_from_within_the_sender_is_a_failure_like_any_other(desk: Desk, kind: str) -> None:
    """The mail had left when the circuit of the audit log refused: it left six times, and nobody asked whether it had."""
    asked: list[str] = []
    audit_log = CircuitBreaker("audit_log", clock=desk.clock)
    audit_log.isolate()

    def was_sent(message: Message) -> bool:
        asked.append(message.key)
        return True

    @desk.outbox.sender("mail", was_sent=was_sent)
    @desk.outbox.sender("chat")
    def send(message: Message) -> None:
        desk.sent.append(message)
        with audit_log:
            pass

    if kind == "coroutine":

        @desk.outbox.sender("mail", was_sent=was_sent)
        async def send_async(message: Message) -> None:
            send(message)

    desk.outbox.send("mail", 1, key="a")
    assert desk.run(60) == [0]
    assert (asked, desk.outbox.waiting()) == (["a"], {})

    desk.outbox.configure(OutboxLimits(max_attempts=2, drain_per_s=10_000.0))
    desk.outbox.send("chat", 2, key="b")
    desk.run(60)
    assert [(message.attempt, message.in_doubt) for message in desk.sent[1:]] == [(1, False), (2, True)]
    assert desk.status("chat")["failed"] == 1


def test_the_other_side_is_left_alone_as_long_as_it_asked(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    desk.register("mail")
    desk.answers["mail"] = RateLimitError("slow down", retry_after_s=90)
    assert desk.run(100) == [0, 90]


def test_policies_stand_between_the_outbox_and_the_sender(tmp_path: Path) -> None:
    clock, called = FakeClock(), []

    def protect(channel: str, function: Any) -> Any:
        async def protected(message: Message) -> None:
            called.append(channel)
            await function(message)

        return protected

    outbox = Stepped(tmp_path, "mailer", clock, protect=protect)
    loops = []

    @outbox.sender("mail")
    async def post(message: Message) -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        called.append(message.payload)

    for number in range(2):
        outbox.send("mail", number)
        while outbox.step() == 0:
            clock.advance(1)
    assert called == ["mail", 0, "mail", 1]
    assert loops[0] is loops[1]
    outbox.close()


def test_a_cancelled_sender_leaves_its_message_in_doubt(desk: Desk) -> None:
    desk.outbox.send("mail", 1, key="a")
    desk.register("mail")
    desk.answers["mail"] = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        desk.outbox.step()
    assert desk.status()["in_doubt"] == 1
    del desk.answers["mail"]
    desk.run(10)
    assert [message.in_doubt for message in desk.sent] == [False, True]


def test_a_report_that_fails_breaks_nothing(tmp_path: Path) -> None:
    def report(*told: object) -> None:
        raise RuntimeError("oops")

    outbox = Stepped(tmp_path, "mailer", FakeClock(), report=report)

    @outbox.sender("mail")
    def post(message: Message) -> None:
        raise ValueError

    outbox.send("mail", 1)
    assert outbox.step() == 0
    assert outbox.status()[0]["failed"] == 1
    outbox.close()


def test_a_row_that_somebody_has_spoilt_costs_its_own_message_alone(desk: Desk) -> None:
    for channel in ("mail", "chat"):
        desk.outbox.send(channel, 1, key=channel)
    with contextlib.closing(sqlite3.connect(desk.outbox.path)) as conn, conn:
        conn.execute("UPDATE messages SET at = 'yesterday' WHERE channel = 'mail'")
    desk.register("mail", "chat")
    desk.run()
    assert desk.keys == ["chat"]
    assert [(row["channel"], row["waiting"], row["failed"]) for row in desk.outbox.status()] == [("chat", 0, 0), ("mail", 0, 1)]
    assert desk.reported[0][1] == "mail"
