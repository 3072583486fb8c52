"""An outbox without a thread, on a fake clock, whose senders keep what they were called with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from resilience.outbox.file import OutboxError
from resilience.outbox.message import Message
from resilience.outbox.outbox import Outbox
from resilience.policies import OutboxLimits
from resilience.refusals import RefusedError
from resilience.testing import FakeClock

ROOT: Final = Path(__file__).resolve().parents[3]
FAST: Final = OutboxLimits(drain_per_s=10_000.0)


class Stepped(Outbox):
    """An outbox without a thread: whoever made it calls ``step``."""

    def _start(self) -> None:
        """Nothing: the test steps."""


class Desk:
    """An outbox without a thread, its clock, and everything that its senders were called with."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, limits: OutboxLimits = FAST) -> None:
        self.clock = clock or FakeClock()
        self.reported: list[tuple[Exception, str, str]] = []
        self.reasons: dict[str, str] = {}
        self.sent: list[Message] = []
        self.answers: dict[str, Any] = {}
        self.refusals: dict[str, RefusedError] = {}
        self.refused: list[float] = []
        self.outbox = Stepped(
            folder, "mailer", self.clock, limits=limits, why_wait=self.reasons.get, protect=self.protect,
            report=lambda *told: self.reported.append(told), dice=lambda: 0.0,
        )  # fmt: skip

    def register(self, *channels: str, was_sent: Any = None) -> None:
        for channel in channels:
            self.outbox.sender(channel, was_sent=was_sent)(self.receive)

    def protect(self, channel: str, sender: Any) -> Any:
        """The channel's policies, which may refuse before the sender runs."""

        def protected(message: Message) -> Any:
            if channel in self.refusals:
                self.refused.append(self.clock.monotonic())
                raise self.refusals[channel]
            return sender(message)

        return protected

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
