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
from datetime import datetime
from typing import TYPE_CHECKING, Final

from resilience.alerting.alerts import AlertPriority
from resilience.alerting.batches import MAX_AGE, Batch, Pace, given_up, next_batch, of_journal
from resilience.alerting.channels import Channels
from resilience.alerting.sending import Sender, UndeliverableError
from resilience.circuit.breaker import CircuitBreaker
from resilience.clock import Clock
from resilience.context import message_of
from resilience.core.inputs import Offered, Sending, TellingTold, TooLateError
from resilience.core.notices import JOURNAL
from resilience.outbox.message import pause_s
from resilience.policies import CircuitBreakerConfig
from resilience.refusals import RefusedError

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.core.state import State

_COMMIT_S: Final = 10.0
_AGAIN_S: Final = 10.0
_LOOK_S: Final = 60.0
"""How long it rests at most, where it is to rest until a time of day: clocks are set, and machines sleep."""
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
        self._offered: Mapping[str, Sender | None] = {}
        self._made_of: tuple[Channels, Mapping[str, Sender]] | None = None
        self._channels: dict[str, Channel] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._seen: State | None = None
        self._hearing = threading.Lock()
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

    def expect(self, name: str) -> None:
        """Has what happens from now on wait for a channel that will be offered."""
        self._offered = {**self._offered, name: None}
        self._core.tell(Offered(name, True))

    def offer(self, name: str, send: Sender) -> Callable[[], None]:
        """Adds a channel that not every WinClaw has; what is returned takes it away.

        Raises:
            CoreBusyError, TimeoutError: the core takes nothing.
        """
        is_expected = name in self._offered
        self._offered = {**self._offered, name: send}
        if is_expected:
            self._heard((), self._core.state)  # by hand: to the core it is no news
        else:
            self._core.tell(Offered(name, True)).result(_COMMIT_S)

        def withdraw() -> None:
            from resilience.core.core import CoreBusyError  # noqa: PLC0415 -- only an app has a core

            self._offered = {other: one for other, one in self._offered.items() if other != name}
            with contextlib.suppress(CoreBusyError):  # it has ended before us
                self._core.tell(Offered(name, False))

        return withdraw

    def _heard(self, _events: object, state: State) -> None:
        """Has the channels look for what is new; after a change of the configuration they are others."""
        with self._hearing:
            self._follow(state)

    def _follow(self, state: State) -> None:
        """Has the channels be those that are on and offered, and wakes those for which something may be new in ``state``."""
        before, self._seen = self._seen, state
        channels = state.settings.alerting.channels
        offered = {name: send for name, send in self._offered.items() if send is not None and channels.by_name[name].enabled}
        wanted = channels, offered
        if wanted != self._made_of:
            self._make(dict([*self._senders(channels), *offered.items()]))
            self._made_of = wanted
        if before is None or state.alerts is not before.alerts or state.notices is not before.notices:
            waited_for = {one.channel for alert in state.alerts.values() for one in alert.open_tellings}
            for name, channel in self._channels.items():
                if name in waited_for or before is None or state.notices is not before.notices:
                    channel.wake()

    def _make(self, senders: Mapping[str, Sender]) -> None:
        """Has these send from now on; each begins when who sent before by the same channel has ended."""
        for channel in self._channels.values():
            channel.end()
        self._threads |= {name: channel.busy for name, channel in self._channels.items()}
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        self._channels = {
            name: Channel(name, send, self._core, self._clock, after=self._threads.get(name)) for name, send in senders.items()
        }
        for channel in self._channels.values():
            channel.thread.start()


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
        self._rests: Mapping[str, float] = {}
        self._rests_until_s = 0.0
        self._knows_of_journal = False
        self._news, self._ending = threading.Event(), threading.Event()
        self._after = after
        self.thread = threading.Thread(target=self._main, name=f"alerts-{name}", daemon=True)
        self.wake = self._news.set

    @property
    def busy(self) -> threading.Thread:
        """The thread that may be sending: its own, or still that of who sent before."""
        return self._after or self.thread

    def end(self) -> None:
        """Has it end after the message that it is sending."""
        self._ending.set()
        self._news.set()

    def step(self) -> float | None:
        """Sends one message; returns how many seconds to rest, until there is news at most; None: until there is news.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing just now; nothing is lost.
        """
        now, now_s, state = self._clock.now(), self._clock.monotonic(), self._core.state
        if now_s < self._rests_until_s:
            return self._rests_until_s - now_s
        if (rest_s := self._of_journal(state, now)) is not None:
            return rest_s
        if old := given_up(state.alerts, self._name, now):
            return self._told(old, False, f"it did not arrive in {MAX_AGE.days * 24} hours")
        found = next_batch(state.alerts, self._name, state.settings.alerting, self._pace, now, now_s, self._rests)
        if not isinstance(found, Batch):
            return found
        try:
            self._core.tell(Sending(found.keys, found.digest)).result(_COMMIT_S)
        except (KeyError, TooLateError):  # it has just made room for others
            return 0.0
        try:
            accepted = self._circuit.call(self._send, found.alert, found.telling)
        except UndeliverableError as error:
            return self._told(found.keys, False, message_of(error))
        except RefusedError as error:
            self._rests_until_s = self._clock.monotonic() + max(error.retry_after_s or 0.0, 1.0)
            return self._told(found.keys, None, message_of(error))
        except Exception as error:
            until_s = self._clock.monotonic() + pause_s(found.telling.attempts + 1, self._dice())
            self._rests = {**{key: s for key, s in self._rests.items() if s > now_s}, found.telling.key: until_s}
            return self._told(found.keys, None, message_of(error))
        self._pace = self._pace.sent(self._clock.monotonic())
        return self._told(found.keys, True, accepted)

    def _of_journal(self, state: State, now: datetime) -> float | None:
        """Tells at once that the journal cannot be written, if that is so and not yet told; None: nothing of that kind."""
        notice = next((one for one in state.notices if one.name == JOURNAL), None)
        is_told = self._name in state.settings.alerting.told_of(AlertPriority.P1_CRITICAL)
        if notice is None or not is_told or self._knows_of_journal:
            self._knows_of_journal = notice is not None
            return None
        try:
            self._send(*of_journal(notice, now))
        except Exception as error:
            _log.warning("that the journal cannot be written could not be told by %s: %s", self._name, message_of(error))
            return _AGAIN_S
        self._knows_of_journal = True
        return 0.0

    def _told(self, keys: tuple[str, ...], delivered: bool | None, why: str) -> float:
        with contextlib.suppress(KeyError, TooLateError):
            self._core.tell(TellingTold(keys, delivered, why)).result(_COMMIT_S)
        return 0.0

    def _main(self) -> None:
        while self._after is not None and not self._ending.is_set():
            self._after.join(_END_S)
            self._after = self._after if self._after.is_alive() else None
        while not self._ending.is_set():
            self._news.clear()
            try:
                rest_s = self.step()
            except Exception:  # a busy core, a full disk, or a defect of ours
                _log.exception("alerts by %s have to wait", self._name)
                rest_s = _AGAIN_S
            if rest_s is None or rest_s > 0:
                self._news.wait(rest_s and min(rest_s, _LOOK_S))
