"""Which of the known names somebody has meant who wrote another."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(text: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, if one of ``known`` is near enough; case does not matter."""
    by_folded = {one.casefold(): one for one in known}
    near = get_close_matches(text[:100].casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""
