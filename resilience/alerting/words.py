"""What is said of an alert: to people, as it suits the channel, and to programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from unicodedata import category

from resilience.alerting.alerts import Alert, AlertChannel, Telling

# Lengths in characters; what apprise's services take, and Twilio's text message of 1,600, is more.
TITLE: Final = 200
TEXT: Final = 4_000
_SMS_TEXT: Final = 800
_SAID_TEXT: Final = 300
_FACTS: Final = 300
REASON: Final = 500
_FIRST: Final = frozenset({"raised", "test", "digest"})
_MARKS: Final = {"again": "Again: ", "summary": "More of it: ", "resolved": "Resolved: "}
_LEADS: Final = {**_MARKS, "resolved": "Resolved. "}
INVISIBLE: Final = frozenset({"Cf", "Cs"})
"""The categories of what nobody sees: right-to-left marks and their like, halves of surrogate pairs."""
_CONTROLS: Final = frozenset({"Cc", "Zl", "Zp"})


def words(alert: Alert, telling: Telling, channel: str = "") -> tuple[str, str]:
    """Title and text for people: in one line the one, in a few the other, as it suits the channel.

    A mail's title stays the same, for the thread; its text says what it is. A call has no title, never begins as XML would,
    and is said in half a minute.
    """
    cause, is_digest = alert.cause, telling.what == "digest"
    title = f"{_MARKS.get(telling.what, '')}{cause.title}"
    if channel == AlertChannel.TWILIO_VOICE:
        said = fitted(f"WinClaw: {title}", TITLE)
        stop = "" if said.endswith((".", "!", "?")) else "."
        return "", said if is_digest else f"{said}{stop} {fitted(telling.text, _SAID_TEXT)}".rstrip()
    times = f"{alert.count} times " if alert.count > 1 else ""
    facts = "" if is_digest else f"\n\n{cause.severity.name}, {cause.component}, {times}since {alert.at:%Y-%m-%d %H:%M:%S} UTC."
    if channel != AlertChannel.EMAIL:
        most = _SMS_TEXT if channel == AlertChannel.SMS else TEXT
        return fitted(f"[WinClaw] {title}", TITLE), _paragraphs(telling.text, facts, most)
    subject = ("" if telling.what in _FIRST else "Re: ") + fitted(f"[WinClaw] {cause.title}", TITLE)
    return subject, _paragraphs(_LEADS.get(telling.what, "") + telling.text, facts, TEXT)


def _paragraphs(text: str, facts: str, most: int) -> str:
    end = visible(facts)[:_FACTS]
    return _cut(visible(text).strip(), most - len(end)) + end


def fitted(text: str, most: int) -> str:
    """``text`` on one line of ``most`` characters."""
    return _cut(" ".join(visible(text).split()), most)


def visible(text: str) -> str:
    """``text`` without what a terminal, a mail or a wire would obey or choke on, and without what nobody sees; lines stay."""
    return "".join(map(_seen, text))


def _seen(char: str) -> str:
    kind = category(char)
    if kind in INVISIBLE or ord(char) & 0xFFFE == 0xFFFE:
        return ""
    return " " if kind in _CONTROLS and char != "\n" else char


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def message(alert: Alert, telling: Telling) -> Mapping[str, Any]:
    """What another program is told."""
    cause = alert.cause
    return {
        "key": telling.key, "what": telling.what, "text": visible(telling.text), "at": telling.at.isoformat(), "alert": alert.id,
        "title": visible(cause.title), "message": visible(cause.message), "severity": cause.severity.name,
        "priority": alert.priority.name, "component": visible(cause.component), "count": alert.count,
        "since": alert.at.isoformat(),
    }  # fmt: skip
