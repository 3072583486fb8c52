"""Text as the fields of the Windows shell take it: one line, nothing invisible, cut to the field's length.

What agents and models write ends up here; it must neither break the shell's call nor disguise itself.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

from resilience.alerting.words import INVISIBLE

# Lengths in UTF-16 units, without the closing zero; Windows refuses more.
TIP_UNITS: Final = 127
MESSAGE_UNITS: Final = 255
TITLE_UNITS: Final = 63


def fitted(text: str, units: int) -> str:
    """``text`` on one line, without control and invisible characters; cut with an ellipsis at ``units`` UTF-16 units."""
    visible = (" " if category(char) == "Cc" else char for char in text[: 8 * units] if category(char) not in INVISIBLE)
    line = " ".join("".join(visible).split())
    kept, used = 0, 0
    for at, char in enumerate(line, 1):
        used += 2 if char > "\uffff" else 1
        if used < units:
            kept = at
    return line if used <= units else f"{line[:kept].rstrip()}…"
