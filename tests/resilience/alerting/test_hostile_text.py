"""Text of agents, models and services that means harm, by every channel that there is (SECURITY, point 10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from resilience.alerting.channels import Channels
from resilience.alerting.senders import senders
from resilience.alerting.words import visible, words
from resilience.clock import SystemClock
from tests.resilience.alerting.hostile import EACH, unfit
from tests.resilience.alerting.receivers import (
    Mails,
    Web,
    alert,
    mail,
    mail_server,
    other,
    send,
    text_of,
    twilio,
    web_server,
    webhook,
)


def hurt(channels: Channels, name: str, text: str) -> tuple[str, str]:
    """Sends an alert that is ``text`` wherever it can be; returns title and text as they should arrive."""
    more = {"title": text, "message": text, "component": text}
    send(channels, name, **more)
    return words(*alert(**more), name)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="module")
def mails() -> Iterator[Mails]:
    with mail_server() as server:
        yield server


@pytest.fixture
def inbox(mails: Mails) -> Mails:
    mails.got.clear()
    return mails


def test_this_is_every_channel_that_sends(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    phones = twilio(web.server_port, monkeypatch)
    channels = Channels(
        email=mail(25, monkeypatch).email, sms=phones.sms, twilio_voice=phones.twilio_voice, webhook=webhook(web.url).webhook,
        others=other("json://127.0.0.1").others,
    )  # fmt: skip
    assert {name for name, _ in senders(SystemClock(), channels)} == {
        "log", "dashboard", "email", "sms", "twilio_voice", "webhook", "other",
    }  # fmt: skip


@EACH
def test_in_the_log_it_is_one_line(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert send(Channels(), "log", title=text, message=text) == "in the log"
    [line] = [one.getMessage() for one in caplog.records if one.name == "winclaw.alerts"]
    assert line.startswith("P2_HIGH, raised: ")
    assert unfit(line) == set()
    assert len(line) < 4300


@EACH
def test_the_dashboard_has_it_anyway(text: str) -> None:
    assert send(Channels(), "dashboard", title=text, message=text) == "on the page Alerts"


@EACH
def test_in_a_mail_it_is_text(text: str, inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    title, body = hurt(mail(inbox.port, monkeypatch), "email", text)
    assert inbox.whom == ["ada@example.com", "bob@example.com"]
    for _, message in inbox.got:
        assert (message.get_all("Bcc"), len(message.get_all("Subject", []))) == (None, 1)
        assert message["Subject"] == title.strip()
        assert text_of(message).strip() == body.strip()
        assert message.get_content_type() == "text/plain"
        assert unfit(message["Subject"] + text_of(message), "\n") == set()


@EACH
def test_in_a_text_message_it_is_text(text: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    title, body = hurt(twilio(web.server_port, monkeypatch), "sms", text)
    for _, _, form in web.asked:
        [got] = parse_qs(form.decode())["Body"]
        assert got == f"{title}\r\n{body}"
        assert unfit(got, "\r\n") == set()
        assert len(got) <= 1002
    assert len(web.asked) == 2


@EACH
def test_in_a_call_it_is_spoken(text: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    title, spoken = hurt(twilio(web.server_port, monkeypatch), "twilio_voice", text)
    for _, _, form in web.asked:
        response = ElementTree.fromstring(parse_qs(form.decode())["Twiml"][0])  # noqa: S314 -- made by ourselves
        [say] = response
        assert (title, response.tag, response.text, say.tag, say.attrib, say.tail) == ("", "Response", None, "Say", {}, None)
        assert say.text == spoken
        assert unfit(spoken) == set()
        assert len(spoken) <= 510
    assert len(web.asked) == 2


@EACH
def test_another_program_gets_it_as_it_is_but_for_what_nobody_sees(text: str, web: Web) -> None:
    send(webhook(web.url), "webhook", title=text, message=text, component=text)
    told = json.loads(web.asked[0][2])
    assert {told[name] for name in ("title", "message", "text", "component")} == {visible(text)}
    assert unfit(told["text"], "\n") == set()


@EACH
def test_another_service_gets_it_as_text(text: str, web: Web) -> None:
    title, body = hurt(other(f"json://127.0.0.1:{web.server_port}/"), "other", text)
    told = json.loads(web.asked[0][2])
    assert (told["title"], told["message"]) == (title.strip(), body.rstrip())
    assert unfit(told["title"] + told["message"], "\n") == set()
    assert (len(title) <= 200, len(body) <= 4000) == (True, True)
