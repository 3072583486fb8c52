"""The delivery of an outbox's messages: which one is next, what its sender's answer means, what is written down."""

from __future__ import annotations

import inspect
import itertools
import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, as_text
from resilience.context import message_of
from resilience.listeners import tell
from resilience.outbox.channel import Channel
from resilience.outbox.message import Message, MessageExpiredError, MessageGivenUpError
from resilience.outbox.store import Head, OutboxStore, Outcome
from resilience.policies import OutboxLimits
from resilience.refusals import RefusedError

if TYPE_CHECKING:
    import asyncio

_FORGET_EVERY_S: Final = 600.0
_EXACT_S: Final = 1e-6
_MAX_WHY: Final = 500


class Delivery:
    """Delivers what the store holds, one message a step; only one thread at a time steps. See ``Outbox`` for the arguments."""

    def __init__(
        self,
        store: OutboxStore,
        clock: Clock,
        limits: OutboxLimits,
        why_wait: Callable[[str], str | None],
        report: Callable[[Exception, str, str], Any],
        classifier: ErrorClassifier,
        dice: Callable[[], float],
    ) -> None:
        self.limits, self.channels = limits, dict[str, Channel]()
        self._store, self._clock, self._why_wait, self._report = store, clock, why_wait, report
        self._classifier, self._dice = classifier, dice
        self._turns = itertools.count(1)
        self._owed: list[tuple[Outcome, Exception | None]] = []
        self._backlog: set[str] = set()
        self._forgets_at_s = -math.inf
        self._runner: asyncio.Runner | None = None
        self._left_behind: list[object] = []

    def begin_anew(self) -> None:
        """In a forked child: what is owed, its parent pays; the event loop is shared with it, so it must not even be closed."""
        self._left_behind.append(self._runner)
        self._runner = None
        self._owed.clear()

    def take_over(self) -> None:
        """Begins to deliver in place of whoever did before: what that one was sending is in doubt."""
        self._store.recover()
        self._backlog = set(self._store.waiting())

    def step(self) -> float | None:
        """Delivers at most one message; returns the seconds until there may be something to do, None: only when told."""
        self._pay()
        expiry, now = self._store.next_expiry(), self._clock.now()
        if expiry is not None and expiry <= now:
            self._expire(now)
            return 0.0
        self._forget(now)
        now_s = self._clock.monotonic()
        pauses = [] if expiry is None else [max((expiry - now).total_seconds(), _EXACT_S)]
        for head in sorted(self._store.heads(), key=self._turn_of):
            channel = self.channels.get(head.channel)
            if channel is None:
                continue
            if head.channel in self._backlog:  # it had to wait until this process could deliver
                self._backlog.remove(head.channel)
                channel.pace = channel.pace.held()
            if self._reason(head.channel) is not None:
                channel.pace = channel.pace.held()
                continue
            pause = max(channel.rests_until_s, channel.pace.next_s) - now_s
            if pause > _EXACT_S:
                pauses.append(pause)
                continue
            channel.turn = next(self._turns)
            self._deliver(channel, head)
            return 0.0
        return min(pauses, default=None)

    def status(self) -> list[dict[str, Any]]:
        """See ``Outbox.status``."""
        heads = {head.channel: head for head in self._store.heads()}
        not_sent = self._store.not_sent()
        rows = []
        for name in sorted({*heads, *self.channels, *(channel for channel, _ in not_sent)}):
            head = heads.get(name)
            rows.append({
                "channel": name,
                "waiting": head.waiting if head else 0,
                "oldest_at": datetime.fromisoformat(head.at) if head else None,
                "why": self._why(head) if head else "",
                "in_doubt": head.doubts if head else 0,
                "failed": not_sent.get((name, "failed"), 0),
                "expired": not_sent.get((name, "expired"), 0),
            })  # fmt: skip
        return rows

    def forget_refusals(self) -> None:
        """What was refused may be tried at once."""
        for channel in list(self.channels.values()):
            channel.forget_refusals()

    def close(self) -> None:
        """Ends the event loop of coroutine senders."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _turn_of(self, head: Head) -> tuple[int, int]:
        channel = self.channels.get(head.channel)
        return (channel.turn if channel else 0, head.id)

    def _reason(self, channel: str) -> str | None:
        try:
            return self._why_wait(channel)
        except Exception as error:  # as long as nobody knows whether it may leave, it stays
            return f"why_wait failed: {_words(error)}"

    def _why(self, head: Head) -> str:
        if head.channel not in self.channels:
            return f"no sender is registered for {head.channel} in this process"
        return self._reason(head.channel) or head.why

    def _deliver(self, channel: Channel, head: Head) -> None:
        in_doubt = head.in_doubt
        if in_doubt and channel.was_sent is not None:
            arrived = self._ask(channel, channel.was_sent, head)
            if arrived is None:
                return
            if arrived:
                self._sent(channel, head)
                return
            in_doubt = False
        if head.attempts >= self.limits.max_attempts:  # the process died in each, or the limit is lower now
            self._give_up(head, head.attempts, None)
            return
        payload = self._store.claim(head, in_doubt=in_doubt)
        if payload is None:
            channel.rests_until_s = self._clock.monotonic() + 1
            return
        channel.began = False
        try:
            self._call(channel.sender, _message(head, payload, head.attempts + 1, in_doubt))
        except Exception as error:
            if isinstance(error, RefusedError) and not channel.began:
                self._conclude(head, "waiting", head.attempts, in_doubt, _words(error))
                channel.refusals += 1
                channel.rest(self._clock.monotonic(), channel.refusals, self._dice(), error.retry_after_s)
            else:
                self._failed(channel, head, error)
        except BaseException as ending:  # a cancellation, an exit: no failure, but nobody knows whether it arrived
            channel.rest(self._clock.monotonic(), 1, self._dice())
            self._conclude(head, "waiting", head.attempts + 1, True, _words(ending))
            raise
        else:
            self._sent(channel, head)

    def _ask(self, channel: Channel, was_sent: Callable[..., Any], head: Head) -> bool | None:
        """Whether a message in doubt has arrived; None: that could not be found out."""
        try:
            message = _message(head, self._store.payload(head), head.attempts, in_doubt=True)
            return bool(self._call(was_sent, message))
        except Exception as error:
            channel.failures += 1
            channel.rest(self._clock.monotonic(), channel.failures, self._dice())
            why = f"whether it has arrived could not be found out: {_words(error)}"
            self._conclude(head, "waiting", head.attempts, True, why)
            return None

    def _sent(self, channel: Channel, head: Head) -> None:
        channel.failures = channel.refusals = 0
        channel.pace = channel.pace.after_one(self.limits, self._clock.monotonic(), more=head.waiting > 1)
        self._conclude(head, "sent", head.attempts, False, "")

    def _failed(self, channel: Channel, head: Head, error: Exception) -> None:
        attempts = head.attempts + 1
        if isinstance(error, RefusedError):  # from within the sender, which may have sent it before; refusals pass
            passes, retry_after_s = True, error.retry_after_s
        else:
            verdict = self._classifier.verdict(error, channel.name)
            passes, retry_after_s = verdict.is_transient, verdict.retry_after_s
        channel.failures = channel.failures + 1 if passes else 0
        if passes:
            channel.rest(self._clock.monotonic(), channel.failures, self._dice(), retry_after_s)
        if passes and attempts < self.limits.max_attempts:
            self._conclude(head, "waiting", attempts, True, _words(error))
        else:
            self._give_up(head, attempts, error)

    def _give_up(self, head: Head, attempts: int, error: Exception | None) -> None:
        why = _words(error) if error is not None else head.why or "the process died in each"
        given_up = MessageGivenUpError(f"the message {head.key} on {head.channel} was given up, attempts: {attempts}: {why}")
        given_up.__cause__ = error
        self._conclude(head, "failed", attempts, True, why, given_up)

    def _conclude(
        self, head: Head, state: str, attempts: int, in_doubt: bool, why: str, error: Exception | None = None
    ) -> None:
        settled_at = None if state == "waiting" else as_text(self._clock.now())
        self._owed.append((Outcome(head, state, attempts, in_doubt, why, settled_at), error))
        self._pay()

    def _pay(self) -> None:
        """Writes down what became of messages; what the disk refuses is tried again before anything else is sent."""
        while self._owed:
            outcome, error = self._owed[0]
            self._store.conclude(outcome)
            del self._owed[0]
            if error is not None:
                tell(self._report, error, outcome.head.channel, "send")

    def _expire(self, now: datetime) -> None:
        for channel, key, at, in_doubt in self._store.expire(now):
            doubt = "; an earlier attempt may have arrived" if in_doubt else ""
            expired = MessageExpiredError(f"the message {key} on {channel}, accepted at {at}, was not sent in its time{doubt}")
            tell(self._report, expired, channel, "send")

    def _forget(self, now: datetime) -> None:
        now_s = self._clock.monotonic()
        if now_s >= self._forgets_at_s:
            more = self._store.forget(now - timedelta(days=self.limits.keep_days))
            self._forgets_at_s = now_s if more else now_s + _FORGET_EVERY_S

    def _call(self, function: Callable[..., Any], message: Message) -> Any:
        """What ``function`` gives; a coroutine is run in the outbox's own event loop."""
        answer = function(message)
        if not inspect.isawaitable(answer):
            return answer
        if self._runner is None:
            import asyncio  # noqa: PLC0415 -- plain senders need not pay for it

            self._runner = asyncio.Runner()

        async def wait() -> Any:
            return await answer

        return self._runner.run(wait())


def _message(head: Head, payload: str, attempt: int, in_doubt: bool) -> Message:
    return Message(
        channel=head.channel, key=head.key, payload=json.loads(payload), at=datetime.fromisoformat(head.at),
        attempt=attempt, in_doubt=in_doubt,
    )  # fmt: skip


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {message_of(error)}"[:_MAX_WHY]
