"""The user's file, written by WinClaw: only where a person asks for that, and the old one is kept beside it."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from datetime import datetime
from pathlib import Path

from resilience.home import put_new, write_private


def rewrite(path: Path, text: str, now: datetime) -> Path | None:
    """Puts ``text`` into the file ``path`` in one step; what stood there has a name of its own beside it, which is returned.

    None: nothing else stood there. A link stays one: what it leads to is written.

    Raises:
        OSError: the file stays as it is, or somebody has saved it in this very moment.
    """
    wanted, old = text.encode(), _content(path)
    if old == wanted:
        return None
    kept = _kept_beside(path, old, now) if old is not None else None
    if _content(path) != old:
        raise OSError(f"{path} has just been saved by somebody else; look at it, then try again")
    write_private(path.resolve(), wanted)
    return kept


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _kept_beside(path: Path, old: bytes, now: datetime) -> Path:
    ready = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    write_private(ready, old)
    try:
        for number in itertools.count(1):
            again = f"-{number}" if number > 1 else ""
            kept = path.with_name(f"{path.stem}.before-roll-back-{now:%Y-%m-%d-%H%M%S}{again}{path.suffix}")
            with contextlib.suppress(FileExistsError):
                put_new(ready, kept)
                return kept
    finally:
        ready.unlink(missing_ok=True)
    raise AssertionError("a count has no end")
