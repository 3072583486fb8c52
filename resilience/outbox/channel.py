"""A channel of the outbox, as the process that delivers knows it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from resilience.outbox.message import Message, Pace, pause_s
from resilience.wrapping import is_async


class Channel:
    """What this process knows of a channel: its sender, and how it fares. Moments are on the monotonic clock.

    Args:
        protect: puts the sender behind the channel's policies. was_sent: asked whether a message in doubt has arrived.
    """

    def __init__(
        self,
        name: str,
        protect: Callable[[str, Callable[..., Any]], Callable[..., Any]],
        sender: Callable[..., Any],
        was_sent: Callable[..., Any] | None,
    ) -> None:
        self.name, self.sender, self.was_sent = name, protect(name, self._noting(sender)), was_sent
        self.began = False
        """Whether the agent's own function was entered in the latest delivery, or was refused by its policies before."""
        self.failures = self.refusals = self.turn = 0
        self.rests_until_s, self.pace = -math.inf, Pace()

    def _noting(self, sender: Callable[..., Any]) -> Callable[..., Any]:
        if is_async(sender):

            @functools.wraps(sender)
            async def send_async(message: Message) -> Any:
                self.began = True
                return await sender(message)

            return send_async

        @functools.wraps(sender)
        def send(message: Message) -> Any:
            self.began = True
            return sender(message)

        return send

    def rest(self, now_s: float, times: int, chance: float, asked_s: float | None = None) -> None:
        """Has nothing leave for a while, after so many failures or refusals; for the arguments see ``pause_s``."""
        self.pace = self.pace.held()
        self.rests_until_s = now_s + pause_s(times, chance, asked_s)

    def forget_refusals(self) -> None:
        """What was refused may be tried at once."""
        if self.refusals:
            self.refusals, self.rests_until_s = 0, -math.inf
