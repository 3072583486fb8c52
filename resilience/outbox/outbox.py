"""An agent's outbox: what has to be sent is on disk before ``send`` returns, and leaves in order when it can (§5.1).

Of all the processes of an agent one delivers: whoever holds the lock beside the file. It claims a message, calls the
channel's sender, and writes down what became of it. A process that dies in between leaves the message in doubt.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from resilience import home, locked
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock
from resilience.forking import at_fork
from resilience.listeners import tell
from resilience.outbox.channel import Channel
from resilience.outbox.delivery import Delivery
from resilience.outbox.file import OutboxError, file_of
from resilience.outbox.message import Message, fit_lifetime_s, fit_name, fit_payload
from resilience.outbox.store import OutboxStore
from resilience.policies import OutboxLimits
from resilience.wrapping import refuse_generators

LOOK_AGAIN_S: Final = 2.0
_CLOSE_S: Final = 5.0
_F = TypeVar("_F", bound=Callable[..., Any])
_log = logging.getLogger("winclaw.outbox")


class Outbox:
    """An agent's outgoing messages. Any thread may call; nothing is opened before it is needed.

    Args:
        folder: where the outboxes of all agents lie. agent: whose it is; all processes of that name share it.
        why_wait: called with a channel before each message: why its messages have to wait now, None if they may leave.
        protect: called with (channel, sender): the sender behind the channel's policies.
        report: told (error, channel, operation) of what is not sent: expired, given up, and of a damaged file.
        classifier: which failures pass. dice: gives 0 to 1, for the pauses.
    """

    def __init__(
        self,
        folder: Path,
        agent: str,
        clock: Clock,
        *,
        limits: OutboxLimits | None = None,
        why_wait: Callable[[str], str | None] = lambda _channel: None,
        protect: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda _channel, function: function,
        report: Callable[[Exception, str, str], Any] = lambda _error, _component, _operation: None,
        classifier: ErrorClassifier | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._protect = clock, protect
        self.path = file_of(folder, agent)
        self._store = OutboxStore(self.path, clock, lambda error: tell(report, error, "outbox", "open"))
        limits = (limits or OutboxLimits()).sound()
        classifier = classifier or ErrorClassifier(clock=clock)
        self._delivery = Delivery(self._store, clock, limits, why_wait, report, classifier, dice)
        self._lease: IO[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._news = 0
        self._make_locks()
        at_fork(in_child=self._in_child)

    def _make_locks(self) -> None:
        self._changed = threading.Condition()
        self._stepping = threading.Lock()

    def send(self, channel: str, payload: Any, *, key: str | None = None, expires_in_s: float | None = None) -> str:
        """Accepts a message; it is on disk when this returns. A key that the channel knows already is not stored again.

        Args:
            payload: what JSON holds exactly: dict, list, str, int, float, bool, None.
            key: what makes the message the same; by default a new one. expires_in_s: after how long it is not sent any more.

        Returns: the key.

        Raises:
            UnfitMessageError: something of it cannot be stored. OutboxFullError: too many wait.
            OutboxError: the disk refuses, or the outbox is closed.
        """
        limits = self._delivery.limits
        key = uuid.uuid4().hex if key is None else key
        fit_name("channel", channel)
        fit_name("key", key)
        text = fit_payload(payload, limits.max_payload_kb)
        lifetime_s = limits.expire_after_s if expires_in_s is None else fit_lifetime_s(expires_in_s)
        if self._closing:
            raise OutboxError(f"the outbox {self.path} is closed; the message was not accepted")
        now = self._clock.now()
        self._store.add(channel, key, text, (now, now + timedelta(seconds=lifetime_s)), limits.max_messages)
        self._start()
        self._tell_worker()
        return key

    def sender(self, channel: str, *, was_sent: Callable[[Message], Any] | None = None) -> Callable[[_F], _F]:
        """Registers the decorated function, plain or coroutine, as what really sends the messages of ``channel``.

        It is called with a ``Message``, one at a time, in the outbox's thread; it has sent it when it returns. The last
        one registered counts.

        Args:
            was_sent: asked, with the message, whether one that is in doubt has arrived; may be a coroutine function.
        """
        fit_name("channel", channel)

        def register(function: _F) -> _F:
            refuse_generators(function)
            self._delivery.channels[channel] = Channel(channel, self._protect, function, was_sent)
            self._start()
            self._tell_worker()
            return function

        return register

    def step(self) -> float | None:
        """One pass of the worker, which delivers one message at most.

        Returns: after how many seconds there may be something to do; 0 at once, None only when told.

        Raises:
            OutboxError: the file cannot be used now.
        """
        with self._stepping:
            if self._closing or not self._delivery.channels:
                return None
            if not self._leads():
                return LOOK_AGAIN_S
            pause_s = self._delivery.step()
        if pause_s == 0:
            with self._changed:
                self._changed.notify_all()
        return pause_s

    def wake(self) -> None:
        """Says that something changed: the level, a circuit. What was refused is tried at once."""
        self._delivery.forget_refusals()
        self._tell_worker()

    def waiting(self) -> dict[str, int]:
        """How many messages are not delivered yet, by channel."""
        return self._store.waiting()

    def status(self) -> list[dict[str, Any]]:
        """Of each channel: ``channel``, ``waiting``, ``oldest_at``, ``why``, ``in_doubt``, ``failed``, ``expired``.

        ``why``: why it waits, or the last failure of the message that is next.
        """
        return self._delivery.status()

    def configure(self, limits: OutboxLimits) -> None:
        """Goes on with other limits.

        Raises:
            ValueError: one of them is not possible; the old ones stay.
        """
        self._delivery.limits = limits.sound()
        self._tell_worker()

    def retry(self, channel: str, key: str) -> bool:
        """Puts a message that was given up or has expired back at its place, with a new lifetime; False if there is none."""
        expires_at = self._clock.now() + timedelta(seconds=self._delivery.limits.expire_after_s)
        revived = self._store.revive(channel, key, expires_at)
        self._tell_worker()
        return revived

    def flush(self, timeout_s: float) -> bool:
        """Waits, at most so many seconds of real time, until nothing waits; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.waiting(), timeout_s)

    def close(self) -> None:
        """Ends delivery after the message in hand, for which it waits 5 seconds; the lock goes when that is done."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            if thread is not threading.current_thread():
                thread.join(_CLOSE_S)
        elif self._stepping.acquire(timeout=_CLOSE_S):
            self._let_go()
            self._stepping.release()

    def _tell_worker(self) -> None:
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def _start(self) -> None:
        with self._changed:
            if self._thread is None and self._delivery.channels and not self._closing:
                self._thread = threading.Thread(target=self._work, name="winclaw-outbox", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending; the message is on disk for the next process
                    self._thread = None

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    break
                seen = self._news
            try:
                pause_s = self.step()
            except OutboxError as error:
                _log.warning("%s", error)
                pause_s = None
            except BaseException:  # neither a defect nor a sender that exits ends the thread
                _log.exception("an unexpected fault in the outbox")
                pause_s = None
            if pause_s != 0:
                self._rest(seen, LOOK_AGAIN_S if pause_s is None else min(pause_s, LOOK_AGAIN_S))
        with self._stepping:
            self._let_go()

    def _rest(self, seen: int, pause_s: float) -> None:
        with self._changed:
            self._changed.notify_all()  # for flush: another process may have delivered
            self._changed.wait_for(lambda: self._closing or self._news != seen, pause_s)

    def _leads(self) -> bool:
        """Whether this process delivers; if it has just become the one, what a dead one left is put in doubt."""
        if self._lease is not None:
            return True
        try:
            home.make_private_folder(self.path.parent)
            lease = locked.take(self.path.with_suffix(".lock"))
        except OSError as error:
            raise OutboxError(f"the outbox's lock cannot be taken: {error}") from error
        if lease is None:
            return False
        try:
            self._delivery.take_over()
        except BaseException:
            locked.let_go(lease)
            raise
        self._lease = lease
        return True

    def _let_go(self) -> None:
        self._delivery.close()
        self._store.close()
        if self._lease is not None:
            locked.let_go(self._lease)
            self._lease = None

    def _in_child(self) -> None:
        """A forked child shares nothing with its parent but the file on disk; it begins with no lock and no thread."""
        self._make_locks()
        self._thread = None
        self._delivery.begin_anew()
        if self._lease is not None:
            self._lease.close()  # the parent's lock stays, for the parent has it open
            self._lease = None
