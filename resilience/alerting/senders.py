"""What really tells: each way to send one message of an alert. Called on the channel's own thread, so it may wait."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from resilience.alerting.alerts import Alert, AlertChannel, AlertPriority, Telling
from resilience.alerting.channels import Channels, WebhookChannel
from resilience.clock import Clock

Sender = Callable[[Alert, Telling], str]
"""Sends one message; returns who has accepted it, in words.

Raises UndeliverableError where trying again would change nothing; any other error passes."""
TIMEOUT_S: Final = 10.0
SIGNATURE: Final = "X-WinClaw-Signature"
_LEVELS: Final = {
    AlertPriority.P1_CRITICAL: logging.CRITICAL, AlertPriority.P2_HIGH: logging.ERROR, AlertPriority.P3_MEDIUM: logging.WARNING,
    AlertPriority.P4_LOW: logging.INFO, AlertPriority.P5_INFO: logging.DEBUG,
}  # fmt: skip
_log = logging.getLogger("winclaw.alerts")


class UndeliverableError(Exception):
    """A message that cannot be delivered, however often it is tried; the message says why."""


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
    _log.log(_LEVELS[priority], "%s, %s: %s: %s", priority.name, telling.what, alert.cause.title, telling.text)
    return "in the log"


def to_dashboard(_alert: Alert, _telling: Telling) -> str:
    """Does nothing: the dashboard shows what stands in the journal, and so does this message."""
    return "on the page Alerts"


class Webhook:
    """Tells another program: JSON by POST, signed.

    The header ``X-WinClaw-Signature`` is ``t=SECONDS,v1=HEX``: the HMAC-SHA256 of ``SECONDS.BODY`` with the configured secret.
    ``Idempotency-Key`` is the same whenever the same message comes.
    """

    def __init__(self, channel: WebhookChannel, clock: Clock) -> None:
        self._channel, self._clock = channel, clock

    def __call__(self, alert: Alert, telling: Telling) -> str:
        url, secret = resolved(self._channel.url or ""), self._channel.secret
        if not url.startswith(("http://", "https://")):
            raise UndeliverableError("alerting.channels.webhook.url does not begin with http:// or https://")
        body = msgspec.json.encode(message(alert, telling))
        headers = {"Content-Type": "application/json", "User-Agent": "WinClaw", "Idempotency-Key": telling.key}
        if secret:
            headers[SIGNATURE] = signature(resolved(secret), body, self._clock.now())
        request = urllib.request.Request(url, body, headers)  # noqa: S310 -- looked at above
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
                return f"the server said {answer.status}"
        except urllib.error.HTTPError as error:
            error.close()
            said = f"the server said {error.code} {error.reason}"
            if _is_final(error.code):
                raise UndeliverableError(said) from error
            raise ConnectionError(said) from error


class ByApprise:
    """Tells by any service that apprise knows.

    Args:
        name: the channel's, in the configuration. url: apprise's address of the account, or a reference to it.
        addressed: ``addressed(url, whom)`` puts those who are told into it.
    """

    def __init__(self, name: str, url: str | None, addressed: Callable[[str, Sequence[str]], str], whom: Sequence[str]) -> None:
        self._name, self._url, self._addressed, self._whom = name, url, addressed, whom

    def __call__(self, alert: Alert, telling: Telling) -> str:
        import apprise  # noqa: PLC0415 -- large, and only needed where such a channel is on

        if self._url is None:
            raise UndeliverableError(f"alerting.channels.{self._name}.url does not say through which account it is sent")
        service = apprise.Apprise.instantiate(self._addressed(resolved(self._url), self._whom))
        if service is None:
            raise UndeliverableError(f"apprise does not understand alerting.channels.{self._name}.url")
        title, body = words(alert, telling)
        with apprise.LogCapture(level=logging.DEBUG, fmt="%(levelname)s %(message)s") as said:  # type: ignore[no-untyped-call]
            sent = service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
            why = " ".join(_REASON.sub("", line) for line in said.getvalue().splitlines() if _REASON.match(line))
        if not sent:
            status, reply = _STATUS.search(why), _SMTP_REPLY.search(why)
            if (status and _is_final(int(status[1]))) or (reply and reply[1].startswith("5")):
                raise UndeliverableError(why)
            raise ConnectionError(why or f"{service.service_name} did not take it")
        return f"accepted by {service.service_name}"


def mail_address(url: str, whom: Sequence[str]) -> str:
    """``mailto://…`` with its recipients."""
    return f"{url}{'&' if '?' in url else '?'}to={quote(','.join(whom))}" if whom else url


def phone_address(url: str, whom: Sequence[str]) -> str:
    """``twilio://…`` with the numbers that are told."""
    address, mark, query = url.partition("?")
    return "/".join([address.rstrip("/"), *map(quote, whom)]) + mark + query


def call_address(url: str, whom: Sequence[str]) -> str:
    """``twilio://…`` with the numbers that are called."""
    address = phone_address(url, whom)
    return f"{address}{'&' if '?' in address else '?'}method=call"


def words(alert: Alert, telling: Telling) -> tuple[str, str]:
    """Title and text for people: in one line the one, in a few the other, without what a terminal or a mail would obey."""
    cause = alert.cause
    prefix = {"resolved": "Resolved: ", "summary": "More of it: "}.get(telling.what, "")
    title = f"[WinClaw] {prefix}{cause.title}"
    body = f"{telling.text}\n\n{cause.severity.name}, {cause.component}, since {alert.at:%Y-%m-%d %H:%M:%S} UTC."
    return _UNFIT.sub(" ", title.replace("\n", " "))[:200], _UNFIT.sub(" ", body)[:4000]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: what is signed for one address goes to no other."""


_OPENER: Final = urllib.request.build_opener(_NoRedirect)
_UNFIT: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_REASON: Final = re.compile(r"(WARNING|ERROR|CRITICAL) |DEBUG (?=Socket Exception)")
"""What is said of why something failed; the rest of what apprise says may hold the message and the account."""
_SMTP_REPLY: Final = re.compile(r"\((\d{3}), b")
_STATUS: Final = re.compile(r"error=(\d{3,5})\b")
_PASSING: Final = frozenset({408, 425, 429, 20429, 20500, 20503})


def _is_final(status: int) -> bool:
    """Whether a status of HTTP, or an error of Twilio's, says that it is no use to try again."""
    return (400 <= status < 500 or status >= 20_000) and status not in _PASSING


def message(alert: Alert, telling: Telling) -> Mapping[str, Any]:
    """What another program is told."""
    cause = alert.cause
    return {
        "key": telling.key, "what": telling.what, "text": telling.text, "at": telling.at.isoformat(), "alert": alert.id,
        "title": cause.title, "message": cause.message, "severity": cause.severity.name, "priority": alert.priority.name,
        "component": cause.component, "count": alert.count, "since": alert.at.isoformat(),
    }  # fmt: skip


def signature(secret: str, body: bytes, at: datetime) -> str:
    """The signature of ``body`` at a moment; it covers the moment, so that a message cannot be sent again later."""
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def resolved(reference: str) -> str:
    """The address or secret that ``reference`` names: ``env:NAME``, ``keyring:NAME``, or itself.

    Raises:
        UndeliverableError: there is none of that name.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name)
    elif kind == "keyring":
        import keyring  # noqa: PLC0415 -- only who keeps secrets there pays for it

        found = keyring.get_password("winclaw", name)
    else:
        return reference
    if not found:
        where = "the environment" if kind == "env" else "the system's key store"
        raise UndeliverableError(f"{where} has no {name}; put the address or secret there")
    return found
