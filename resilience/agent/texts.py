"""Texts as WinClaw takes them: as UTF-8 can carry them, without NUL, bounded. Standard library only."""

from __future__ import annotations


def cut(text: str, limit: int) -> str:
    """``text`` as UTF-8 can carry it, without NUL, at most ``limit`` characters long."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", "\N{SYMBOL FOR NULL}")
    return clean if len(clean) <= limit else f"{clean[: limit - 30]}… ({len(clean)} characters)"


def as_name(text: str) -> str:
    """What ``text`` is called in a report or a heartbeat."""
    return cut(text, 200) or "unknown"


def checked_name(what: str, name: str, limit: int = 200) -> str:
    """``name``, if WinClaw takes it.

    Args:
        what: whose name it is, for the error's words.

    Raises:
        ValueError: it is empty or too long, or holds a NUL or what UTF-8 cannot carry.
    """
    if not 0 < len(name) <= limit:
        raise ValueError(f"{what} name has between 1 and {limit} characters")
    if cut(name, limit) != name:
        raise ValueError(f"{what} name holds no NUL and nothing that UTF-8 cannot carry; {name!r} does")
    return name
