"""Telling by any service that apprise knows, and what apprise says where it fails."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from resilience.alerting.alerts import Alert, AlertChannel, Telling
from resilience.alerting.sending import UndeliverableError, is_final, resolved
from resilience.alerting.words import REASON, fitted, words
from resilience.context import message_of
from resilience.redaction import REDACTED

if TYPE_CHECKING:
    from apprise import NotifyBase

_KEPT: Final = 100
"""Messages of which it is remembered who has had them."""
_SHORTEST_SECRET: Final = 3
_SMTP_REPLY: Final = re.compile(r"\b(\d{3}),? b['\"]")
_ASKED: Final = re.compile(r"(?<=with url: )\S+")
"""The path that was asked for; with some services the secret is a part of it."""
_STATUS: Final = re.compile(r"error=(\d{3,5})\b")


class ByApprise:
    """Tells by any service that apprise knows: each person alone, so that nobody is told again because another was not.

    Args:
        name: the channel's, in the configuration. url: apprise's address of the account, or a reference to it.
        addressed: ``addressed(url, whom)`` puts those who are told into it.
    """

    def __init__(self, name: str, url: str | None, addressed: Callable[[str, Sequence[str]], str], whom: Sequence[str]) -> None:
        self._name, self._url, self._addressed, self._whom = name, url, addressed, whom
        self._ended: dict[str, dict[str, str]] = {}

    def __call__(self, alert: Alert, telling: Telling) -> str:
        service = self._service(alert, telling)
        ended = self._ended.setdefault(telling.key, {})
        for old in [*self._ended][:-_KEPT]:
            del self._ended[old]
        waits = []
        for whom in _each(service):
            if whom in ended:
                continue
            try:
                _tell(service, *words(alert, telling, self._name))
                ended[whom] = ""
            except UndeliverableError as error:
                ended[whom] = str(error)
            except ConnectionError as error:
                waits.append(str(error))
        if waits:
            raise ConnectionError("; ".join(dict.fromkeys(waits)))
        if refused := [why for why in ended.values() if why]:
            which = "" if len(refused) == len(ended) else "some were told, others not: "
            raise UndeliverableError(which + "; ".join(dict.fromkeys(refused)))
        return f"accepted by {service.service_name}"

    def check(self) -> None:
        """Looks whether its address can be understood; nothing is sent.

        Raises:
            UndeliverableError: it cannot.
        """
        self._made(self._address())

    def _service(self, alert: Alert, telling: Telling) -> NotifyBase:
        address = self._address()
        return self._made(threaded(address, alert, telling) if self._name == AlertChannel.EMAIL else address)

    def _address(self) -> str:
        if self._url is None:
            raise UndeliverableError(f"alerting.channels.{self._name}.url does not say through which account it is sent")
        return self._addressed(resolved(self._url), self._whom)

    def _made(self, address: str) -> NotifyBase:
        import apprise  # noqa: PLC0415 -- large, and only needed where such a channel is on

        _LISTENER.listen()
        service = apprise.Apprise.instantiate(address)
        if service is None:
            raise UndeliverableError(f"apprise does not understand alerting.channels.{self._name}.url")
        return service


def _each(service: NotifyBase) -> Iterator[str]:
    """Each whom ``service`` tells, while it is set to tell nobody else; one, if it does not say whom."""
    everybody = getattr(service, "targets", None)
    if not isinstance(everybody, list) or not everybody:
        yield ""
        return
    service.request_rate_per_sec = 0  # apprise would sleep for seconds between two mails
    for one in everybody:
        service.targets = [one]  # type: ignore[attr-defined]
        yield repr(one)


def _tell(service: NotifyBase, title: str, body: str) -> None:
    """Has ``service`` tell it.

    Raises:
        UndeliverableError, ConnectionError: it was not taken, for good or for now; neither says a secret.
    """
    import apprise  # noqa: PLC0415 -- as above

    said: list[str] = []
    before = _SAID.set(said)
    try:
        if service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return
    except Exception as error:  # a defect there; others are told nevertheless
        said.append(f"{type(error).__name__}: {message_of(error)}")
    finally:
        _SAID.reset(before)
    whole = " ".join(said)
    why = fitted(_without_secrets(whole, service), REASON) or f"{service.service_name} did not take it"
    raise UndeliverableError(why) if _is_hopeless(whole) else ConnectionError(why)


def _without_secrets(why: str, service: NotifyBase) -> str:
    why = _ASKED.sub(REDACTED, why)
    for secret in _secrets(service):
        why = why.replace(secret, REDACTED)
    return why


def _secrets(service: NotifyBase) -> list[str]:
    """What its address says and apprise would not show, the longest first."""
    whole, shown = (service.url(privacy=one) for one in (False, True))  # type: ignore[no-untyped-call]
    hidden = _pieces(whole) - _pieces(shown)
    return sorted((one for one in hidden if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)


def _pieces(url: str) -> set[str]:
    pieces = set(re.split(r"[:/@?&=]+", url))
    return pieces | {unquote(one) for one in pieces}


class _Listener(logging.Handler):
    """Keeps what apprise says of a failure for whom it happens to.

    Nobody else gets it, no log either: it may hold the message and the account.
    """

    def listen(self) -> None:
        """Begins, if it has not begun; this program has no other use for what apprise says."""
        logger = logging.getLogger("apprise")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Notes it for the thread that is sending, if it is a reason."""
        said = _SAID.get()
        if said is None:
            return
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit; what sends does not suffer from that
            return
        if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
            said.append(text)


_SAID: Final[ContextVar[list[str] | None]] = ContextVar("what apprise says", default=None)
_LISTENER: Final = _Listener()


def mail_address(url: str, whom: Sequence[str]) -> str:
    """``mailto://…`` with its recipients."""
    return _with(url, f"to={quote(','.join(whom))}") if whom else url


def threaded(url: str, alert: Alert, telling: Telling) -> str:
    """``mailto://…`` with the headers that make one thread of all mails about an alert; a digest belongs to none."""
    if telling.what == "digest" or not url.lower().startswith(("mailto://", "mailtos://")):
        return url
    thread = quote(f"<alert-{alert.id}.{int(alert.at.timestamp())}@winclaw>")
    return _with(url, f"+References={thread}&+In-Reply-To={thread}")


def phone_address(url: str, whom: Sequence[str]) -> str:
    """``twilio://…`` with the numbers that are told."""
    address, mark, query = url.partition("?")
    return "/".join([address.rstrip("/"), *map(quote, whom)]) + mark + query


def call_address(url: str, whom: Sequence[str]) -> str:
    """``twilio://…`` with the numbers that are called."""
    return _with(phone_address(url, whom), "method=call")


def _with(url: str, parameters: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameters}"


def _is_hopeless(why: str) -> bool:
    """Whether what apprise says of a failure says so; the service's own words stand before the status."""
    statuses, reply = _STATUS.findall(why), _SMTP_REPLY.search(why)
    return bool((statuses and is_final(int(statuses[-1]))) or (reply and reply[1].startswith("5")))
