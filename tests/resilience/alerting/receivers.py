"""Who is told, played by real servers on this machine: a web server, a mail server with STARTTLS and login, one that is silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import apprise.plugins.twilio
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from resilience.alerting.alerts import Alert, AlertPriority, Telling
from resilience.alerting.channels import Channels, EmailChannel, OtherChannel, PhoneChannel, WebhookChannel
from resilience.alerting.senders import senders
from resilience.alerting.sending import Sender
from resilience.clock import SystemClock
from tests.resilience.alerting.desk import caused

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACCOUNT, TOKEN = f"AC{'1' * 32}", "2" * 32


def alert(what: str = "raised", text: str | None = None, *, number: int = 7, count: int = 3, **cause: Any) -> tuple[Alert, Telling]:
    """An alert, and what is to be told of it."""
    one = Alert(id=number, cause=caused("CRITICAL", **cause), priority=AlertPriority.P2_HIGH, at=AT, last_at=AT, count=count)
    one = one.telling(what, one.cause.message if text is None else text, ["webhook"], AT)
    return one, one.tellings[0]


def sender(channels: Channels, name: str) -> Sender:
    return dict(senders(SystemClock(), channels))[name]


def send(channels: Channels, name: str, what: str = "raised", text: str | None = None, **alerted: Any) -> str:
    return sender(channels, name)(*alert(what, text, **alerted))


def webhook(url: str, secret: str | None = None) -> Channels:
    return Channels(webhook=WebhookChannel(enabled=True, url=url, secret=secret))


def other(url: str) -> Channels:
    return Channels(others={"other": OtherChannel(url=url)})


def mail(port: int, monkeypatch: pytest.MonkeyPatch, password: str = "hunter2", more: str = "") -> Channels:
    """Mail to two people by way of the mail server at ``port``."""
    url = f"mailto://me:{password}@localhost:{port}?from=winclaw@example.com&mode=starttls&verify=no{more}"
    monkeypatch.setenv("MAIL", url)
    return Channels(email=EmailChannel(enabled=True, recipients=("ada@example.com", "bob@example.com"), url="env:MAIL"))


def twilio(port: int, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Channels:
    """Text messages and calls to two people by way of a Twilio at ``port``."""
    service, accounts = apprise.plugins.twilio.NotifyTwilio, f"http://127.0.0.1:{port}/2010-04-01/Accounts/{{sid}}"
    monkeypatch.setattr(service, "notify_sms_url", f"{accounts}/Messages.json")
    monkeypatch.setattr(service, "notify_call_url", f"{accounts}/Calls.json")
    monkeypatch.setenv("TWILIO", f"twilio://{ACCOUNT}:{TOKEN}@15550001111{more}")
    phones = PhoneChannel(enabled=True, phone_numbers=("+15550002222", "+15550003333"), url="env:TWILIO")
    return Channels(sms=phones, twilio_voice=phones)


class Web(ThreadingHTTPServer):
    """Answers ``status`` and ``answer``, after ``before(body)``, and notes what it was asked."""

    def __init__(self, port: int = 0) -> None:
        self.status, self.answer, self.asked = 200, b"", list[tuple[str, Message, bytes]]()
        self.before: Callable[[bytes], object] = bool
        super().__init__(("127.0.0.1", port), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers, body))
        self.server.before(body)
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def web_server(port: int = 0) -> Iterator[Web]:
    with Web(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Mails:
    """A mail server's inbox; ``replies`` to recipients, and to what they get, where that is not taken."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[tuple[list[str], EmailMessage]] = []
        self.replies: dict[str, str] = {}

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 -- aiosmtpd calls it so
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 go on"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- as above
        if "DATA" in self.replies:
            return self.replies["DATA"]
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.got.append((envelope.rcpt_tos, message))
        return "250 taken"

    @property
    def whom(self) -> list[str]:
        """Who got a mail, once for each."""
        return sorted(one for to, _ in self.got for one in to)


def text_of(message: EmailMessage) -> str:
    """A mail's text, with its lines as they were sent."""
    body = message.get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text.replace("\r\n", "\n").removesuffix("\n")


@contextlib.contextmanager
def mail_server(port: int = 0) -> Iterator[Mails]:
    """An inbox behind STARTTLS and a login."""
    ca, inbox = trustme.CA(), Mails()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    def login(_server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"hunter2")
        return AuthResult(success=known, handled=False)

    listening: Future[tuple[int, asyncio.AbstractEventLoop]] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(inbox, tls_context=context, require_starttls=True, authenticator=login, auth_required=True, loop=loop),
            "127.0.0.1", port,
        )  # fmt: skip
        async with server:
            listening.set_result((server.sockets[0].getsockname()[1], loop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    inbox.port, loop = listening.result(10)
    try:
        yield inbox
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port
