"""The versions of the configuration at a terminal, eighty columns wide. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_WIDE: Final = 80
_SHOWN: Final = 4


def version_lines(versions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Each version: number, when, author; then its outcome, and the first of what changed with it."""
    for one in versions:
        origin = f" ({one['origin']})" if one["origin"] else ""
        again = f", version {one['restores']} again" if one["restores"] is not None else ""
        yield from _wrapped(f"{one['version']:>4}  {one['at'][:10]} {one['at'][11:16]} UTC  {one['author']}{origin}{again}", 6)
        yield from _wrapped(f"      {one['outcome']}", 8)
        changed = one["changed"]
        for line in changed[:_SHOWN]:
            yield from _wrapped(f"      {line}", 10)
        if len(changed) > _SHOWN:
            yield f"      and {len(changed) - _SHOWN} more: winclaw config show --version {one['version']} --diff"


def roll_back_lines(number: int, would_change: list[str]) -> Iterator[str]:
    """What a person is asked about before a version is put in force again."""
    if not would_change:
        yield f"Version {number} has the same settings as what is in force."
        return
    yield f"Version {number} changes, against what is in force:"
    for line in would_change:
        yield from _wrapped(f"  {line}", 6)


def _wrapped(text: str, indent: int) -> list[str]:
    lead = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(), _WIDE - 1, initial_indent=lead, subsequent_indent=" " * indent, break_on_hyphens=False
    )
