"""What really tells: each way to send one message of an alert. Called on the channel's own thread, so it may wait."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from resilience.alerting.alerts import Alert, AlertChannel, AlertPriority, Telling
from resilience.alerting.by_apprise import ByApprise, call_address, mail_address, phone_address
from resilience.alerting.channels import Channels, WebhookChannel
from resilience.alerting.sending import NoRedirect, Sender, UndeliverableError, is_final, resolved
from resilience.alerting.words import REASON, TEXT, TITLE, fitted, message
from resilience.clock import Clock

TIMEOUT_S: Final = 10.0
SIGNATURE: Final = "X-WinClaw-Signature"
_LEVELS: Final = {
    AlertPriority.P1_CRITICAL: logging.CRITICAL, AlertPriority.P2_HIGH: logging.ERROR, AlertPriority.P3_MEDIUM: logging.WARNING,
    AlertPriority.P4_LOW: logging.INFO, AlertPriority.P5_INFO: logging.DEBUG,
}  # fmt: skip
_log = logging.getLogger("winclaw.alerts")


def senders(clock: Clock, channels: Channels) -> Iterator[tuple[str, Sender]]:
    """Each channel that is on, and what sends by it."""
    if channels.log.enabled:
        yield AlertChannel.LOG, to_log
    if channels.dashboard.enabled:
        yield AlertChannel.DASHBOARD, to_dashboard
    if channels.email.enabled:
        yield AlertChannel.EMAIL, ByApprise("email", channels.email.url, mail_address, channels.email.recipients)
    if channels.sms.enabled:
        yield AlertChannel.SMS, ByApprise("sms", channels.sms.url, phone_address, channels.sms.phone_numbers)
    if channels.twilio_voice.enabled:
        voice = channels.twilio_voice
        yield AlertChannel.TWILIO_VOICE, ByApprise("twilio_voice", voice.url, call_address, voice.phone_numbers)
    if channels.webhook.enabled:
        yield AlertChannel.WEBHOOK, Webhook(channels.webhook, clock)
    for name, other in channels.others.items():
        if other.enabled:
            yield name, ByApprise(f"others.{name}", other.url, lambda url, _whom: url, ())


def to_log(alert: Alert, telling: Telling) -> str:
    """Writes a line into the log."""
    priority = alert.priority
    title, text = fitted(alert.cause.title, TITLE), fitted(telling.text, TEXT)
    _log.log(_LEVELS[priority], "%s, %s: %s: %s", priority.name, telling.what, title, text)
    return "in the log"


def to_dashboard(_alert: Alert, _telling: Telling) -> str:
    """Does nothing: the dashboard shows what stands in the journal, and so does this message."""
    return "on the page Alerts"


class Webhook:
    """Tells another program: JSON by POST, signed.

    The header ``X-WinClaw-Signature`` is ``t=SECONDS,v1=HEX``: the HMAC-SHA256 of ``SECONDS.BODY`` with the configured secret.
    ``Idempotency-Key`` is the same whenever the same message comes.

    Args:
        timeout_s: how long the server may be silent.
    """

    def __init__(self, channel: WebhookChannel, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        self._channel, self._clock, self._timeout_s = channel, clock, timeout_s

    def check(self) -> None:
        """Looks whether its address can be one; nothing is sent.

        Raises:
            UndeliverableError: it cannot.
        """
        self._address()

    def _address(self) -> str:
        url = resolved(self._channel.url or "")
        if not url.startswith(("http://", "https://")):
            raise UndeliverableError("alerting.channels.webhook.url does not begin with http:// or https://")
        return url

    def __call__(self, alert: Alert, telling: Telling) -> str:
        url, secret = self._address(), self._channel.secret
        body = msgspec.json.encode(message(alert, telling))
        headers = {"Content-Type": "application/json", "User-Agent": "WinClaw", "Idempotency-Key": telling.key}
        if secret:
            headers[SIGNATURE] = signature(resolved(secret), body, self._clock.now())
        try:
            request = urllib.request.Request(url, body, headers)  # noqa: S310 -- looked at above
            with _OPENER.open(request, timeout=self._timeout_s) as answer:
                return f"the server said {answer.status}"
        except urllib.error.HTTPError as error:
            error.close()
            said = fitted(f"the server said {error.code} {error.reason}", REASON)
            if is_final(error.code):
                raise UndeliverableError(said) from error
            raise ConnectionError(said) from error
        except (http.client.InvalidURL, ValueError):  # the error would say the address, which may be a secret
            raise UndeliverableError("alerting.channels.webhook.url is not the address of a server") from None


_OPENER: Final = urllib.request.build_opener(NoRedirect)


def signature(secret: str, body: bytes, at: datetime) -> str:
    """The signature of ``body`` at a moment; it covers the moment, so that a message cannot be sent again later."""
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
