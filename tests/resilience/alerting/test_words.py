"""What is said of an alert, as it suits each channel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from resilience.alerting.alerts import Alert, AlertPriority, Telling
from resilience.alerting.words import fitted, message, visible, words
from tests.resilience.alerting.desk import caused
from tests.resilience.alerting.hostile import EACH, unfit

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
FACTS = "\n\nCRITICAL, kitchen, since 2026-01-01 12:00:00 UTC."


def alert(what: str = "raised", text: str = "in the kitchen", count: int = 1, **cause: Any) -> tuple[Alert, Telling]:
    one = Alert(id=7, cause=caused("CRITICAL", **cause), priority=AlertPriority.P2_HIGH, at=AT, last_at=AT, count=count)
    one = one.telling(what, text, ["email"], AT)
    return one, one.tellings[0]


@pytest.mark.parametrize(("what", "mail", "lead", "title"), [
    ("raised", "[WinClaw] It burns", "", "It burns"), ("test", "[WinClaw] It burns", "", "It burns"),
    ("again", "Re: [WinClaw] It burns", "Again: ", "Again: It burns"),
    ("summary", "Re: [WinClaw] It burns", "More of it: ", "More of it: It burns"),
    ("escalated", "Re: [WinClaw] It burns", "", "It burns"),
    ("resolved", "Re: [WinClaw] It burns", "Resolved. ", "Resolved: It burns"),
])  # fmt: skip
def test_it_says_what_it_is(what: str, mail: str, lead: str, title: str) -> None:
    """A mail in its text, for its title makes the thread; whatever else in its title."""
    told = alert(what)
    assert words(*told, "email") == (mail, f"{lead}in the kitchen{FACTS}")
    assert words(*told, "sms") == words(*told, "others.own") == words(*told) == (f"[WinClaw] {title}", f"in the kitchen{FACTS}")
    assert words(*told, "twilio_voice") == ("", f"WinClaw: {title}. in the kitchen")


@pytest.mark.parametrize(("count", "times"), [(1, ""), (2, "2 times "), (42, "42 times ")])
def test_it_says_how_often_if_more_than_once(count: int, times: str) -> None:
    assert words(*alert(count=count))[1] == f"in the kitchen\n\nCRITICAL, kitchen, {times}since 2026-01-01 12:00:00 UTC."


def test_a_digest_is_its_lines_and_aloud_its_title() -> None:
    told = alert("digest", "FATAL one\nERROR two", title="2 alerts, the worst: one")
    for channel in ("email", "sms", "others.own"):
        assert words(*told, channel) == ("[WinClaw] 2 alerts, the worst: one", "FATAL one\nERROR two")
    assert words(*told, "twilio_voice") == ("", "WinClaw: 2 alerts, the worst: one")


@pytest.mark.parametrize(("title", "heard"), [
    ("It burns.", "WinClaw: It burns. in the kitchen"), ("It burns!", "WinClaw: It burns! in the kitchen"),
    ("Is it down?", "WinClaw: Is it down? in the kitchen"), ("<Hangup/>", "WinClaw: <Hangup/>. in the kitchen"),
])  # fmt: skip
def test_sentences_of_a_call_end_once(title: str, heard: str) -> None:
    assert words(*alert(title=title), "twilio_voice") == ("", heard)


def test_a_call_without_a_text_says_the_title() -> None:
    assert words(*alert(text=""), "twilio_voice") == ("", "WinClaw: It burns.")


@pytest.mark.parametrize(("channel", "most"), [("email", 4000), ("sms", 800), ("others.own", 4000)])
def test_a_long_text_is_cut_before_what_is_known_of_it(channel: str, most: int) -> None:
    title, body = words(*alert("resolved", "x" * 10_000, title="y" * 10_000), channel)
    assert (len(title.removeprefix("Re: ")), title[-4:]) == (200, "y...")
    assert (len(body), body.endswith(f"x...{FACTS}")) == (most, True)


def test_a_long_component_leaves_room_for_the_text() -> None:
    body = words(*alert(component="z" * 10_000), "sms")[1]
    assert body == f"in the kitchen\n\nCRITICAL, {'z' * 288}"


def test_a_long_call_ends_after_half_a_minute() -> None:
    heard = words(*alert(text="x" * 10_000, title="y" * 10_000), "twilio_voice")[1]
    assert heard == f"WinClaw: {'y' * 188}... {'x' * 297}..."


def test_another_program_is_told_all_that_is_known() -> None:
    assert message(*alert("again", "it\nburns\r", 2)) == {
        "key": "7-1-email", "what": "again", "text": "it\nburns ", "at": "2026-01-01T12:00:00+00:00", "alert": 7, "title": "It burns",
        "message": "in the kitchen", "severity": "CRITICAL", "priority": "P2_HIGH", "component": "kitchen", "count": 2,
        "since": "2026-01-01T12:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize("what", ["raised", "again", "summary", "escalated", "resolved", "digest", "test"])
@pytest.mark.parametrize("channel", ["email", "sms", "twilio_voice", "other"])
@EACH
def test_whatever_it_says_there_is_a_text_and_it_begins_as_ours(what: str, channel: str, text: str) -> None:
    """Never empty, which apprise would refuse; a call never begins as XML."""
    title, body = words(*alert(what, text, title=text, component=text), channel)
    if channel == "twilio_voice":
        assert (title, body[:8]) == ("", "WinClaw:")
    else:
        assert title.removeprefix("Re: ").startswith("[WinClaw]")
        assert body.strip() or what == "digest"
    assert unfit(title + body, "\n") == set()


@pytest.mark.parametrize(("text", "most", "cut"), [
    ("abc", 3, "abc"), ("abcdefg", 6, "abc..."), ("ab cdefg", 6, "ab..."), (" a \r\n b\t", 9, "a b"), ("\u202ea\ud800", 1, "a"), ("", 5, ""),
    ("\N{COLLISION SYMBOL}" * 5, 5, "\N{COLLISION SYMBOL}" * 5),
])  # fmt: skip
def test_a_line_is_cut_to_its_length(text: str, most: int, cut: str) -> None:
    assert fitted(text, most) == cut


@pytest.mark.parametrize(("text", "seen"), [
    ("a\tb\r\nc", "a b \nc"), ("a\0\x1b\x85\u2028\u2029b", "a     b"), ("a\u202e\u200b\u00adb", "ab"), ("a\ud800\udfffb", "ab"),
    ("a\ufffe\uffff\U0010fffeb", "ab"), ("\N{COLLISION SYMBOL}\N{SNOWMAN}\N{VARIATION SELECTOR-16} ä", "\N{COLLISION SYMBOL}\N{SNOWMAN}\N{VARIATION SELECTOR-16} ä"),
])  # fmt: skip
def test_what_nobody_sees_goes_and_what_is_obeyed_is_a_space(text: str, seen: str) -> None:
    assert visible(text) == seen
