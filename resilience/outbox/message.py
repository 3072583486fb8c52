"""An outgoing message, what it may hold, and when it may leave. Pure: the outbox acts, this decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from resilience.errors import WinClawError
from resilience.exact import InexactError, exact_json
from resilience.policies import OutboxLimits

_MAX_NAME: Final = 200
MAX_LIFETIME_S: Final = 315_360_000.0
"""Ten years."""
_LONGEST_PAUSE_S: Final = 60.0
_LONGEST_ASKED_S: Final = 3600.0
_DOUBLES_EVERY_S: Final = 3.0


class Message(Struct, frozen=True, kw_only=True):
    """What a sender is called with.

    Attributes:
        key: the same for every attempt; hand it to the receiver as its idempotency key if it takes one.
        at: when it was accepted, in UTC.
        attempt: 1 for the first.
        in_doubt: an earlier attempt failed, or its process died in it, so that it may have arrived all the same.
    """

    channel: str
    key: str
    payload: Any
    at: datetime
    attempt: int
    in_doubt: bool


class UnfitMessageError(ValueError):
    """A message that cannot be stored as it is; nothing was stored."""


class MessageExpiredError(WinClawError):
    """A message was not delivered within its lifetime, and is not sent any more."""

    kind = "message_expired"


class MessageGivenUpError(WinClawError):
    """A message is not tried again, because its failure is lasting or there were too many. Its cause is the last one."""

    kind = "message_given_up"


def fit_name(what: str, name: object) -> None:
    """Checks the name of a channel or a key.

    Args:
        what: ``channel`` or ``key``, for the message.

    Raises:
        UnfitMessageError: it is no text of 1 to 200 characters.
    """
    if not isinstance(name, str):
        raise UnfitMessageError(f"{what} must be a text of 1 to {_MAX_NAME} characters, not {type(name).__name__}")
    if not 1 <= len(name) <= _MAX_NAME:
        raise UnfitMessageError(f"{what} must have 1 to {_MAX_NAME} characters; it has {len(name)}: {name[:40]!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnfitMessageError(f"{what} {name!r} holds half a character (a lone surrogate), which is no text") from None


def fit_lifetime_s(expires_in_s: float) -> float:
    """``expires_in_s``, if a message can live so long.

    Raises:
        UnfitMessageError: it cannot.
    """
    if isinstance(expires_in_s, (int, float)) and 0 < expires_in_s <= MAX_LIFETIME_S:
        return float(expires_in_s)
    raise UnfitMessageError(f"expires_in_s must be more than 0 and at most {MAX_LIFETIME_S:.0f} seconds, not {expires_in_s!r}")


def fit_payload(payload: Any, max_kb: int) -> str:
    """``payload`` as JSON that gives exactly the same when it is read again.

    Raises:
        UnfitMessageError: JSON cannot hold it exactly, or it is larger than ``max_kb`` thousand bytes; it says where.
    """
    try:
        text = exact_json(payload, "payload")
    except InexactError as error:
        raise UnfitMessageError(str(error)) from error
    if len(text) > max_kb * 1000:
        raise UnfitMessageError(
            f"the payload is too large: {len(text) / 1000:.1f} kB as JSON, and {max_kb} kB is the limit (max_payload_kb); "
            "put what is large into a file and send where it lies"
        )
    return text


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast messages leave a channel.

    One that comes alone leaves at once. Where several wait, ``drain_per_s`` leave. Where they had to wait, the first
    ones leave more slowly, so that a receiver that has just come back is not flooded.

    Attributes:
        slow: they had to wait, and have not all left since.
        since_s: when the first of them left; None: none yet. next_s: before this none leaves. Both on the monotonic clock.
    """

    slow: bool = False
    since_s: float | None = None
    next_s: float = -math.inf

    def held(self) -> Pace:
        """The pace when something holds the channel's messages back."""
        return Pace(slow=True, next_s=self.next_s)

    def after_one(self, limits: OutboxLimits, now_s: float, *, more: bool) -> Pace:
        """The pace when a message has left. more: whether others wait behind it."""
        if not self.slow:
            return Pace(next_s=now_s + 1 / limits.drain_per_s) if more else Pace()
        since_s = now_s if self.since_s is None else self.since_s
        next_s = now_s + 1 / rate_per_s(limits, now_s - since_s)
        return Pace(slow=True, since_s=since_s, next_s=next_s) if more else Pace(next_s=next_s)


def rate_per_s(limits: OutboxLimits, draining_s: float) -> float:
    """How many messages leave a second, ``draining_s`` after the first: a tenth of the pace, doubled every 3 seconds.

    It begins at one a second where a tenth is less than that, and never exceeds ``drain_per_s``.
    """
    first = max(limits.drain_per_s / 10, 1.0)
    doublings = min(draining_s // _DOUBLES_EVERY_S, 20)
    return float(min(limits.drain_per_s, first * 2**doublings))


def pause_s(failures: int, chance: float, asked_s: float | None = None) -> float:
    """How long a channel rests after so many failures in a row, at least one: 1, 2, 4 … 60 seconds, up to half of it taken off.

    Args:
        chance: 0 to 1, what the dice say. asked_s: how long the other side asked to be left alone; an hour at most counts.
    """
    rest_s: float = min(_LONGEST_PAUSE_S, 2.0 ** min(failures - 1, 10))
    return max(rest_s * (1 - chance / 2), min(asked_s or 0.0, _LONGEST_ASKED_S))
