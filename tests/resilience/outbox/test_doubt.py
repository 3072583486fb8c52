"""Messages of which nobody knows whether they have arrived."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from resilience.outbox.file import OutboxError
from resilience.outbox.message import Message
from resilience.policies import OutboxLimits
from tests.resilience.outbox.conftest import Desk, die


def killed_while_sending(folder: Path, *, arrived: list[str]) -> None:
    """Leaves behind what a process leaves that dies after the receiver has got the message ``a``."""
    desk = Desk(folder)
    desk.outbox.send("mail", 1, key="a")
    desk.outbox.send("mail", 2, key="b")
    desk.register("mail")
    die(desk.outbox)
    with pytest.raises(OutboxError, match="dead"):
        desk.outbox.step()
    arrived += desk.keys
    desk.outbox.close()


def test_a_message_in_doubt_that_has_arrived_is_not_sent_again(tmp_path: Path) -> None:
    arrived: list[str] = []
    killed_while_sending(tmp_path, arrived=arrived)
    desk = Desk(tmp_path)
    asked = []

    def was_sent(message: Message) -> bool:
        asked.append((message.key, message.in_doubt))
        return message.key in arrived

    desk.register("mail", was_sent=was_sent)
    desk.run(10)
    assert (desk.keys, asked) == (["b"], [("a", True)])
    desk.outbox.close()


def test_a_message_in_doubt_that_has_not_arrived_is_sent_again(tmp_path: Path) -> None:
    killed_while_sending(tmp_path, arrived=[])
    desk = Desk(tmp_path)

    async def was_sent(message: Message) -> bool:
        return False

    desk.register("mail", was_sent=was_sent)
    desk.run(10)
    assert [(message.key, message.attempt, message.in_doubt) for message in desk.sent] == [("a", 2, False), ("b", 1, False)]
    desk.outbox.close()


def test_without_anyone_to_ask_it_is_sent_again_and_says_so(tmp_path: Path) -> None:
    killed_while_sending(tmp_path, arrived=[])
    desk = Desk(tmp_path)
    desk.register("mail")
    desk.run(10)
    assert [(message.key, message.attempt, message.in_doubt) for message in desk.sent] == [("a", 2, True), ("b", 1, False)]
    desk.outbox.close()


def test_while_the_receiver_cannot_be_asked_the_message_waits(tmp_path: Path) -> None:
    killed_while_sending(tmp_path, arrived=[])
    desk = Desk(tmp_path)
    answers = [ConnectionError("down"), ConnectionError("down"), True]

    def was_sent(message: Message) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    desk.register("mail", was_sent=was_sent)
    desk.run(2)
    assert desk.status()["in_doubt"] == 1
    assert desk.status()["why"] == "whether it has arrived could not be found out: ConnectionError: down"
    desk.run(10)
    assert desk.keys == ["b"]
    desk.outbox.close()


def test_after_a_failure_the_receiver_is_asked_too(desk: Desk) -> None:
    """A time limit that is over says nothing about what the other side has done."""
    desk.register("mail", was_sent=lambda message: True)
    desk.answers["mail"] = TimeoutError("late")
    desk.outbox.send("mail", 1)
    desk.run(10)
    assert len(desk.sent) == 1
    assert desk.outbox.waiting() == {}


def test_a_message_that_kills_its_process_each_time_is_given_up(tmp_path: Path) -> None:
    limits = OutboxLimits(max_attempts=3, drain_per_s=10_000.0)
    desk = Desk(tmp_path, limits=limits)
    desk.outbox.send("mail", 1, key="a")
    for _ in range(3):
        desk.register("mail")
        die(desk.outbox)
        with pytest.raises(OutboxError, match="dead"):
            desk.outbox.step()
        desk.outbox.close()
        desk = Desk(tmp_path, limits=limits)
    desk.register("mail")
    desk.run(10)
    assert desk.sent == []
    assert "the process died in each" in str(desk.reported[0][0])
    desk.outbox.close()


def test_what_the_disk_refuses_to_note_is_noted_later_and_not_sent_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience.shared_file._BUSY_S", 0.01)
    desk.outbox.send("mail", 1, key="a")
    other = sqlite3.connect(desk.outbox.path, isolation_level=None)

    @desk.outbox.sender("mail")
    def post(message: Message) -> None:
        desk.sent.append(message)
        other.execute("BEGIN IMMEDIATE")

    for _ in range(2):
        with pytest.raises(OutboxError, match="locked"):
            desk.outbox.step()
    with pytest.raises(OutboxError, match=re.escape(str(desk.outbox.path))):
        desk.outbox.send("mail", 2)
    other.execute("ROLLBACK")
    desk.run(10)
    assert desk.keys == ["a"]
    assert desk.outbox.waiting() == {}
    other.close()
