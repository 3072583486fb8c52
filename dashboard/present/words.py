"""Words, colours and shapes that all pages share. A shape tells the same as its colour, without it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from resilience.degradation.levels import DegradationLevel

# (tone, shape, what it means): a tone is a colour, and the shape tells the same without it.
LEVELS: Final = {
    DegradationLevel.FULL: ("ok", "dot", "Everything is allowed."),
    DegradationLevel.DEGRADED_LLM: ("warn", "tri", "Without GPT-5.2; the local model and the core loops go on."),
    DegradationLevel.LIMITED_EXTERNAL: ("warn", "diamond", "Local work, code and shell; no network, mail, phone or browser."),
    DegradationLevel.MINIMAL: ("bad", "sq", "Only the core loop and the shell."),
    DegradationLevel.SAFE_MODE: ("safe", "shield", "Only reading."),
}
SEVERITIES: Final = {
    "DEBUG": ("off", "dash"), "INFO": ("info", "ring"), "WARNING": ("warn", "tri"), "ERROR": ("bad", "sq"),
    "CRITICAL": ("bad", "oct"), "FATAL": ("bad", "cross"),
}  # fmt: skip
SHAPES: Final = {"ok": "dot", "warn": "tri", "bad": "sq", "safe": "shield", "info": "ring", "off": "dash"}
"""The shape of each tone; severities and levels tell more apart."""


def when(at: str, now: datetime) -> str:
    """An ISO 8601 moment in UTC, for pages without scripts: ``14:07:31 UTC``, with the date if it is not today's."""
    today = at[:10] == f"{now.astimezone(UTC):%Y-%m-%d}"
    return f"{at[11:19]} UTC" if today else f"{at[:10]} {at[11:16]} UTC"


def level_title(name: str) -> str:
    """``DEGRADED_LLM`` as people read it; a name that is no level stays."""
    return DegradationLevel[name].title if name in DegradationLevel.__members__ else name.title()


def mark(tone: str) -> tuple[str, str]:
    """A tone with its shape."""
    return tone, SHAPES[tone]


def first_line(message: str, limit: int = 160) -> str:
    """The first line of a text, cut with an ellipsis."""
    first = message.strip().partition("\n")[0]
    return first if len(first) <= limit else f"{first[: limit - 1]}…"


def ticks(text: str) -> Markup:
    """``text`` for a page, with what stands between backticks as code."""
    parts = text.split("`")
    whole = parts if len(parts) % 2 else [*parts[:-2], f"{parts[-2]}`{parts[-1]}"]
    return Markup("").join(Markup("<code>{}</code>").format(one) if at % 2 else escape(one) for at, one in enumerate(whole))


def messages(count: int) -> str:
    """How many messages wait, in words."""
    return "1 message waits" if count == 1 else f"{count} messages wait"
