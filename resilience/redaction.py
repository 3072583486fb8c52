"""Secrets are taken out before anything is stored, logged or sent; what people see is ``[redacted]``.

Standard library only: an agent redacts before its report touches the disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 20

_SECRET_NAMES: Final = (
    "password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "api-key", "access_key", "private_key",
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "credential", "credentials",
    "client_secret", "session_id", "sessionid", "auth", "bearer",
)  # fmt: skip
# Each under the literal that a text must hold before the pattern is worth trying.
_SHAPES: Final = {
    "sk-": r"\bsk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic and others
    "AKIA": r"\bAKIA[A-Z0-9]{16}\b",  # AWS, lasting
    "ASIA": r"\bASIA[A-Z0-9]{16}\b",  # AWS, passing
    "gh": r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    "github_pat_": r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    "xox": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
    "AIza": r"\bAIza[A-Za-z0-9_-]{30,}",  # Google
    "ya29.": r"\bya29\.[A-Za-z0-9_.-]{20,}",
    "eyJ": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # JSON web tokens
    "PRIVATE KEY": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,8000}",
}
# The same, with what stands before the secret kept.
_INTRODUCED: Final = {
    "://": r"(://[^\s/:@]{0,200}:)[^\s/@]{1,500}(?=@)",
    "bearer ": r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{6,}",
    "basic ": r"(?i)\b(basic\s+)[A-Za-z0-9._~+/=-]{6,}",
    "cookie": r"(?i)\b((?:set-)?cookie\s{0,4}:\s{0,4})[^\r\n]+",
}
# name=value, name: value, "name": "value"; whether the name is a secret's is asked of each hit.
_NAME: Final = re.compile(r"""\b([A-Za-z_][\w-]{0,80})["']?\s{0,4}[=:]\s{0,4}""")
# To its end, which an escaped quote is not; where it has none (a text that was cut off), to the end of the line.
_QUOTED: Final = r"""(?:"(?:[^"\\\n]|\\.)++"?|'(?:[^'\\\n]|\\.)++'?)"""
# A bare word, with what it introduces: ``authorization: token="…"``; or what is quoted, as text or as bytes.
_VALUE: Final = re.compile(rf"""[bBrRuU]{{0,2}}{_QUOTED}|[^\s"',;&)\]}}]{{3,}}(?:(?<==){_QUOTED})?""")
_LINE: Final = re.compile(rf"""{_QUOTED}|[^\r\n]+""")
_OPENED: Final = re.compile(r"""[^\s"',;&()\[\]{}]*+(?=[(\[{])""")
_PIECE: Final = re.compile(rf"""{_QUOTED}|[(\[{{)\]}}\n]""")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Redactor:
    """Takes secrets out of texts and structures.

    Args:
        names: further names of keys whose values are secrets, whatever their case.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(_plain(name) for name in (*_SECRET_NAMES, *names))
        self._stems = tuple({name.lower() for name in (*_SECRET_NAMES, *names)})
        self._shapes = [(literal, re.compile(pattern)) for literal, pattern in _SHAPES.items()]
        self._introduced = [(literal, re.compile(pattern)) for literal, pattern in _INTRODUCED.items()]

    def text(self, text: str) -> str:
        """``text`` without secrets, without control characters that could fool a terminal or a reader, and without half
        characters (lone surrogates), which no file and no wire takes.
        """
        if not text:
            return text
        text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
        for literal, pattern in self._shapes:
            if literal in text:
                text = pattern.sub(REDACTED, text)
        folded = text.lower()
        for literal, pattern in self._introduced:
            if literal in folded:
                text = pattern.sub(rf"\1{REDACTED}", text)
        if any(name in folded for name in self._stems):
            text = self._without_pairs(text)
        return text

    def _without_pairs(self, text: str) -> str:
        parts, done = [], 0
        for name in _NAME.finditer(text):
            if name.end() > done and self.is_secret(name[1]) and (end := _end_of_secret(text, name)):
                parts += [text[done : name.end()], REDACTED]
                done = end
        return "".join([*parts, text[done:]])

    def value(self, value: Any, depth: int = 0) -> Any:
        """``value`` (as JSON knows values) without secrets; what lies deeper than 20 levels is cut off."""
        if isinstance(value, str):
            return self.text(value)
        if depth >= MAX_DEPTH and isinstance(value, (Mapping, list, tuple)):
            return "[too deep]"
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): REDACTED if self.is_secret(str(key)) and item else self.value(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item, depth + 1) for item in value]
        return value

    def is_secret(self, name: str) -> bool:
        """Whether a value under ``name`` is a secret: the name itself, or its last word (``OPENAI_API_KEY``)."""
        plain = _plain(name)
        return plain in self._names or any(plain.endswith(secret) for secret in self._names if len(secret) > 4)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _end_of_secret(text: str, name: re.Match[str]) -> int | None:
    """Where the value ends that stands behind ``name``; None if there is none to hide."""
    start = name.end()
    if text.startswith(REDACTED, start):
        return None
    if _plain(name[1]).endswith("authorization"):  # a scheme, and then whatever it takes
        line = _LINE.match(text, start)
        return line and line.end()
    if opened := _OPENED.match(text, start):  # ``['…', '…']``, ``Key('…')``
        end = _end_of_group(text, opened.end())
        return end if end > start + 2 else None  # what is empty hides nothing
    value = _VALUE.match(text, start)
    return value and value.end()


def _end_of_group(text: str, start: int) -> int:
    """Where the bracket at ``start`` is closed, or the line ends in which it is not."""
    depth = 0
    for piece in _PIECE.finditer(text, start):
        if piece[0] in "([{":
            depth += 1
        elif piece[0] == "\n":
            return piece.start()
        elif piece[0] in ")]}":
            depth -= 1
            if depth == 0:
                return piece.end()
    return len(text)
