"""When messages leave: what they wait for, how fast they go then, and when they are too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience.outbox.message import MessageExpiredError
from resilience.policies import OutboxLimits
from resilience.testing import FakeClock
from tests.resilience.outbox.conftest import Desk, Stepped

# Waiting and pace


def test_nothing_leaves_while_there_is_a_reason_to_wait(desk: Desk) -> None:
    desk.register("mail", "chat")
    desk.reasons["mail"] = "Safe Mode"
    oldest = desk.clock.now()
    desk.outbox.send("mail", 1)
    desk.outbox.send("chat", 1)
    desk.run(100)
    assert [message.channel for message in desk.sent] == ["chat"]
    row = desk.status()
    assert (row["waiting"], row["why"], row["oldest_at"]) == (1, "Safe Mode", oldest)
    desk.reasons.clear()
    assert desk.run() == [100]


def test_a_reason_that_cannot_be_found_out_is_one(tmp_path: Path) -> None:
    def why_wait(channel: str) -> str:
        raise RuntimeError("oops")

    outbox = Stepped(tmp_path, "mailer", FakeClock(), why_wait=why_wait)
    outbox.sender("mail")(lambda message: pytest.fail("it left"))
    outbox.send("mail", 1)
    outbox.step()
    assert outbox.status()[0]["why"] == "why_wait failed: RuntimeError: oops"
    outbox.close()


def test_without_a_sender_messages_wait_and_the_status_says_so(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    desk.register("chat")
    desk.run(10)
    assert desk.status()["why"] == "no sender is registered for mail in this process"
    assert desk.status("chat")["waiting"] == 0


def test_a_fresh_message_leaves_at_once_and_a_burst_at_the_pace(desk: Desk) -> None:
    desk.outbox.configure(OutboxLimits(drain_per_s=5.0))
    desk.register("mail")
    desk.run()
    for number in range(3):
        desk.outbox.send("mail", number)
        assert desk.run(1) == [number]
    for number in range(4):
        desk.outbox.send("mail", number)
    assert desk.run(2) == [3.0, 3.2, 3.4, 3.6]


def test_what_had_to_wait_leaves_slowly_at_first(desk: Desk) -> None:
    """A tenth of the pace, at least one a second, doubled every three seconds."""
    desk.outbox.configure(OutboxLimits(drain_per_s=5.0))
    desk.register("mail")
    desk.reasons["mail"] = "Safe Mode"
    for number in range(60):
        desk.outbox.send("mail", number)
    desk.run(100)
    desk.reasons.clear()
    moments = [moment - 100 for moment in desk.run(12)]
    a_second = [sum(1 for moment in moments if second <= moment < second + 1) for second in range(12)]
    assert a_second == [1, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5, 5]


def test_what_another_process_left_leaves_slowly_at_first(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    for number in range(5):
        first.outbox.send("mail", number)
    first.outbox.close()
    second = Desk(tmp_path, limits=OutboxLimits())
    second.register("mail")
    assert second.run(3.5) == [0, 1, 2, 3, 3.5]
    second.outbox.close()


# Expiry


def test_an_expired_message_is_not_sent_and_is_reported_once(desk: Desk) -> None:
    desk.register("mail")
    desk.reasons["mail"] = "Safe Mode"
    desk.outbox.send("mail", 1, key="a", expires_in_s=10)
    desk.outbox.send("mail", 2, key="b")
    desk.run(9)
    assert desk.reported == []
    desk.run(2)
    [(error, channel, operation)] = desk.reported
    assert isinstance(error, MessageExpiredError)
    assert (channel, operation) == ("mail", "send")
    assert "a on mail" in str(error)
    desk.reasons.clear()
    desk.run(86_400 * 8)
    assert desk.keys == ["b"]
    assert len(desk.reported) == 1
    assert desk.status()["expired"] == 1
    assert desk.outbox.retry("mail", "a")
    desk.run()
    assert desk.keys == ["b", "a"]


def test_a_message_lives_as_long_as_the_limits_say(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    desk.clock.advance(OutboxLimits().expire_after_s + 1)
    desk.register("mail")
    desk.run()
    assert desk.sent == []
    assert len(desk.reported) == 1
