"""Text that means harm, and what of a text nobody should get."""

from __future__ import annotations

from typing import Final
from unicodedata import category

import pytest

HOSTILE: Final = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)> &amp;",
    "headers": "x\r\nBcc: evil@example.com\r\nSubject: owned\r\n\r\nbody",
    "lines": "x\n\r\x0b\x0c\x1c\x85\u2028\u2029{\"level\": \"INFO\"}",
    "TwiML": "<Response><Dial>+1900</Dial></Response></Say>]]><!--",
    "a formula": "=cmd|' /C calc'!A0",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "NUL": "a\0b\0",
    "long": "long " * 2000,
    "without a space": "x" * 10_000,
    "right to left": "\u202etxt.exe\u2066\u2069\u200f\u061c",
    "invisible": "a\u200bb\ufeffc\u2060d\u00ad\U000e0041",
    "halves": "a\ud800b\udfffc\ud83d\ude00",
    "no characters": "a\ufffeb\uffffc\U0001fffe",
    "emoji": "\N{COLLISION SYMBOL} \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
    "only what goes": "\0\u202e\ud800",
    "a format": "%s %d {0} %(name)s $HOME `id`",
}  # fmt: skip
EACH: Final = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def unfit(text: str, allowed: str = "") -> set[str]:
    """What of ``text`` a person, a terminal or a wire should not get."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {char for char in text if category(char) in bad or ord(char) & 0xFFFE == 0xFFFE} - set(allowed)
