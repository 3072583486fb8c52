"""What holds of every way to tell: only what is on sends, trouble passes, and nobody hears what another's service has said."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keyring
import pytest
from keyring.errors import NoKeyringError

from resilience.alerting.channels import Channel, Channels, OtherChannel
from resilience.alerting.senders import Webhook, senders
from resilience.alerting.sending import Sender, UndeliverableError, resolved
from resilience.clock import SystemClock
from tests.resilience.alerting.receivers import (
    Web,
    alert,
    mail,
    mail_server,
    nobody,
    other,
    send,
    sender,
    silence,
    twilio,
    web_server,
    webhook,
)

HASTE = "cto=0.1&rto=0.1"


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


def test_only_channels_that_are_on_send() -> None:
    assert {name for name, _ in senders(SystemClock(), Channels())} == {"log", "dashboard"}
    assert {name for name, _ in senders(SystemClock(), Channels(log=Channel(enabled=False)))} == {"dashboard"}
    off = Channels(others={"other": OtherChannel(enabled=False, url="json://127.0.0.1")})
    assert {name for name, _ in senders(SystemClock(), off)} == {"log", "dashboard"}


@pytest.mark.parametrize(("scheme", "path", "told"), [
    ("json", "/own/path", {"title": "[WinClaw] Resolved: It burns", "message": "It is over.{facts}", "type": "info"}),
    ("ntfy", "/", {"topic": "path", "title": "[WinClaw] Resolved: It burns", "message": "It is over.{facts}"}),
])  # fmt: skip
def test_whatever_apprise_has_an_address_for_can_be_a_channel(scheme: str, path: str, told: dict[str, str], web: Web) -> None:
    where = "path" if scheme == "ntfy" else "own/path"
    accepted = send(other(f"{scheme}://127.0.0.1:{web.server_port}/{where}"), "other", "resolved", "It is over.")
    assert accepted == f"accepted by {scheme.upper() if scheme == 'json' else scheme}"
    [(asked, _, body)] = web.asked
    facts = "\n\nCRITICAL, kitchen, 3 times since 2026-01-01 12:00:00 UTC."
    heard = json.loads(body)
    assert asked == path
    assert {name: heard[name] for name in told} == {name: text.format(facts=facts) for name, text in told.items()}


@pytest.mark.parametrize("url", ["nonsense://127.0.0.1", "json://", "twilio://AC1:hunter2@nobody"])
def test_what_apprise_does_not_understand_is_final(url: str) -> None:
    with pytest.raises(UndeliverableError, match=r"apprise does not understand alerting\.channels\.others\.other\.url"):
        send(other(url), "other")


# A service that is down, silent, or back again.


def by_webhook(port: int, _patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return Webhook(webhook(f"http://127.0.0.1:{port}/").webhook, SystemClock(), 0.1 if hasty else 10)


def by_mail(port: int, patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return sender(mail(port, patch, more=f"&{HASTE}" if hasty else ""), "email")


def by_text_message(port: int, patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return sender(twilio(port, patch, f"?{HASTE}" if hasty else ""), "sms")


def by_call(port: int, patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return sender(twilio(port, patch, f"?{HASTE}" if hasty else ""), "twilio_voice")


def by_json(port: int, _patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return sender(other(f"json://127.0.0.1:{port}/{f'?{HASTE}' if hasty else ''}"), "other")


def by_ntfy(port: int, _patch: pytest.MonkeyPatch, *, hasty: bool) -> Sender:
    return sender(other(f"ntfy://127.0.0.1:{port}/topic{f'?{HASTE}' if hasty else ''}"), "other")


ALL = [(by_webhook, web_server, 1), (by_mail, mail_server, 2), (by_text_message, web_server, 2), (by_call, web_server, 2), (by_json, web_server, 1), (by_ntfy, web_server, 1)]


@pytest.mark.parametrize("trouble", [nobody, silence])
@pytest.mark.parametrize(("channel", "server", "times"), ALL)
def test_what_is_down_or_silent_passes_and_is_told_when_it_is_back(
    channel: Callable[..., Sender], server: Callable[[int], Any], times: int,
    trouble: Callable[[], contextlib.AbstractContextManager[int]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with trouble() as port, pytest.raises(OSError, match=r"refused|timed out"):
        tell = channel(port, monkeypatch, hasty=trouble is silence)
        tell(*alert())
    with server(port) as back:
        if trouble is silence:  # what is real needs more than a moment
            tell = channel(port, monkeypatch, hasty=False)
        tell(*alert())
        told = back.asked if isinstance(back, Web) else back.got
        assert len(told) == times


# What apprise says.


def test_of_two_that_fail_at_once_each_says_its_own_reason(web: Web) -> None:
    """Both requests are under way before either is answered."""
    both = threading.Barrier(2)
    web.before = lambda _body: both.wait(10)
    with web_server() as another, ThreadPoolExecutor(2) as threads:
        web.status, another.status, another.before = 403, 503, web.before
        tellers = [sender(other(f"json://127.0.0.1:{server.server_port}/"), "other") for server in (web, another)]
        final, passing = [one.exception(20) for one in [threads.submit(teller, *alert()) for teller in tellers]]
    assert isinstance(final, UndeliverableError)
    assert isinstance(passing, ConnectionError)
    assert ("403" in str(final), "503" in str(final)) == (True, False)
    assert ("403" in str(passing), "503" in str(passing)) == (False, True)


@contextlib.contextmanager
def heard_by_all() -> Iterator[list[logging.LogRecord]]:
    """What arrives at the root of all logs, where the log file listens."""
    records: list[logging.LogRecord] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    ear, root = Ear(), logging.getLogger()
    root.addHandler(ear)
    try:
        yield records
    finally:
        root.removeHandler(ear)


def test_nothing_that_apprise_says_reaches_the_log(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says the account, the login and the message at the level DEBUG, and a wrong login at WARNING."""
    web.status = 500
    with heard_by_all() as records:
        with pytest.raises(ConnectionError):
            send(twilio(web.server_port, monkeypatch), "sms")
        with pytest.raises(UndeliverableError):
            send(other("twilio://AC1:not.a.token@15550001111"), "other")
    assert [one for one in records if one.name.startswith("apprise")] == []


@pytest.mark.parametrize(("url", "secrets"), [
    ("json://me:hunter2@{}/", "hunter2"), ("ntfy://me:hunter2@{}/topic", "hunter2"),
    ("ntfy://me:hunter%402@{}/topic", "hunter@2 hunter%402"), ("ntfy://tk_hunter2@{}/topic?auth=token", "tk_hunter2"),
])  # fmt: skip
def test_no_secret_of_an_address_is_in_a_reason(url: str, secrets: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.status, web.answer = 400, json.dumps({"error": f"the login {secrets} is wrong", "code": 400}).encode()
    monkeypatch.setenv("OTHER", url.format(web.url.removeprefix("http://")))
    with pytest.raises(UndeliverableError, match="400") as refused:
        send(other("env:OTHER"), "other")
    assert "hunter" not in str(refused.value)


def test_the_path_of_a_service_that_is_down_is_not_said() -> None:
    with nobody() as port, pytest.raises(ConnectionError, match=r"with url: \[redacted\] .*refused") as refused:
        send(other(f"json://127.0.0.1:{port}/hooks/hunter2"), "other")
    assert "hunter2" not in str(refused.value)


def test_a_service_that_crashes_passes(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise.plugins.custom_json

    def crash(*_: Any, **__: Any) -> bool:
        raise RuntimeError("a defect\x1b of hunter2")

    monkeypatch.setattr(apprise.plugins.custom_json.NotifyJSON, "send", crash)
    with pytest.raises(ConnectionError, match=r"^RuntimeError: a defect of \[redacted\]$"):
        send(other("json://me:hunter2@127.0.0.1/"), "other")


def test_a_message_that_was_taken_stays_so_whatever_apprise_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it notes may have arguments that do not fit."""
    import apprise.plugins.custom_json

    def note(*_: Any, **__: Any) -> bool:
        unfit = logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelno": logging.WARNING})
        [ours] = [one for one in logging.getLogger("apprise").handlers if type(one).__name__ == "_Listener"]
        ours.handle(unfit)
        return True

    monkeypatch.setattr(apprise.plugins.custom_json.NotifyJSON, "send", note)
    assert send(other("json://127.0.0.1/"), "other") == "accepted by JSON"


def test_where_there_is_no_key_store_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise NoKeyringError

    monkeypatch.setattr(keyring, "get_password", none)
    with pytest.raises(UndeliverableError, match="this system has no key store; use env:NAME instead"):
        resolved("keyring:winclaw")
