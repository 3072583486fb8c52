"""What leaves the machine, seen by real servers: a webhook's receiver, a mail server with STARTTLS and login, and Twilio played."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qs

import apprise.plugins.twilio
import msgspec
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from resilience.alerting.alerts import Alert, AlertPriority, Telling
from resilience.alerting.channels import Channel, Channels, EmailChannel, PhoneChannel, WebhookChannel
from resilience.alerting.senders import SIGNATURE, UndeliverableError, senders
from resilience.clock import SystemClock
from tests.resilience.alerting.test_routing import caused

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOSTILE = "Bcc: evil@example.com\r\nSubject: owned\r\n\r\n</Say><Dial>+1900</Dial>\x1b[31m\u202etxt.exe " + "long " * 3000


class Web(ThreadingHTTPServer):
    """Answers ``status`` and notes what it was asked."""

    def __init__(self) -> None:
        self.status, self.asked = 200, list[tuple[str, Message, bytes]]()
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers, body))
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def alert(**cause: Any) -> tuple[Alert, Telling]:
    one = Alert(id=7, cause=caused("CRITICAL", **cause), priority=AlertPriority.P2_HIGH, at=AT, last_at=AT, count=3)
    one = one.telling("raised", one.cause.message, ["webhook"], AT)
    return one, one.tellings[0]


def send(channels: Channels, name: str, **cause: Any) -> str:
    return dict(senders(SystemClock(), channels))[name](*alert(**cause))


def webhook(url: str, secret: str | None = None) -> Channels:
    return Channels(webhook=WebhookChannel(enabled=True, url=url, secret=secret))


def test_only_channels_that_are_on_send() -> None:
    assert {name for name, _ in senders(SystemClock(), Channels())} == {"log", "dashboard"}
    assert {name for name, _ in senders(SystemClock(), Channels(log=Channel(enabled=False)))} == {"dashboard"}


def test_a_webhook_gets_signed_json_with_a_key(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    assert send(webhook(f"{web.url}/hook", "env:HOOK_SECRET"), "webhook") == "the server said 200"
    [(path, headers, body)] = web.asked
    told = msgspec.json.decode(body)
    assert (path, headers["Content-Type"], headers["Idempotency-Key"]) == ("/hook", "application/json", "7-1-webhook")
    assert (told["key"], told["what"], told["alert"], told["priority"], told["count"]) == ("7-1-webhook", "raised", 7, "P2_HIGH", 3)
    seconds, _, digest = headers[SIGNATURE].removeprefix("t=").partition(",v1=")
    assert abs(int(seconds) - datetime.now(UTC).timestamp()) < 60
    assert hmac.compare_digest(digest, hmac.new(b"s3cret", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest())


def test_without_a_secret_a_webhook_is_not_signed(web: Web) -> None:
    send(webhook(web.url), "webhook")
    assert SIGNATURE not in web.asked[0][1]


@pytest.mark.parametrize(("status", "is_final"), [
    (400, True), (401, True), (404, True), (410, True), (302, False), (408, False), (429, False), (500, False), (503, False),
])  # fmt: skip
def test_a_refusal_is_final_or_passes_and_no_redirect_is_followed(web: Web, status: int, is_final: bool) -> None:
    web.status = status
    with pytest.raises(UndeliverableError if is_final else ConnectionError, match=str(status)):
        send(webhook(web.url), "webhook")
    assert [path for path, _, _ in web.asked] == ["/"]


def test_a_webhook_that_is_down_passes_and_a_missing_reference_does_not() -> None:
    with pytest.raises(URLError):
        send(webhook("http://127.0.0.1:9/"), "webhook")
    with pytest.raises(UndeliverableError, match="the environment has no NO_SUCH_NAME"):
        send(webhook("env:NO_SUCH_NAME"), "webhook")
    with pytest.raises(UndeliverableError, match="does not begin with http"):
        send(webhook("ftp://127.0.0.1/"), "webhook")


# Mail.


class Mails:
    """A mail server's inbox."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd calls it so
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.got.append((envelope.rcpt_tos, message))
        return "250 taken"


@pytest.fixture
def mails() -> Iterator[tuple[Mails, int]]:
    """An inbox behind STARTTLS and a login, and its port."""
    ca, inbox = trustme.CA(), Mails()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)

    def login(_server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"hunter2")
        return AuthResult(success=known, handled=False)

    listening: Future[int] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(inbox, tls_context=context, require_starttls=True, authenticator=login, auth_required=True, loop=loop),
            "127.0.0.1", 0,
        )  # fmt: skip
        async with server:
            loops.append(loop)
            listening.set_result(server.sockets[0].getsockname()[1])
            await stop.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    yield inbox, listening.result(10)
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()


def mail(port: int, monkeypatch: pytest.MonkeyPatch, password: str = "hunter2") -> Channels:
    monkeypatch.setenv("MAIL", f"mailto://me:{password}@localhost:{port}?from=winclaw@example.com&mode=starttls&verify=no")
    return Channels(email=EmailChannel(enabled=True, recipients=("ada@example.com", "bob@example.com"), url="env:MAIL"))


def test_a_mail_goes_out_over_starttls_with_login(mails: tuple[Mails, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, port = mails
    assert send(mail(port, monkeypatch), "email") == "accepted by E-Mail"
    assert sorted(whom for to, _ in inbox.got for whom in to) == ["ada@example.com", "bob@example.com"]
    _, message = inbox.got[0]
    assert message["Subject"] == "[WinClaw] It burns"
    body = message.get_body(("plain",))
    assert body is not None
    assert "in the kitchen" in body.get_content()
    assert "CRITICAL, kitchen, since 2026-01-01 12:00:00 UTC." in body.get_content()


def test_hostile_text_makes_no_header_of_a_mail(mails: tuple[Mails, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, port = mails
    send(mail(port, monkeypatch), "email", title=HOSTILE, message=HOSTILE)
    for to, message in inbox.got:
        assert to[0] in ("ada@example.com", "bob@example.com")
        assert (message["Bcc"], len(message.get_all("Subject", []))) == (None, 1)
        assert message["Subject"].startswith("[WinClaw] Bcc: evil@example.com")
        body = message.get_body(("plain",))
        assert body is not None
        assert not {"\x1b", "\u202e", "\x00"} & set(body.get_content())
    assert len(inbox.got) == 2


def test_a_wrong_password_is_final_and_said_without_it(mails: tuple[Mails, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, port = mails
    with pytest.raises(UndeliverableError, match=r"535.*credentials invalid") as refused:
        send(mail(port, monkeypatch, "opensesame"), "email")
    assert "opensesame" not in str(refused.value)
    assert inbox.got == []


def test_a_mail_server_that_is_down_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match="refused"):
        send(mail(9, monkeypatch), "email")


def test_a_channel_without_an_account_says_which_setting_is_missing() -> None:
    channels = Channels(email=EmailChannel(enabled=True, recipients=("ada@example.com",)))
    with pytest.raises(UndeliverableError, match=r"alerting\.channels\.email\.url"):
        send(channels, "email")


# Twilio.


@pytest.fixture
def twilio(web: Web, monkeypatch: pytest.MonkeyPatch) -> Channels:
    monkeypatch.setattr(
        apprise.plugins.twilio.NotifyTwilio, "notify_sms_url", f"{web.url}/2010-04-01/Accounts/{{sid}}/Messages.json"
    )
    monkeypatch.setenv("SMS", f"twilio://AC{'1' * 32}:{'2' * 32}@15550001111")
    return Channels(sms=PhoneChannel(enabled=True, phone_numbers=("+15550002222", "+15550003333"), url="env:SMS"))


def test_a_text_message_goes_through_twilio_to_each_number(web: Web, twilio: Channels) -> None:
    web.status = 201
    assert send(twilio, "sms", message=HOSTILE) == "accepted by Twilio"
    account, token = f"AC{'1' * 32}", "2" * 32
    forms = [parse_qs(body.decode()) for _, _, body in web.asked]
    assert [form["To"] for form in forms] == [["+15550002222"], ["+15550003333"]]
    for path, headers, body in web.asked:
        assert path == f"/2010-04-01/Accounts/{account}/Messages.json"
        assert headers["Authorization"] == f"Basic {b64encode(f'{account}:{token}'.encode()).decode()}"
        assert "\x1b" not in parse_qs(body.decode())["Body"][0]


@pytest.mark.parametrize(("status", "error"), [(400, UndeliverableError), (429, ConnectionError), (500, ConnectionError)])
def test_twilio_refuses_for_good_or_for_now(web: Web, twilio: Channels, status: int, error: type[Exception]) -> None:
    web.status = status
    with pytest.raises(error, match=f"error={status}"):
        send(twilio, "sms")


