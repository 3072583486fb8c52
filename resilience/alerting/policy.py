"""What can be set of alerts (§8): whom to tell, by which channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from resilience.config.sections import Section, means

Email = Annotated[str, Meta(extra={"names": "email address"})]
Phone = Annotated[str, Meta(extra={"names": "phone number"})]
Url = Annotated[str | None, means("where to: an address without secrets, `env:NAME`, `keyring:NAME`", names="address")]


class BuiltInChannel(Section, frozen=True, kw_only=True):
    """A way to tell that needs no address."""

    enabled: Annotated[bool, means("whether it is used")] = True


class WebhookChannel(Section, frozen=True, kw_only=True):
    """Telling another program."""

    enabled: Annotated[bool, means("whether it is used")] = False
    url: Url = None
    secret: Annotated[
        str | None, means("what messages are signed with: `env:NAME` or `keyring:NAME`; none: they are not", names="reference")
    ] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url, "url")


class EmailChannel(Section, frozen=True, kw_only=True):
    """Telling by email."""

    enabled: Annotated[bool, means("whether it is used")] = False
    recipients: Annotated[tuple[Email, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.recipients, "recipients")


class SmsChannel(Section, frozen=True, kw_only=True):
    """Telling by text message."""

    enabled: Annotated[bool, means("whether it is used")] = False
    phone_numbers: Annotated[tuple[Phone, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.phone_numbers, "phone_numbers")


class Channels(Section, frozen=True, kw_only=True):
    """The ways to tell (§8.1)."""

    log: Annotated[BuiltInChannel, means("the log file")] = BuiltInChannel()
    dashboard: Annotated[BuiltInChannel, means("the dashboard")] = BuiltInChannel()
    email: Annotated[EmailChannel, means("email")] = EmailChannel()
    sms: Annotated[SmsChannel, means("text messages")] = SmsChannel()
    webhook: Annotated[WebhookChannel, means("another program")] = WebhookChannel()

    def is_on(self, name: str) -> bool:
        """Whether there is a channel ``name``, and it is used."""
        channel = getattr(self, name, None)
        return channel is not None and channel.enabled


class Alerting(Section, frozen=True, kw_only=True):
    """Who is told, and how (§8)."""

    enabled: Annotated[bool, means("whether anybody is told")] = True
    rate_limit_window: Annotated[float, means("time in which alerts of a kind count", "s", ge=1, le=86_400)] = 300.0
    max_alerts_per_window: Annotated[
        int, means("alerts of a kind in that time; a summary of the rest follows", ge=1, le=10_000)
    ] = 5
    resolve_after_s: Annotated[
        float, means("how long an error must not come again before its alert is resolved", "s", ge=60, le=604_800)
    ] = 900.0
    channels: Annotated[Channels, means("the ways to tell")] = Channels()

    def tells_by(self, channel: str) -> bool:
        """Whether anybody is told by ``channel``."""
        return self.enabled and self.channels.is_on(channel)


def _nobody_to_tell(enabled: bool, told: object, key: str) -> Iterator[tuple[str, str]]:
    if enabled and not told:
        yield "enabled", f"it is on, but there is nobody to tell; give it {key}, or turn it off"
