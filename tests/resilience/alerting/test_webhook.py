"""The webhook, seen by a real server: what it gets, what it may answer, and what it cannot make WinClaw do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.error import URLError

import keyring
import msgspec
import pytest

from resilience.alerting.senders import SIGNATURE
from resilience.alerting.sending import UndeliverableError
from tests.resilience.alerting.receivers import Web, nobody, send, web_server, webhook


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


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


def test_a_webhook_that_is_down_passes() -> None:
    with nobody() as port, pytest.raises(URLError):
        send(webhook(f"http://127.0.0.1:{port}/"), "webhook")


def test_an_address_or_secret_that_is_missing_is_final() -> None:
    with pytest.raises(UndeliverableError, match="the environment has no NO_SUCH_NAME"):
        send(webhook("env:NO_SUCH_NAME"), "webhook")
    with pytest.raises(UndeliverableError, match="the environment has no NO_SUCH_SECRET"):
        send(webhook("http://127.0.0.1:9/", "env:NO_SUCH_SECRET"), "webhook")


def test_an_address_may_be_in_the_key_store(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {("winclaw", "hook"): web.url}
    monkeypatch.setattr(keyring, "get_password", lambda service, name: kept.get((service, name)))
    assert send(webhook("keyring:hook"), "webhook") == "the server said 200"
    with pytest.raises(UndeliverableError, match="the system's key store has no other"):
        send(webhook("keyring:other"), "webhook")


@pytest.mark.parametrize(("url", "why"), [
    ("ftp://127.0.0.1/", "does not begin with http"),
    ("http://me:hunter2@127.0.0.1/", "is not the address of a server"),
    ("http://127.0.0.1:9/hunter2 \x01", "is not the address of a server"),
    ("http://127.0.0.1:9/hunter2/\N{SNOWMAN}", "is not the address of a server"),
])  # fmt: skip
def test_what_is_no_address_is_final_and_not_said(url: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", url)
    with pytest.raises(UndeliverableError, match=why) as refused:
        send(webhook("env:HOOK"), "webhook")
    assert "hunter2" not in str(refused.value)
