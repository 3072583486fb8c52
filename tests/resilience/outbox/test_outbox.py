"""The outbox: nothing accepted is lost, nothing is sent twice where that can be known, and all of it in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resilience import locked
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import SystemClock
from resilience.errors import RateLimitError
from resilience.outbox.file import file_of
from resilience.outbox.message import Pace, fit_payload, pause_s, rate_per_s
from resilience.outbox.outbox import (
    LOOK_AGAIN_S,
    Message,
    MessageExpiredError,
    MessageGivenUpError,
    Outbox,
    OutboxError,
    OutboxFullError,
    UnfitMessageError,
)
from resilience.policies import OutboxLimits
from resilience.refusals import RefusedError
from resilience.testing import FakeClock

ROOT: Final = Path(__file__).resolve().parents[3]
FAST: Final = OutboxLimits(drain_per_s=10_000.0)


class Desk:
    """An outbox without a thread, its clock, and everything that its senders were called with."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, limits: OutboxLimits = FAST) -> None:
        self.clock = clock or FakeClock()
        self.reported: list[tuple[Exception, str, str]] = []
        self.reasons: dict[str, str] = {}
        self.sent: list[Message] = []
        self.answers: dict[str, Any] = {}
        self.outbox = Outbox(
            folder, "mailer", self.clock, limits=limits, why_wait=self.reasons.get,
            report=lambda *told: self.reported.append(told), dice=lambda: 0.0, threaded=False,
        )  # fmt: skip

    def register(self, *channels: str, was_sent: Any = None) -> None:
        for channel in channels:
            self.outbox.sender(channel, was_sent=was_sent)(self.receive)

    def receive(self, message: Message) -> None:
        self.sent.append(message)
        answer = self.answers.get(message.channel)
        if answer is not None:
            raise answer

    def run(self, seconds: float = 0.0) -> list[float]:
        """Steps as the worker would, for so long by the clock; returns when each message left."""
        end_s, moments = self.clock.monotonic() + seconds, []
        while True:
            before = len(self.sent)
            pause = self.outbox.step()
            if len(self.sent) > before:
                moments.append(round(self.clock.monotonic(), 3))
            if pause is None or self.clock.monotonic() + pause > end_s:
                self.clock.advance(end_s - self.clock.monotonic())
                return moments
            self.clock.advance(pause)

    @property
    def keys(self) -> list[str]:
        return [message.key for message in self.sent]

    def status(self, channel: str = "mail") -> dict[str, Any]:
        return next(row for row in self.outbox.status() if row["channel"] == channel)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.outbox.close()


def die(outbox: Outbox) -> None:
    """From here on nothing reaches the disk, as if the process had died; the lock goes as it would."""

    def dead(*_: object) -> None:
        raise OutboxError("dead")

    outbox._store.conclude = dead  # type: ignore[method-assign]


# Accepting


def test_what_is_sent_reaches_its_sender_as_it_was(desk: Desk) -> None:
    payload = {"to": "ä\ud800\x00", "n": [1, 2.5, -0.0, None, True, 10**400], "": {}}
    key = desk.outbox.send("mail", payload)
    assert desk.outbox.waiting() == {"mail": 1}
    at = desk.clock.now()
    desk.register("mail")
    desk.run()
    assert desk.sent == [Message(channel="mail", key=key, payload=payload, at=at, attempt=1, in_doubt=False)]
    assert desk.outbox.waiting() == {}


def test_what_was_accepted_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    keys = [first.outbox.send("mail", number) for number in range(3)]
    first.outbox.close()
    second = Desk(tmp_path)
    second.register("mail")
    second.run(10)
    assert second.keys == keys
    second.outbox.close()


def test_a_key_is_taken_once_for_each_channel(desk: Desk) -> None:
    assert desk.outbox.send("mail", 1, key="a") == desk.outbox.send("mail", 2, key="a") == "a"
    desk.outbox.send("chat", 3, key="a")
    desk.register("mail", "chat")
    desk.run(10)
    desk.outbox.send("mail", 4, key="a")
    desk.run(10)
    assert [(message.channel, message.payload) for message in desk.sent] == [("mail", 1), ("chat", 3)]


def test_a_key_is_forgotten_when_its_time_is_over(desk: Desk) -> None:
    desk.register("mail")
    for days, sent in ((0, 1), (29, 1), (1.1, 2)):
        desk.clock.advance(days * 86_400)
        desk.run()
        desk.outbox.send("mail", None, key="a")
        desk.run()
        assert len(desk.sent) == sent


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (float("nan"), r"payload is nan"),
        ({"a": [1, float("inf")]}, r"payload\['a'\]\[1\] is inf"),
        ({"a": {1, 2}}, r"payload\['a'\] is a builtins.set"),
        ([object()], r"payload\[0\] is a builtins.object"),
        ({"a": {1: 2}}, r"payload\['a'\] has the key 1, a int"),
        ((1, 2), r"payload is a builtins.tuple"),
        (b"x", r"payload is a builtins.bytes"),
        (10**5000, "cannot be written as JSON"),
        ("x" * 256_000, r"256\.0 kB as JSON, and 256 kB is the limit \(max_payload_kb\)"),
    ],
    ids="nan infinity set object int-key tuple bytes huge-int large".split(),
)
def test_what_json_cannot_hold_exactly_is_refused_with_its_place(desk: Desk, payload: object, place: str) -> None:
    with pytest.raises(UnfitMessageError, match=place):
        desk.outbox.send("mail", payload)
    assert desk.outbox.waiting() == {}


def test_a_payload_that_holds_itself_is_refused(desk: Desk) -> None:
    payload: list[Any] = []
    payload.append(payload)
    with pytest.raises(UnfitMessageError, match="holds itself"):
        desk.outbox.send("mail", payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=20,
)


@given(JSON)
def test_an_accepted_payload_is_read_back_exactly(payload: object) -> None:
    assert repr(json.loads(fit_payload(payload, 256))) == repr(payload)


@pytest.mark.parametrize("name", ["", "x" * 201, 7, None, "\ud800"])
def test_a_channel_or_key_that_is_no_name_is_refused(desk: Desk, name: Any) -> None:
    with pytest.raises(UnfitMessageError, match="channel"):
        desk.outbox.send(name, 1)
    if name is not None:
        with pytest.raises(UnfitMessageError, match="key"):
            desk.outbox.send("mail", 1, key=name)


@pytest.mark.parametrize("lifetime_s", [0, -1, float("nan"), float("inf"), 1e12, "1"])
def test_an_impossible_lifetime_is_refused(desk: Desk, lifetime_s: Any) -> None:
    with pytest.raises(UnfitMessageError, match="expires_in_s"):
        desk.outbox.send("mail", 1, expires_in_s=lifetime_s)


def test_a_full_outbox_says_so_and_takes_known_keys_and_later_ones(desk: Desk) -> None:
    desk.outbox.configure(OutboxLimits(max_messages=2))
    for key in "ab":
        desk.outbox.send("mail", 1, key=key)
    with pytest.raises(OutboxFullError, match=r"2 messages wait in .*max_messages"):
        desk.outbox.send("chat", 1)
    assert desk.outbox.send("mail", 1, key="a") == "a"
    desk.register("mail")
    desk.run()
    desk.outbox.send("chat", 1)


def test_impossible_limits_are_refused_and_the_old_ones_stay(desk: Desk) -> None:
    with pytest.raises(ValueError, match="drain_per_s"):
        desk.outbox.configure(OutboxLimits(drain_per_s=0.0))
    desk.outbox.send("mail", 1)


def test_a_closed_outbox_refuses(desk: Desk) -> None:
    desk.outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        desk.outbox.send("mail", 1)
    assert desk.outbox.step() is None


# Order, failures, refusals


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
    desk.answers["mail"] = RefusedError("the circuit is open", retry_after_s=30)
    assert desk.run(70) == [0, 30, 60]
    assert [(message.attempt, message.in_doubt) for message in desk.sent] == [(1, False)] * 3
    assert desk.status()["why"] == "RefusedError: the circuit is open"
    del desk.answers["mail"]
    assert desk.run(0) == []
    desk.outbox.wake()
    assert desk.run(0) == [70]


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

    outbox = Outbox(tmp_path, "mailer", clock, protect=protect, threaded=False)
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


def test_a_generator_is_no_sender(desk: Desk) -> None:
    with pytest.raises(TypeError, match="generator"):

        @desk.outbox.sender("mail")
        def post(message: Message) -> Iterator[None]:
            yield


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

    outbox = Outbox(tmp_path, "mailer", FakeClock(), why_wait=why_wait, threaded=False)
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


@given(st.floats(0.01, 10_000), st.lists(st.floats(0, 1e6), min_size=2))
def test_the_pace_grows_and_never_exceeds_its_limit(drain_per_s: float, draining_s: list[float]) -> None:
    rates = [rate_per_s(OutboxLimits(drain_per_s=drain_per_s), seconds) for seconds in sorted(draining_s)]
    assert rates == sorted(rates)
    assert 0 < rates[-1] <= drain_per_s


def test_the_last_of_a_slow_drain_still_keeps_its_distance() -> None:
    pace = Pace().held().after_one(OutboxLimits(), 10.0, more=True)
    assert (pace.slow, pace.since_s, pace.next_s) == (True, 10.0, 11.0)
    assert pace.after_one(OutboxLimits(), 11.0, more=False) == Pace(next_s=12.0)


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_a_pause_has_bounds(failures: int, chance: float, asked_s: float | None) -> None:
    assert 0.5 <= pause_s(failures, chance, asked_s) <= 3600
    assert pause_s(failures, chance) <= 60


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


def test_a_report_that_fails_breaks_nothing(tmp_path: Path) -> None:
    def report(*told: object) -> None:
        raise RuntimeError("oops")

    outbox = Outbox(tmp_path, "mailer", FakeClock(), report=report, threaded=False)

    @outbox.sender("mail")
    def post(message: Message) -> None:
        raise ValueError

    outbox.send("mail", 1)
    assert outbox.step() == 0
    assert outbox.status()[0]["failed"] == 1
    outbox.close()


# Doubt


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
    monkeypatch.setattr("resilience.outbox.file._BUSY_S", 0.01)
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


# The file


@pytest.mark.parametrize(
    ("agent", "name"),
    [("mailer", "mailer.db"), ("my agent", "my%20agent.db"), ("a/ä", None), ("con", None), ("Mailer", None), ("x" * 300, None)],
)
def test_every_agents_file_has_a_name_that_windows_takes(agent: str, name: str | None, tmp_path: Path) -> None:
    path = file_of(tmp_path, agent)
    assert re.fullmatch(r"[\w%.~-]{1,140}\.db", path.name, re.ASCII)
    assert not re.match(r"(?i)(con|nul)\.", path.name)
    assert name is None or path.name == name


def test_names_that_differ_have_files_that_differ_whatever_their_case() -> None:
    names = ["a", "A", "con", "CON", "a/b", "a%2Fb", "x" * 300, "x" * 301, ".", "..", "ä", "Ä"]
    assert len({file_of(Path(), name).name.lower() for name in names}) == len(names)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
def test_the_file_is_its_owners_alone(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    parts = list(desk.outbox.path.parent.glob("mailer.db*"))
    assert {part.stat().st_mode & 0o777 for part in parts} == {0o600}
    assert desk.outbox.path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_sent_leaves_no_payload_behind(desk: Desk) -> None:
    desk.outbox.send("mail", "a secret")
    desk.register("mail")
    desk.run()
    with contextlib.closing(sqlite3.connect(desk.outbox.path)) as conn:
        assert conn.execute("SELECT state, payload FROM messages").fetchall() == [("sent", "")]


def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path) -> None:
    path = file_of(tmp_path, "mailer")
    path.write_bytes(b"this is no database " * 1000)
    desk = Desk(tmp_path)
    desk.outbox.send("mail", 1, key="a")
    [(error, component, operation)] = desk.reported
    assert (component, operation) == ("outbox", "open")
    [aside] = tmp_path.glob("mailer.damaged-20260101-000000.db")
    assert str(aside) in str(error)
    assert aside.read_bytes().startswith(b"this is no database")
    desk.register("mail")
    desk.run()
    assert desk.keys == ["a"]
    desk.outbox.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there; it is set aside when all have closed it")
def test_all_processes_go_on_with_the_new_file(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    for number in range(50):
        one.outbox.send("mail", "x" * 1000, key=f"lost-{number}")
    one.outbox._store.close()
    other.outbox.send("mail", 1)
    with one.outbox.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 5)
    one.outbox.send("mail", 1, key="a")
    other.outbox.send("mail", 2, key="b")
    assert len(list(tmp_path.glob("*.damaged-*.db"))) == 1
    other.outbox.close()
    one.outbox.send("mail", 3, key="c")
    one.outbox.close()
    last = Desk(tmp_path)
    last.register("mail")
    last.run(10)
    assert last.keys == ["a", "b", "c"]
    last.outbox.close()


def test_a_newer_versions_file_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file_of(tmp_path, "mailer"))) as conn:
        conn.execute("PRAGMA user_version = 2")
    desk = Desk(tmp_path)
    with pytest.raises(OutboxError, match="newer WinClaw"):
        desk.outbox.send("mail", 1)
    desk.outbox.close()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    desk = Desk(tmp_path / "file")
    with pytest.raises(OutboxError, match=re.escape(str(desk.outbox.path))):
        desk.outbox.send("mail", 1)
    desk.register("mail")
    with pytest.raises(OutboxError, match="lock"):
        desk.outbox.step()
    desk.outbox.close()


def test_a_file_that_is_removed_while_it_is_open_is_begun_anew(desk: Desk) -> None:
    """As another process does that sets it aside."""
    desk.register("mail")
    desk.outbox.send("mail", 1, key="a")
    desk.outbox._store.close()
    desk.outbox.path.unlink()
    desk.outbox.send("mail", 2, key="b")
    desk.run()
    assert desk.keys == ["b"]
    assert not list(desk.outbox.path.parent.glob("*.new"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_letting_go_of_a_file_that_was_set_aside_leaves_the_new_one_whole(tmp_path: Path) -> None:
    """SQLite removes a log by its name when the last one closes, though the name may be another file's by then."""
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.outbox.send("mail", 0)
    other.outbox.send("mail", 0)
    for ending in ("", "-wal", "-shm"):
        Path(f"{one.outbox.path}{ending}").rename(tmp_path / f"aside.db{ending}")
    one.outbox.send("mail", 1, key="a")
    log = Path(f"{one.outbox.path}-wal").stat().st_ino
    other.outbox.send("mail", 2, key="b")
    assert Path(f"{one.outbox.path}-wal").stat().st_ino == log
    one.register("mail")
    one.run(10)
    assert one.keys == ["a", "b"]
    one.outbox.close()
    other.outbox.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_of_two_that_see_the_damage_one_sets_the_file_aside(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.outbox.send("mail", 1, key="lost")
    other.outbox.send("mail", 1, key="lost")
    damage = sqlite3.DatabaseError("damaged")
    one.outbox._store._file._set_aside(damage)
    one.outbox.send("mail", 1, key="a")
    other.outbox._store._file._set_aside(damage)
    other.outbox.send("mail", 1, key="b")
    assert one.outbox.waiting() == other.outbox.waiting() == {"mail": 2}
    assert len(list(tmp_path.glob("*.damaged-*.db"))) == 1
    one.outbox.close()
    other.outbox.close()


def test_a_message_is_claimed_by_one_only(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    store = desk.outbox._store
    [head] = store.heads()
    assert store.claim(head, in_doubt=False) == "1"
    assert store.claim(head, in_doubt=False) is None
    assert store.claim(store.heads()[0], in_doubt=False) is None


# Several at once


def test_one_of_several_delivers_and_another_takes_over(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.register("mail")
    other.register("mail")
    one.outbox.step()
    other.outbox.send("mail", 1, key="a")
    assert other.outbox.step() == LOOK_AGAIN_S
    one.run()
    assert (one.keys, other.keys) == (["a"], [])
    one.outbox.close()
    other.outbox.send("mail", 2, key="b")
    other.run(5)
    assert other.keys == ["b"]
    other.outbox.close()


def test_a_lock_is_one_holders_until_it_lets_go(tmp_path: Path) -> None:
    held = locked.take(tmp_path / "x.lock")
    assert held is not None
    assert locked.take(tmp_path / "x.lock") is None
    held.close()
    again = locked.take(tmp_path / "x.lock")
    assert again is not None
    again.close()


def test_many_threads_may_send(desk: Desk) -> None:
    def send(thread: int) -> None:
        for number in range(20):
            desk.outbox.send("mail", [thread, number])
            desk.outbox.send("mail", "shared", key=f"shared-{number}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.register("mail")
    desk.run(100)
    payloads = [message.payload for message in desk.sent]
    assert payloads.count("shared") == 20
    for thread_number in range(4):
        assert [one for one in payloads if one[0] == thread_number] == [[thread_number, number] for number in range(20)]


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, "mailer", SystemClock(), limits=FAST)
    yield outbox
    outbox.close()


def test_the_thread_delivers_and_a_defect_does_not_end_it(threaded: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    sent = []

    @threaded.sender("mail")
    def post(message: Message) -> None:
        sent.append(message.key)
        if len(sent) == 1:
            raise SystemExit

    threaded.send("mail", 1, key="a")
    threaded.send("mail", 1, key="b")
    assert threaded.flush(60)
    assert sent == ["a", "a", "b"]
    assert "an unexpected fault in the outbox" in caplog.text
    assert "winclaw-outbox" in {thread.name for thread in threading.enumerate()}


def test_closing_waits_for_the_message_in_hand(threaded: Outbox) -> None:
    began, go_on = threading.Event(), threading.Event()

    @threaded.sender("mail")
    def post(message: Message) -> None:
        began.set()
        go_on.wait(60)

    threaded.send("mail", 1)
    assert began.wait(60)
    closing = threading.Thread(target=threaded.close)
    closing.start()
    go_on.set()
    closing.join(60)
    assert threaded.waiting() == {}
    lock = locked.take(threaded.path.with_suffix(".lock"))
    assert lock is not None
    lock.close()
    threaded._store.close()


def test_flush_says_when_something_still_waits(threaded: Outbox) -> None:
    threaded.send("mail", 1)
    assert threaded.flush(0.01) is False


def test_a_sender_may_send(threaded: Outbox) -> None:
    threaded.sender("mail")(lambda message: threaded.send("log", message.key))
    logged: list[str] = []
    threaded.sender("log")(lambda message: logged.append(message.payload))
    threaded.send("mail", 1, key="a")
    assert threaded.flush(60)
    assert logged == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_sends_and_its_parent_delivers(desk: Desk) -> None:
    desk.register("mail")
    desk.outbox.send("mail", 1, key="parent-1")
    desk.run()
    file = desk.outbox._store._file
    child = os.fork()
    assert file._conn is None
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            desk.outbox.send("mail", 2, key="child")
            code = 0 if desk.outbox.step() == LOOK_AGAIN_S else 2
            desk.outbox.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    desk.outbox.send("mail", 3, key="parent-2")
    desk.run(10)
    assert desk.keys == ["parent-1", "child", "parent-2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    parent, other = Desk(tmp_path), Desk(tmp_path)
    parent.register("mail")
    other.register("mail")
    parent.run()
    wait, go_on = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_on)
        os.read(wait, 1)
        os._exit(0)
    parent.outbox.close()
    other.outbox.send("mail", 1, key="a")
    other.run()
    assert other.keys == ["a"]
    os.close(go_on)
    os.close(wait)
    os.waitpid(child, 0)
    other.outbox.close()


# Real processes, killed without warning


class Receiver:
    """A server on this machine that keeps the raw record of every POST, and kills the one who asks when it is told to.

    Args:
        kills: which request, by number, is whose last, and when: ``lost`` (before it is recorded), ``unanswered`` (recorded,
            and not answered), ``answered`` (at the moment of the answer).
    """

    def __init__(self, kills: dict[int, str]) -> None:
        self.record: list[dict[str, Any]] = []
        self.kills, self.requests = kills, 0
        self.child: subprocess.Popen[bytes] | None = None
        self.recorded = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.recorded:
                    receiver.requests += 1
                    when = receiver.kills.get(receiver.requests)
                    if when != "lost":
                        receiver.record.append(body)
                        receiver.recorded.notify_all()
                self.answer(when, {})

            def do_GET(self) -> None:
                with receiver.recorded:
                    receiver.requests += 1
                    when = receiver.kills.get(receiver.requests)
                    received = any(self.path == f"/received/{body['key']}" for body in receiver.record)
                self.answer(when, {"received": received})

            def answer(self, when: str | None, said: dict[str, Any]) -> None:
                if when in ("lost", "unanswered"):
                    receiver.kill()
                    return
                content = json.dumps(said).encode()
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                if when == "answered":
                    receiver.kill()

            def log_message(self, *_: object) -> None:
                """Nothing: the tests' output is no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(self.server.server_port), *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self.child

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.communicate()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def keys(self, channel: str) -> list[str]:
        return [body["key"] for body in self.record if body["channel"] == channel]


CHILD = """
import http.client, json, sys
from pathlib import Path
from resilience.clock import SystemClock
from resilience.outbox.outbox import Outbox
from resilience.policies import OutboxLimits

folder, port, how, count = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body)
    answer = connection.getresponse()
    assert answer.status == 200
    try:
        return json.load(answer)
    finally:
        connection.close()

def post(message):
    said = {"channel": message.channel, "key": message.key, "in_doubt": message.in_doubt, "attempt": message.attempt}
    ask("POST", "/", json.dumps(said))

def was_sent(message):
    return ask("GET", "/received/" + message.key)["received"]

outbox = Outbox(folder, "mailer", SystemClock(), limits=OutboxLimits(drain_per_s=10_000.0, max_attempts=100))
for number in range(count):
    for channel in ("mail", "chat"):
        outbox.send(channel, number, key=f"{channel}-{number}")
if how != "enqueues":
    for channel in ("mail", "chat"):
        outbox.sender(channel, was_sent=was_sent if how == "asks" else None)(post)
print("ready", flush=True)
if count:
    assert how == "enqueues" or outbox.flush(60)
else:
    sys.stdin.read()
outbox.close()
"""
KEYS: Final = {channel: [f"{channel}-{number}" for number in range(12)] for channel in ("mail", "chat")}


@contextlib.contextmanager
def receiver_that_kills(**kills: str) -> Iterator[Receiver]:
    receiver = Receiver({int(number[1:]): when for number, when in kills.items()})
    try:
        yield receiver
    finally:
        receiver.close()


def run_until_it_ends(receiver: Receiver, folder: Path, how: str) -> int:
    """Starts the same agent again and again until one process is not killed; returns how many were."""
    for killed in range(len(receiver.kills) + 1):
        child = receiver.start(folder, how, "12")
        child.communicate()
        if child.returncode == 0:
            return killed
    raise AssertionError(f"the last process ended with {child.returncode}")


@pytest.mark.parametrize(
    "kills",
    [
        {"n1": "lost", "n3": "lost", "n5": "unanswered", "n6": "lost", "n14": "answered"},
        {"n1": "unanswered", "n2": "unanswered", "n3": "answered", "n9": "unanswered", "n24": "unanswered"},
        {"n2": "answered", "n4": "answered", "n8": "lost", "n16": "unanswered"},
    ],
)
def test_kill_9_while_delivering_sends_everything_exactly_once_where_the_receiver_can_be_asked(
    tmp_path: Path, kills: dict[str, str]
) -> None:
    """Each process is killed at one request: a POST that was lost, received or answered, or the question itself."""
    with receiver_that_kills(**kills) as receiver:
        assert run_until_it_ends(receiver, tmp_path, "asks") == len(kills)
        for channel, keys in KEYS.items():
            assert receiver.keys(channel) == keys


def test_kill_9_while_delivering_loses_nothing_and_repeats_only_what_is_in_doubt(tmp_path: Path) -> None:
    kills = {"n1": "unanswered", "n2": "lost", "n4": "answered", "n9": "unanswered", "n17": "unanswered", "n20": "lost"}
    with receiver_that_kills(**kills) as receiver:
        assert run_until_it_ends(receiver, tmp_path, "only sends") == len(kills)
        for channel, keys in KEYS.items():
            assert list(dict.fromkeys(receiver.keys(channel))) == keys
            assert receiver.keys(channel) == sorted(receiver.keys(channel), key=keys.index)
        seen = set()
        for body in receiver.record:
            assert body["in_doubt"] or body["key"] not in seen
            seen.add(body["key"])
        assert 3 <= len(receiver.record) - len(seen) <= 4


def test_when_the_process_that_delivers_is_killed_another_takes_over(tmp_path: Path) -> None:
    with receiver_that_kills() as receiver:
        desk = Desk(tmp_path, FakeClock(SystemClock().now()))  # the child's clock is the real one
        child = receiver.start(tmp_path, "asks", "0")
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"ready"
        desk.register("mail")
        desk.outbox.send("mail", 1, key="a")
        with receiver.recorded:
            assert receiver.recorded.wait_for(lambda: receiver.keys("mail") == ["a"], 60)
        assert desk.outbox.step() == LOOK_AGAIN_S
        receiver.kill()
        desk.outbox.send("mail", 2, key="b")
        desk.run(10)
        assert desk.keys[-1:] == ["b"]
        assert receiver.keys("mail") == ["a"]
        desk.outbox.close()


def test_many_processes_that_begin_at_once_accept_every_key_once(tmp_path: Path) -> None:
    with receiver_that_kills() as receiver:
        children = [receiver.start(tmp_path, "enqueues", "12") for _ in range(6)]
        for child in children:
            child.communicate()
            assert child.returncode == 0
        assert run_until_it_ends(receiver, tmp_path, "only sends") == 0
        for channel, keys in KEYS.items():
            assert receiver.keys(channel) == keys


def test_kill_9_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from resilience.clock import SystemClock
from resilience.outbox.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "mailer", SystemClock())
for number in range(10_000):
    print(outbox.send("mail", number), flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    accepted = [child.stdout.readline() for _ in range(50)]
    child.kill()
    accepted += child.communicate()[0].splitlines(keepends=True)
    keys = [line.decode().strip() for line in accepted if line.endswith(b"\n")]
    desk = Desk(tmp_path)
    desk.register("mail")
    while desk.outbox.waiting():
        desk.run(1)
    assert desk.keys[: len(keys)] == keys
    assert len(desk.keys) <= len(keys) + 1
    desk.outbox.close()


# The documentation


def test_the_examples_in_the_documentation_run(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "outbox.md").read_text("utf-8"), re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "WINCLAW_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_limit_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "outbox.md").read_text("utf-8")
    for name in OutboxLimits.__struct_fields__:
        assert f"| `{name}` | {getattr(OutboxLimits(), name):g} |" in text


# Beside a plain model


class OutboxMachine(RuleBasedStateMachine):
    """Two channels, one that can be asked and one that cannot; failures, refusals, deaths, and the clock between them."""

    CHANNELS = ("asked", "blind")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.accepted: dict[str, list[str]] = {channel: [] for channel in self.CHANNELS}
        self.arrived: list[Message] = []
        self.settled: set[tuple[str, str]] = set()
        self.behaviour = dict.fromkeys(self.CHANNELS, "takes it")
        self.reasons: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        self.outbox = Outbox(
            self.folder, "mailer", self.clock, limits=OutboxLimits(max_attempts=1000, drain_per_s=100.0),
            why_wait=self.reasons.get, dice=lambda: 0.0, threaded=False,
        )  # fmt: skip
        self.outbox.sender("asked", was_sent=self.was_sent)(self.receive)
        self.outbox.sender("blind")(self.receive)

    def was_sent(self, message: Message) -> bool:
        if any((message.channel, message.key) == (one.channel, one.key) for one in self.arrived):
            self.settled.add((message.channel, message.key))
            return True
        return False

    def receive(self, message: Message) -> None:
        behaviour = self.behaviour[message.channel]
        if behaviour in ("takes it", "is late", "kills after"):
            self.arrived.append(message)
        match behaviour:
            case "takes it":
                self.settled.add((message.channel, message.key))
            case "is late" | "is down":
                raise TimeoutError
            case "refuses":
                raise RefusedError
            case "says no":
                self.settled.add((message.channel, message.key))
                raise ValueError
            case _:
                die(self.outbox)

    @rule(channel=st.sampled_from(CHANNELS), number=st.integers(0, 30))
    def send(self, channel: str, number: int) -> None:
        assert self.outbox.send(channel, number, key=str(number)) == str(number)
        if str(number) not in self.accepted[channel]:
            self.accepted[channel].append(str(number))

    @rule(
        channel=st.sampled_from(CHANNELS),
        behaviour=st.sampled_from(["takes it", "is late", "is down", "refuses", "says no", "kills after", "kills before"]),
    )
    def behave(self, channel: str, behaviour: str) -> None:
        self.behaviour[channel] = behaviour

    @rule(channel=st.sampled_from(CHANNELS), waits=st.booleans())
    def reason(self, channel: str, waits: bool) -> None:
        if waits:
            self.reasons[channel] = "wait"
        else:
            self.reasons.pop(channel, None)

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(times=st.integers(1, 5))
    def step(self, times: int) -> None:
        for _ in range(times):
            try:
                self.outbox.step()
            except OutboxError:
                self.outbox.close()
                self.begin()

    @rule()
    def wake(self) -> None:
        self.outbox.wake()

    @invariant()
    def what_waits_is_what_was_accepted_and_not_settled(self) -> None:
        open_now = {name: sum((name, key) not in self.settled for key in keys) for name, keys in self.accepted.items()}
        assert self.outbox.waiting() == {name: count for name, count in open_now.items() if count}

    @invariant()
    def what_arrived_is_in_order(self) -> None:
        for channel, keys in self.accepted.items():
            places = [keys.index(message.key) for message in self.arrived if message.channel == channel]
            assert places == sorted(places)
            if channel == "asked":
                assert len(places) == len(set(places))
        seen = set()
        for message in self.arrived:
            assert message.in_doubt or (message.channel, message.key) not in seen
            seen.add((message.channel, message.key))

    def teardown(self) -> None:
        self.behaviour = dict.fromkeys(self.CHANNELS, "takes it")
        self.reasons.clear()
        while self.outbox.waiting():
            self.step(1)
            self.clock.advance(0.5)
        assert self.settled == {(name, key) for name, keys in self.accepted.items() for key in keys}
        self.what_arrived_is_in_order()
        self.outbox.close()
        shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestOutbox = OutboxMachine.TestCase
