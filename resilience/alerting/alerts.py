"""An alert (§8.2): what is wrong, who was told of it by which channel, and what became of it. Plain data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resilience.context import ErrorContext, ErrorSeverity

MOST_ALERTS: Final = 200
"""Alerts that are remembered; open ones always are, up to twice as many."""
_MOST_TELLINGS: Final = 20
"""Of each alert, tellings that are remembered after their end."""
_MOST_FAILURES: Final = 5  # of each telling, tries that failed and are remembered: the latest
_MOST_REPEATED: Final = 100
"""Of each alert and channel, repetitions that wait; of more the oldest are left out."""


class AlertChannel(StrEnum):
    """The ways to tell that WinClaw knows by name (§8.2); the configuration may add others."""

    LOG = "log"
    DASHBOARD = "dashboard"
    TOAST = "toast"
    EMAIL = "email"
    SMS = "sms"
    TWILIO_VOICE = "twilio_voice"
    WEBHOOK = "webhook"


class AlertPriority(IntEnum):
    """How much it presses (§8.2); the lower, the more."""

    P1_CRITICAL = 1
    P2_HIGH = 2
    P3_MEDIUM = 3
    P4_LOW = 4
    P5_INFO = 5


SEVERITY_PRIORITY: Final[Mapping[ErrorSeverity, AlertPriority]] = MappingProxyType({
    ErrorSeverity.DEBUG: AlertPriority.P5_INFO,
    ErrorSeverity.INFO: AlertPriority.P5_INFO,
    ErrorSeverity.WARNING: AlertPriority.P4_LOW,
    ErrorSeverity.ERROR: AlertPriority.P3_MEDIUM,
    ErrorSeverity.CRITICAL: AlertPriority.P2_HIGH,
    ErrorSeverity.FATAL: AlertPriority.P1_CRITICAL,
})  # fmt: skip
"""How much an error presses (§8.2)."""


class AlertState(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class TellingState(StrEnum):
    """Where it stands that a channel is to tell something."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Failure(Struct, frozen=True):
    """A try to send something that failed: when that was known, and why."""

    at: datetime
    why: str


class Telling(Struct, frozen=True, kw_only=True):
    """One message of an alert by one channel.

    ``key`` makes it the same wherever it is seen: whoever gets it twice can tell. ``what`` is what it says: ``raised``,
    ``again``, ``summary``, ``escalated``, ``resolved`` or ``test``. ``why`` says who has accepted it, or why it does not arrive.
    One that was being sent when WinClaw died may have arrived; it is sent once more. ``digest`` is the key of the one message
    in which it goes out together with others. ``failures`` are its last tries that failed.
    """

    key: str
    channel: str
    what: str
    text: str
    at: datetime
    state: TellingState = TellingState.WAITING
    attempts: int = 0
    why: str = ""
    ended: datetime | None = None
    digest: str = ""
    failures: tuple[Failure, ...] = ()

    def sending(self, at: datetime, digest: str = "") -> Telling:
        """One that its channel sends now, once more perhaps: as part of the message ``digest``, if it has one."""
        failures = self.failures
        if self.state is TellingState.SENDING:
            failures = (*failures, Failure(at, "WinClaw ended before it was known whether it had arrived"))[-_MOST_FAILURES:]
        return replace(self, state=TellingState.SENDING, attempts=self.attempts + 1, digest=digest, failures=failures)

    def heard(self, at: datetime, *, delivered: bool | None, why: str) -> Telling:
        """What has become of it: it was delivered, or cannot be (False), or is tried again (None); and who says so, or why."""
        if delivered:
            return replace(self, state=TellingState.DELIVERED, why=why, ended=at)
        was_tried = self.state is TellingState.SENDING
        failures = (*self.failures, Failure(at, why))[-_MOST_FAILURES:] if was_tried else self.failures
        if delivered is None:
            return replace(self, state=TellingState.WAITING, why=why, failures=failures)
        return replace(self, state=TellingState.FAILED, why=why, ended=at, failures=failures)

    @property
    def is_open(self) -> bool:
        """Whether it is not known to have arrived, nor given up."""
        return self.state in (TellingState.WAITING, TellingState.SENDING)

    def repeats(self, channel: str) -> bool:
        """Whether it waits for ``channel``, and only repeats what was told before."""
        return self.channel == channel and self.what in ("again", "summary") and self.state is TellingState.WAITING


class Cause(Struct, frozen=True, kw_only=True):
    """Something that is wrong, or that has happened. ``about`` is the same for the same cause; ``page`` shows more of it.

    ``needs`` names what the component cannot work without: where that is down, this is no news.
    """

    about: str
    title: str
    message: str
    severity: ErrorSeverity
    component: str
    page: str = "/"
    needs: tuple[str, ...] = ()


class Alert(Struct, frozen=True, kw_only=True):
    """One alert, for people and programs.

    ``count`` is how often its cause was seen, ``last_at`` (``seen_s``) when last; ``lasts`` says that it goes on until it is
    seen to be gone. Of its messages in the present window, which began at ``window_s``, ``sent`` were sent and ``held`` held
    back; ``messages`` counts all that were ever sent, by the channels ``told_by``; ``pressed`` is the most
    that any of them pressed.

    ``silent`` says why nobody is told of what is new in it, until that is over: it is snoozed (``snoozed_until``), what it
    needs is down (it is ``behind`` that), or may turn out to be (``due_s``). ``escalated`` is how many were asked because
    nobody had acknowledged it, the last at ``escalated_s``. Times in ``_s`` are monotonic.
    """

    id: int
    cause: Cause
    priority: AlertPriority = AlertPriority.P3_MEDIUM
    at: datetime
    last_at: datetime
    count: int = 1
    lasts: bool = False
    state: AlertState = AlertState.OPEN
    actor: str = ""
    origin: str = ""
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    seen_s: float | None = None
    window_s: float | None = None
    sent: int = 0
    held: int = 0
    messages: int = 0
    told_by: tuple[str, ...] = ()
    pressed: AlertPriority | None = None
    silent: str = ""
    behind: str = ""
    due_s: float | None = None
    snoozed_until: datetime | None = None
    escalated: int = 0
    escalated_s: float | None = None
    tellings: tuple[Telling, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether its cause is not known to be gone."""
        return self.state is not AlertState.RESOLVED

    @property
    def open_tellings(self) -> Iterator[Telling]:
        """What its channels have yet to tell."""
        return (one for one in self.tellings if one.is_open)

    def telling(self, what: str, text: str, channels: Iterable[str], at: datetime) -> Alert:
        """The alert with one more message, which these channels have yet to tell."""
        number, names = self.messages + 1, [*channels]
        new = [Telling(key=f"{self.id}-{number}-{channel}", channel=channel, what=what, text=text, at=at) for channel in names]
        repeated = {channel: [one.key for one in self.open_tellings if one.repeats(channel)] for channel in names}
        old = {key for keys in repeated.values() for key in keys[: max(len(keys) + 1 - _MOST_REPEATED, 0)]}
        kept = tuple(one for one in self.tellings if one.key not in old) if old else self.tellings
        told_by = tuple(dict.fromkeys((*self.told_by, *names)))
        pressed = self.priority if self.pressed is None else min(self.pressed, self.priority)
        return replace(self, messages=number, tellings=(*kept, *new), told_by=told_by, pressed=pressed)

    def told(self, *after: Telling) -> Alert:
        """The alert with ``after`` in the place of the tellings of the same keys; the oldest that have ended make room."""
        new = {one.key: one for one in after}
        tellings = [new.get(one.key, one) for one in self.tellings]
        ended = [one.key for one in tellings if not one.is_open]
        old = set(ended[: max(len(ended) - _MOST_TELLINGS, 0)])
        return replace(self, tellings=tuple(one for one in tellings if one.key not in old))

    def quiet_s(self, at: datetime, now_s: float) -> float:
        """For how long it has not been seen; since an earlier life, as the clock on the wall says."""
        return (at - self.last_at).total_seconds() if self.seen_s is None else now_s - self.seen_s

    def waited_s(self, at: datetime, now_s: float) -> float:
        """For how long it has been left to those who were asked last; since an earlier life, as the clock on the wall says."""
        if self.escalated_s is not None:
            return now_s - self.escalated_s
        asked_at = max((one.at for one in self.tellings if one.what != "again"), default=self.at)
        return (at - asked_at).total_seconds()

    def view(self) -> dict[str, Any]:
        """The alert as the API gives it."""
        cause = self.cause
        return {
            "id": self.id, "about": cause.about, "title": cause.title, "message": cause.message,
            "severity": cause.severity.name, "priority": self.priority.name, "component": cause.component, "page": cause.page,
            "state": self.state.value, "at": self.at.isoformat(), "last_at": self.last_at.isoformat(), "count": self.count,
            "held_back": self.held, "actor": self.actor, "origin": self.origin,
            "acknowledged_at": self.acknowledged_at.isoformat() if self.acknowledged_at else None,
            "snoozed_until": self.snoozed_until.isoformat() if self.snoozed_until else None, "silent": self.silent,
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "tellings": [msgspec.to_builtins(one) for one in self.tellings],
        }  # fmt: skip

    # The document's names (§8.2).

    @property
    def title(self) -> str:
        """What is wrong, in a few words."""
        return self.cause.title

    @property
    def message(self) -> str:
        """What is wrong."""
        return self.cause.message

    @property
    def timestamp(self) -> datetime:
        """When its cause was first seen."""
        return self.at

    @property
    def channels(self) -> list[str]:
        """Who has been told, or is to be."""
        return list(self.told_by)

    @property
    def acknowledged(self) -> bool:
        """Whether somebody has said that they see to it."""
        return self.acknowledged_at is not None

    @property
    def acknowledged_by(self) -> str | None:
        """Who that is."""
        return self.actor if self.acknowledged else None

    @property
    def error_context(self) -> ErrorContext | None:
        """The error that it is about, in the program where it happened; WinClaw itself has only what was reported."""
        context: ErrorContext | None = getattr(self.cause, "error_context", None)
        return context

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What else the program that sent it has said."""
        metadata: Mapping[str, Any] = getattr(self.cause, "metadata", {})
        return metadata


Alerts = Mapping[int, Alert]
NO_ALERTS: Final[Alerts] = MappingProxyType({})


def with_alerts(alerts: Alerts, changed: Mapping[int, Alert]) -> Alerts:
    """The alerts with those that have changed as they are now; the oldest make room: those that are resolved and told, and, where
    there are far too many, others that are resolved, then single errors. What lasts, stays."""
    after = {**alerts, **changed}
    ended = [one.id for one in after.values() if not one.is_open and not any(one.open_tellings)]
    for old in ended[: max(len(after) - MOST_ALERTS, 0)]:
        del after[old]
    if len(after) > 2 * MOST_ALERTS:
        others = sorted((one for one in after.values() if not (one.is_open and one.lasts)), key=lambda one: (one.is_open, one.id))
        for one in others[: len(after) - 2 * MOST_ALERTS]:
            del after[one.id]
    return MappingProxyType(after)
