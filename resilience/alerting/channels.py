"""What can be set of the ways to tell (§8.1): which are used, whom they tell, from which priority on, and when not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import Annotated, Literal

from msgspec import Meta, field

from resilience.alerting.alerts import AlertChannel, AlertPriority
from resilience.config.sections import Section, means

Email = Annotated[str, Meta(extra={"names": "email address"})]
Phone = Annotated[str, Meta(extra={"names": "phone number"})]
PriorityName = Literal["P1_CRITICAL", "P2_HIGH", "P3_MEDIUM", "P4_LOW", "P5_INFO"]
ChannelName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
Span = Annotated[str, Meta(extra={"names": "span of hours"})]
"""A time of day and another, which may be on the next day: ``22:00-07:00``, by this machine's clock."""
Url = Annotated[str | None, means("where to: an address without secrets, `env:NAME`, `keyring:NAME`", names="address")]
Enabled = Annotated[bool, means("whether it is used")]


class Channel(Section, frozen=True, kw_only=True):
    """A way to tell."""

    enabled: Enabled = True

    def hears(self, _priority: AlertPriority) -> bool | None:
        """Whether it tells of what presses so; None: the routes say it."""
        return None

    def quiet_for(self, _now: datetime) -> timedelta | None:
        """For how long it still waits at ``now``, in the time zone of this machine; None: it does not."""
        return None


class LoudChannel(Channel, frozen=True, kw_only=True):
    """A way to tell that disturbs people."""

    min_priority: Annotated[
        PriorityName | None, means("it tells of what presses so much, or more; none: as `routes` says")
    ] = None
    quiet_hours: Annotated[Span | None, means("when it waits, e.g. `22:00-07:00`; what is FATAL does not wait")] = None

    def hears(self, priority: AlertPriority) -> bool | None:
        return None if self.min_priority is None else priority <= AlertPriority[self.min_priority]

    def quiet_for(self, now: datetime) -> timedelta | None:
        return quiet_for(self.quiet_hours, now)


class WebhookChannel(LoudChannel, frozen=True, kw_only=True):
    """Telling another program."""

    enabled: Enabled = False
    url: Url = None
    secret: Annotated[
        str | None, means("what messages are signed with: `env:NAME` or `keyring:NAME`; none: they are not", names="reference")
    ] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url, "url")


class EmailChannel(LoudChannel, frozen=True, kw_only=True):
    """Telling by email."""

    enabled: Enabled = False
    recipients: Annotated[tuple[Email, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.recipients, "recipients, and url for the account")


class PhoneChannel(LoudChannel, frozen=True, kw_only=True):
    """Telling by text message, or by a call."""

    enabled: Enabled = False
    phone_numbers: Annotated[tuple[Phone, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.phone_numbers, "phone_numbers, and url for the account")


class OtherChannel(LoudChannel, frozen=True, kw_only=True):
    """Telling by any other service that apprise knows."""

    min_priority: Annotated[PriorityName | None, means("it tells of what presses so much, or more")] = "P3_MEDIUM"
    url: Annotated[
        str | None, means("where to: `env:NAME` or `keyring:NAME`, for most such addresses hold a secret", names="reference")
    ] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url, "url")


class Channels(Section, frozen=True, kw_only=True):
    """The ways to tell (§8.1)."""

    log: Annotated[Channel, means("the log file")] = Channel()
    dashboard: Annotated[Channel, means("the dashboard")] = Channel()
    toast: Annotated[LoudChannel, means("notifications on this desktop, if `tray.toasts` is on")] = LoudChannel()
    email: Annotated[EmailChannel, means("email")] = EmailChannel()
    sms: Annotated[PhoneChannel, means("text messages")] = PhoneChannel()
    twilio_voice: Annotated[PhoneChannel, means("calls")] = PhoneChannel()
    webhook: Annotated[WebhookChannel, means("another program")] = WebhookChannel()
    others: Annotated[
        Mapping[ChannelName, OtherChannel], means("by a name of yours: whatever apprise has an address for")
    ] = field(default_factory=dict)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for name in self.others:
            if name in {*AlertChannel, "all"}:
                yield f"others.{name}", "there is a channel of that name; give it another"

    @property
    def by_name(self) -> dict[str, Channel]:
        """Every channel."""
        return {**{one.value: getattr(self, one.value) for one in AlertChannel}, **self.others}


def is_here(channel: str, offered: Collection[str]) -> bool:
    """Whether this WinClaw, to which those are ``offered``, has the channel at all: a toast needs a desktop."""
    return channel != AlertChannel.TOAST or channel in offered


def quiet_for(span: str | None, now: datetime) -> timedelta | None:
    """For how long it is still quiet at ``now``, in the time zone of this machine; None: it is not."""
    if span is None:
        return None
    begins, ends = (time.fromisoformat(one) for one in span.split("-"))
    at = now.time()
    within = begins <= at < ends if begins <= ends else at >= begins or at < ends
    if not within:
        return None
    end = now.replace(hour=ends.hour, minute=ends.minute, second=0, microsecond=0, tzinfo=None)
    end = end if end > now.replace(tzinfo=None) else end + timedelta(days=1)
    return end.astimezone() - now  # the clocks may be changed in between


def _nobody_to_tell(enabled: bool, told: object, key: str) -> Iterator[tuple[str, str]]:
    if enabled and not told:
        yield "enabled", f"it is on, but there is nobody to tell; give it {key}, or turn it off"
