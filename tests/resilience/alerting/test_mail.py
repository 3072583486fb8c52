"""Mail, seen by a real server with STARTTLS and login: one thread for an alert, one mail for a person, and no header of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resilience.alerting.by_apprise import threaded
from resilience.alerting.channels import Channels, EmailChannel
from resilience.alerting.sending import UndeliverableError
from tests.resilience.alerting.receivers import Mails, alert, mail, mail_server, nobody, send, sender, text_of

FACTS = "\n\nCRITICAL, kitchen, 3 times since 2026-01-01 12:00:00 UTC."
THREAD = "<alert-7.1767268800@winclaw>"


@pytest.fixture
def inbox() -> Iterator[Mails]:
    with mail_server() as server:
        yield server


def test_a_mail_goes_out_over_starttls_with_login(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(mail(inbox.port, monkeypatch), "email") == "accepted by E-Mail"
    assert inbox.whom == ["ada@example.com", "bob@example.com"]
    _, message = inbox.got[0]
    assert message["Subject"] == "[WinClaw] It burns"
    assert text_of(message) == f"in the kitchen{FACTS}"


def test_what_was_seen_once_is_not_counted(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    send(mail(inbox.port, monkeypatch), "email", count=1)
    assert text_of(inbox.got[0][1]).endswith("\n\nCRITICAL, kitchen, since 2026-01-01 12:00:00 UTC.")


@pytest.mark.parametrize(("what", "text", "subject", "body"), [
    ("raised", "in the kitchen", "[WinClaw] It burns", "in the kitchen"),
    ("again", "in the kitchen", "Re: [WinClaw] It burns", "Again: in the kitchen"),
    ("summary", "9 more.", "Re: [WinClaw] It burns", "More of it: 9 more."),
    ("escalated", "Nobody has come.", "Re: [WinClaw] It burns", "Nobody has come."),
    ("resolved", "It is over.", "Re: [WinClaw] It burns", "Resolved. It is over."),
    ("test", "This is a test.", "[WinClaw] It burns", "This is a test."),
])  # fmt: skip
def test_all_mails_about_an_alert_are_one_thread(
    what: str, text: str, subject: str, body: str, inbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(mail(inbox.port, monkeypatch), "email", what, text)
    for _, message in inbox.got:
        assert (message["Subject"], message["References"], message["In-Reply-To"]) == (subject, THREAD, THREAD)
        assert text_of(message) == f"{body}{FACTS}"
    assert len({message["Message-ID"] for _, message in inbox.got}) == 2


def test_another_alert_is_another_thread_and_a_digest_is_none(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    by_mail = sender(mail(inbox.port, monkeypatch), "email")
    by_mail(*alert(number=8))
    by_mail(*alert("digest", "FATAL one\nERROR two", number=9, title="2 alerts, the worst: one"))
    (_, first), _, (_, digest), _ = inbox.got
    assert first["References"] == "<alert-8.1767268800@winclaw>"
    assert (digest["References"], digest["In-Reply-To"]) == (None, None)
    assert (digest["Subject"], text_of(digest)) == ("[WinClaw] 2 alerts, the worst: one", "FATAL one\nERROR two")


def test_a_title_that_is_cut_is_cut_in_the_same_place_in_all_mails(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    for what in ("raised", "resolved"):
        send(mail(inbox.port, monkeypatch), "email", what, title="word " * 100)
    (_, first), _, (_, last), _ = inbox.got
    assert last["Subject"] == f"Re: {first['Subject']}"
    assert len(first["Subject"]) <= 200


def test_only_mailto_addresses_get_headers() -> None:
    assert threaded("sendgrid://key:me@example.com", *alert()) == "sendgrid://key:me@example.com"
    assert threaded("MAILTOS://example.com", *alert()).startswith("MAILTOS://example.com?+References=%3Calert-7.")


def test_a_header_of_the_account_is_sent_too(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    send(mail(inbox.port, monkeypatch, more="&+X-Own=mine"), "email")
    assert [(message["X-Own"], message["References"]) for _, message in inbox.got] == [("mine", THREAD)] * 2


@pytest.mark.parametrize("field", ["title", "message", "component"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "%0d%0a", "=0D=0A"])
def test_no_text_becomes_a_header(field: str, end: str, inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one mail, all headers are known, each once."""
    send(mail(inbox.port, monkeypatch), "email", **{field: f"x{end}Bcc: evil@example.com{end}Subject: owned{end}{end}<b>body"})
    assert inbox.whom == ["ada@example.com", "bob@example.com"]
    for _, message in inbox.got:
        assert sorted(name.lower() for name in message) == [
            "content-transfer-encoding", "content-type", "date", "from", "in-reply-to", "message-id", "mime-version",
            "references", "subject", "to", "x-application",
        ]  # fmt: skip
        assert message["Subject"].startswith("[WinClaw] ")


def test_a_wrong_password_is_final_and_said_without_it(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UndeliverableError, match=r"535.*credentials invalid") as refused:
        send(mail(inbox.port, monkeypatch, "opensesame"), "email")
    assert "opensesame" not in str(refused.value)
    assert inbox.got == []


@pytest.mark.parametrize(("where", "reply", "error"), [
    ("ada@example.com", "450 try later", ConnectionError),
    ("ada@example.com", "550 nobody here", UndeliverableError),
    ("DATA", "451 try later", ConnectionError),
    ("DATA", "552 your password hunter2 is too long", UndeliverableError),
])  # fmt: skip
def test_a_mail_server_refuses_for_good_or_for_now(
    where: str, reply: str, error: type[Exception], inbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.replies[where] = reply
    with pytest.raises(error, match=reply[:3]) as refused:
        send(mail(inbox.port, monkeypatch), "email")
    assert "hunter2" not in str(refused.value)


def test_who_has_the_mail_does_not_get_it_again_because_another_has_not(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.replies["ada@example.com"] = "450 try later"
    by_mail, message = sender(mail(inbox.port, monkeypatch), "email"), alert()
    for _ in range(2):
        with pytest.raises(ConnectionError, match="450"):
            by_mail(*message)
    assert inbox.whom == ["bob@example.com"]
    inbox.replies.clear()
    assert by_mail(*message) == "accepted by E-Mail"
    assert inbox.whom == ["ada@example.com", "bob@example.com"]


def test_whom_the_server_does_not_know_keeps_nobody_else_from_being_told(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.replies["ada@example.com"] = "550 nobody here"
    with pytest.raises(UndeliverableError, match=r"some were told, others not: .*550"):
        send(mail(inbox.port, monkeypatch), "email")
    assert inbox.whom == ["bob@example.com"]


def test_who_gets_a_copy_and_is_not_known_is_no_reason_to_send_it_again(inbox: Mails, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.replies["carl@example.com"] = "550 nobody here"
    with pytest.raises(UndeliverableError, match=r"carl@example\.com was refused: 550"):
        send(mail(inbox.port, monkeypatch, more="&cc=carl@example.com"), "email")
    assert inbox.whom == ["ada@example.com", "bob@example.com"]


def test_a_mail_server_that_is_down_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody() as port, pytest.raises(ConnectionError, match="refused"):
        send(mail(port, monkeypatch), "email")


def test_a_channel_without_an_account_says_which_setting_is_missing() -> None:
    channels = Channels(email=EmailChannel(enabled=True, recipients=("ada@example.com",)))
    with pytest.raises(UndeliverableError, match=r"alerting\.channels\.email\.url"):
        send(channels, "email")
