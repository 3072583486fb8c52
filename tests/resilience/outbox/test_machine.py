"""The outbox beside a plain model, through failures, refusals, deaths and waiting, in any order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resilience.outbox.file import OutboxError
from resilience.outbox.message import Message
from resilience.policies import OutboxLimits
from resilience.refusals import RefusedError
from resilience.testing import FakeClock
from tests.resilience.outbox.conftest import Stepped, die


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
        self.outbox = Stepped(
            self.folder, "mailer", self.clock, limits=OutboxLimits(max_attempts=1000, drain_per_s=100.0),
            why_wait=self.reasons.get, protect=self.protect, dice=lambda: 0.0,
        )  # fmt: skip
        self.outbox.sender("asked", was_sent=self.was_sent)(self.receive)
        self.outbox.sender("blind")(self.receive)

    def protect(self, channel: str, sender: Any) -> Any:
        def protected(message: Message) -> Any:
            if self.behaviour[channel] == "refuses":
                raise RefusedError
            return sender(message)

        return protected

    def was_sent(self, message: Message) -> bool:
        if any((message.channel, message.key) == (one.channel, one.key) for one in self.arrived):
            self.settled.add((message.channel, message.key))
            return True
        return False

    def receive(self, message: Message) -> None:
        behaviour = self.behaviour[message.channel]
        if behaviour in ("takes it", "is late", "refuses late", "kills after"):
            self.arrived.append(message)
        match behaviour:
            case "takes it":
                self.settled.add((message.channel, message.key))
            case "is late" | "is down":
                raise TimeoutError
            case "refuses late":
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
        behaviour=st.sampled_from(
            ["takes it", "is late", "is down", "refuses", "refuses late", "says no", "kills after", "kills before"]
        ),
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


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestOutbox = OutboxMachine.TestCase
