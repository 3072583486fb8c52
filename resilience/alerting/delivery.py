"""The delivery of alerts: what the core has decided that somebody is to be told is sent, by each channel on its own.

The journal is the outbox: a message waits there from the moment of the decision. Its channel claims it, sends it, and says
what became of it, each on disk before the next step. One that was being sent when WinClaw died is sent once more, under the
same key. A channel has a thread of its own: one that hangs holds up no other.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from resilience.alerting.batches import Batch, Pace, next_batch
from resilience.alerting.channels import Channels
from resilience.alerting.sending import Sender, UndeliverableError
from resilience.circuit.breaker import CircuitBreaker
from resilience.clock import Clock
from resilience.context import message_of
from resilience.core.inputs import Offered, Sending, TellingTold, TooLateError
from resilience.outbox.message import pause_s
from resilience.policies import CircuitBreakerConfig
from resilience.refusals import RefusedError

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.core.state import State

MAX_AGE: Final = timedelta(hours=24)
"""What has not arrived after so long is given up: it is in the past."""
_COMMIT_S: Final = 10.0
_AGAIN_S: Final = 2.0
_END_S: Final = 1.0
_CIRCUIT: Final = CircuitBreakerConfig(failure_threshold=5, timeout_seconds=30, success_threshold=1)
_log = logging.getLogger("winclaw.alerts")


class AlertDelivery:
    """Delivers alerts from ``start`` to ``stop``; what waits then is delivered by the next WinClaw.

    Args:
        senders: each channel that the configuration has turned on, and what sends by it.
    """

    def __init__(self, core: Core, senders: Callable[[Channels], Iterable[tuple[str, Sender]]], clock: Clock) -> None:
        self._core, self._senders, self._clock = core, senders, clock
        self._offered: Mapping[str, Sender] = {}
        self._made_of: tuple[Channels, Mapping[str, Sender]] | None = None
        self._channels: dict[str, Channel] = {}
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begins with what an earlier WinClaw has left."""
        self._heard((), self._core.state)
        self._unsubscribe = self._core.subscribe(self._heard)

    def stop(self) -> None:
        """Ends; waits a moment for who is just sending."""
        self._unsubscribe()
        for channel in self._channels.values():
            channel.end()
        for channel in self._channels.values():
            channel.thread.join(_END_S)

    def offer(self, name: str, send: Sender) -> Callable[[], None]:
        """Adds a channel that not every WinClaw has; what is returned takes it away.

        Raises:
            CoreBusyError: the core takes nothing.
        """
        self._offered = {**self._offered, name: send}
        self._core.tell(Offered(name, True))

        def withdraw() -> None:
            from resilience.core.core import CoreBusyError  # noqa: PLC0415 -- only an app has a core

            self._offered = {other: one for other, one in self._offered.items() if other != name}
            with contextlib.suppress(CoreBusyError):  # it has ended before us
                self._core.tell(Offered(name, False))

        return withdraw

    def _heard(self, _events: object, state: State) -> None:
        """Has the channels look for what is new; after a change of the configuration they are others."""
        channels = state.settings.alerting.channels
        wanted = channels, {name: send for name, send in self._offered.items() if channels.by_name[name].enabled}
        if wanted != self._made_of:
            self._made_of, before = wanted, self._channels
            for channel in before.values():
                channel.end()
            self._channels = {
                name: Channel(name, send, self._core, self._clock, after=before[name].thread if name in before else None)
                for name, send in (*self._senders(channels), *wanted[1].items())
            }
            for channel in self._channels.values():
                channel.thread.start()
        for channel in self._channels.values():
            channel.wake()


class Channel:
    """One channel: sends what waits for it, one message after the other, on a thread of its own.

    Args:
        dice: gives 0 to 1, for the pauses. after: who sent by this channel before, and may still be at it.
    """

    def __init__(
        self, name: str, send: Sender, core: Core, clock: Clock, *,
        dice: Callable[[], float] = random.random, after: threading.Thread | None = None,
    ) -> None:  # fmt: skip
        self._name, self._send, self._core, self._clock, self._dice = name, send, core, clock, dice
        self._circuit = CircuitBreaker(f"alerts by {name}", _CIRCUIT, clock=clock)
        self._pace = Pace()
        self._failures = 0
        self._rests_until_s = 0.0
        self._news, self._ending = threading.Event(), threading.Event()
        self._after = after
        self.thread = threading.Thread(target=self._main, name=f"alerts-{name}", daemon=True)
        self.wake = self._news.set

    def end(self) -> None:
        """Has it end after the message that it is sending."""
        self._ending.set()
        self._news.set()

    def step(self) -> float | None:
        """Sends one message; returns how many seconds to rest, until there is news at most; None: until there is news.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing just now; nothing is lost.
        """
        now_s = self._clock.monotonic()
        if now_s < self._rests_until_s:
            return self._rests_until_s - now_s
        state = self._core.state
        found = next_batch(state.alerts, self._name, state.settings.alerting, self._pace, self._clock.now(), now_s)
        if not isinstance(found, Batch):
            return found
        if self._clock.now() - found.telling.at > MAX_AGE:
            return self._told(found, False, f"it did not arrive in {MAX_AGE.days * 24} hours; {found.telling.why}")
        try:
            self._core.tell(Sending(found.keys, found.digest)).result(_COMMIT_S)
        except (KeyError, TooLateError):  # it has just made room for others
            return 0.0
        try:
            accepted = self._circuit.call(self._send, found.alert, found.telling)
        except UndeliverableError as error:
            return self._told(found, False, message_of(error))
        except Exception as error:
            self._failures += 1
            self._told(found, None, message_of(error))
            asked_s = error.retry_after_s if isinstance(error, RefusedError) else None
            rest_s = pause_s(self._failures, self._dice(), asked_s)
            self._rests_until_s = self._clock.monotonic() + rest_s
            return rest_s
        self._failures = 0
        self._pace = self._pace.sent(self._clock.monotonic())
        return self._told(found, True, accepted)

    def _told(self, batch: Batch, delivered: bool | None, why: str) -> float:
        with contextlib.suppress(KeyError, TooLateError):
            self._core.tell(TellingTold(batch.keys, delivered, why)).result(_COMMIT_S)
        return 0.0

    def _main(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        while not self._ending.is_set():
            self._news.clear()
            try:
                rest_s = self.step()
            except Exception:  # a busy core, a full disk, or a defect of ours
                _log.exception("alerts by %s have to wait", self._name)
                rest_s = _AGAIN_S
            if rest_s is None or rest_s > 0:
                self._news.wait(rest_s)
