"""A program that tells of things by an ``AlertManager`` of its own, and those who are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from resilience.alerting.alerts import Alert, AlertPriority, TellingState
from resilience.alerting.manager import AlertManager
from resilience.context import ErrorContext, ErrorSeverity

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
