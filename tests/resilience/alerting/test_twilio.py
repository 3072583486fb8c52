"""Text messages and calls, seen by a server that plays Twilio."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from resilience.alerting.channels import Channels
from resilience.alerting.sending import UndeliverableError
from tests.resilience.alerting.receivers import ACCOUNT, TOKEN, Web, alert, nobody, send, sender, twilio, web_server

BOTH = pytest.mark.parametrize("channel", ["sms", "twilio_voice"])


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        server.status = 201
        yield server


@pytest.fixture
def channels(web: Web, monkeypatch: pytest.MonkeyPatch) -> Channels:
    return twilio(web.server_port, monkeypatch)


def forms(web: Web) -> list[dict[str, str]]:
    return [{name: value for name, [value] in parse_qs(body.decode()).items()} for _, _, body in web.asked]


def said(web: Web) -> str:
    """What the first call says."""
    [say] = ElementTree.fromstring(forms(web)[0]["Twiml"])  # noqa: S314 -- made by ourselves
    assert say.tag == "Say"
    return say.text or ""


@pytest.mark.parametrize(("channel", "page", "field"), [("sms", "Messages", "Body"), ("twilio_voice", "Calls", "Twiml")])
def test_each_number_is_told_with_the_login_of_the_account(
    channel: str, page: str, field: str, web: Web, channels: Channels
) -> None:
    assert send(channels, channel) == "accepted by Twilio"
    for path, headers, _ in web.asked:
        assert path == f"/2010-04-01/Accounts/{ACCOUNT}/{page}.json"
        assert headers["Authorization"] == f"Basic {b64encode(f'{ACCOUNT}:{TOKEN}'.encode()).decode()}"
    assert [form["To"] for form in forms(web)] == ["+15550002222", "+15550003333"]
    assert {form["From"] for form in forms(web)} == {"+15550001111"}
    assert all(set(form) == {"To", "From", field} for form in forms(web))


@pytest.mark.parametrize(("what", "title"), [
    ("raised", "[WinClaw] It burns"), ("again", "[WinClaw] Again: It burns"), ("summary", "[WinClaw] More of it: It burns"),
    ("escalated", "[WinClaw] It burns"), ("resolved", "[WinClaw] Resolved: It burns"),
])  # fmt: skip
def test_a_text_message_says_first_what_it_is(what: str, title: str, web: Web, channels: Channels) -> None:
    send(channels, "sms", what)
    facts = "CRITICAL, kitchen, 3 times since 2026-01-01 12:00:00 UTC."
    assert forms(web)[0]["Body"].split("\r\n") == [title, f"in the kitchen\n\n{facts}"]


def test_a_text_message_is_cut_and_still_says_since_when(web: Web, channels: Channels) -> None:
    send(channels, "sms", title="long " * 2000, message="long " * 2000)
    body = forms(web)[0]["Body"]
    assert 900 < len(body) <= 1002
    assert body.endswith("...\n\nCRITICAL, kitchen, 3 times since 2026-01-01 12:00:00 UTC.")


@pytest.mark.parametrize(("what", "title", "text", "heard"), [
    ("raised", "It burns", "in the kitchen", "WinClaw: It burns. in the kitchen"),
    ("resolved", "It burns", "It is over.", "WinClaw: Resolved: It burns. It is over."),
    ("raised", "Is it down?", "So\nit\nseems.", "WinClaw: Is it down? So it seems."),
    ("digest", "12 alerts, the worst: it burns", "FATAL one\nERROR two", "WinClaw: 12 alerts, the worst: it burns"),
    ("raised", "It burns", "", "WinClaw: It burns."),
])  # fmt: skip
def test_a_call_says_it_in_a_sentence_or_two(what: str, title: str, text: str, heard: str, web: Web, channels: Channels) -> None:
    send(channels, "twilio_voice", what, text, title=title)
    assert said(web) == heard


def test_a_call_is_short(web: Web, channels: Channels) -> None:
    send(channels, "twilio_voice", title="long " * 2000, message="long " * 2000)
    assert 400 < len(said(web)) < 510


@pytest.mark.parametrize("text", [
    "</Say><Dial>+1900</Dial><Say>", "<Response><Hangup/></Response>", "  <Response/>", "<?xml version='1.0'?><Response/>",
    "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r>&x;</r>", "]]>", "<![CDATA[ x ]]>", "&lt;Say&gt; &amp; &#60;", "a < b & c > d",
    "\"quoted\" 'too'", "\N{COLLISION SYMBOL} \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
])  # fmt: skip
def test_markup_in_a_call_is_spoken_as_text(text: str, web: Web, channels: Channels) -> None:
    send(channels, "twilio_voice", title=text, message=text)
    spoken = " ".join(text.replace("\N{ZERO WIDTH JOINER}", "").split())
    assert said(web) == f"WinClaw: {spoken}{'' if spoken.endswith('.') else '.'} {spoken}"


@pytest.mark.parametrize("char", ["\0", "\x08", "\x0b", "\x1b", "\x7f", "\x85", "\ud800", "\ufffe", "\uffff", "\u2028", "\u202e", "\u200b"])
def test_what_xml_and_ears_do_not_know_is_not_in_a_call(char: str, web: Web, channels: Channels) -> None:
    send(channels, "twilio_voice", title=f"a{char}b", message=f"{char}<Hangup/>{char}")
    assert said(web) in ("WinClaw: ab. <Hangup/>", "WinClaw: a b. <Hangup/>")


@BOTH
@pytest.mark.parametrize(("status", "error"), [
    (400, UndeliverableError), (401, UndeliverableError), (404, UndeliverableError), (429, ConnectionError), (500, ConnectionError),
    (503, ConnectionError),
])  # fmt: skip
def test_twilio_refuses_for_good_or_for_now(channel: str, status: int, error: type[Exception], web: Web, channels: Channels) -> None:
    web.status = status
    with pytest.raises(error, match=f"error={status}"):
        send(channels, channel)


@BOTH
@pytest.mark.parametrize(("status", "code", "error"), [
    (400, 21211, UndeliverableError), (401, 20003, UndeliverableError), (429, 20429, ConnectionError), (503, 20503, ConnectionError),
])  # fmt: skip
def test_twilio_says_why_and_no_secret_is_repeated(
    channel: str, status: int, code: int, error: type[Exception], web: Web, channels: Channels
) -> None:
    web.status = status
    web.answer = json.dumps({"code": code, "message": f"so it is\x1b\u202e with {ACCOUNT} and {TOKEN}"}).encode()
    with pytest.raises(error, match=rf"so it is with \[redacted\] and \[redacted\], error={code}") as refused:
        send(channels, channel)
    assert not {ACCOUNT, TOKEN} & set(str(refused.value).split())


@pytest.mark.parametrize(("status", "error"), [(400, UndeliverableError), (500, ConnectionError)])
def test_what_twilio_says_is_cut_and_cannot_say_whether_it_is_final(
    status: int, error: type[Exception], web: Web, channels: Channels
) -> None:
    web.status, web.answer = status, json.dumps({"message": "error=400, error=500, " * 100}).encode()
    with pytest.raises(error) as refused:
        send(channels, "sms")
    assert len(str(refused.value)) < 1200


@BOTH
def test_a_twilio_that_is_down_passes_and_the_account_is_not_said(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody() as port, pytest.raises(ConnectionError, match="refused") as refused:
        send(twilio(port, monkeypatch), channel)
    assert ACCOUNT not in str(refused.value)
    assert TOKEN not in str(refused.value)


@BOTH
def test_who_was_told_is_not_called_again_because_another_was_not(channel: str, web: Web, channels: Channels) -> None:
    def answer(body: bytes) -> None:
        web.status = 201 if b"3333" in body else 500

    web.before = answer
    tell, message = sender(channels, channel), alert()
    with pytest.raises(ConnectionError, match="error=500"):
        tell(*message)
    web.before, web.status = bool, 201
    assert tell(*message) == "accepted by Twilio"
    assert [form["To"][-4:] for form in forms(web)] == ["2222", "3333", "2222"]
    tell(*alert(number=8))
    assert len(web.asked) == 5
