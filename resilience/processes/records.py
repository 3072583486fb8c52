"""What is kept of a supervised process, so that the next WinClaw finds it: which one it is, and what people wanted."""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from resilience import home
from resilience.processes.identity import Identity

T = TypeVar("T")
RECORD: Final = "process.json"
_log = logging.getLogger("winclaw.processes")


class ProcessRecord(Struct, frozen=True, kw_only=True):
    """``identity``: of the run that was started last. ``stopped``: by a person. ``failed``: why it was given up."""

    identity: Identity | None = None
    run: int = 0
    stopped: bool = False
    failed: str = ""


def owner_of(folder: Path) -> str:
    """What the tokens of one WINCLAW_HOME begin with, so that two of them never touch each other's processes."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def token_for(owner: str, name: str) -> str:
    """A new token: whose, of which process, and of which run."""
    return f"{owner}:{name}:{secrets.token_hex(8)}"


def name_in(token: str) -> str:
    """The name of the process that a token was made for."""
    return token.split(":")[1] if token.count(":") == 2 else ""


def load(folder: Path) -> ProcessRecord:
    """What is kept in a process's folder."""
    return read(folder / RECORD, ProcessRecord) or ProcessRecord()


def read(path: Path, kind: type[T]) -> T | None:
    """What was written to ``path``; None if there is nothing, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("%s cannot be read, and is begun anew: %s", path, error)
        return None


def write(path: Path, what: Struct) -> None:
    """Writes ``path`` in one step, for this user alone.

    Raises:
        OSError: the disk refuses.
    """
    home.make_private_folder(path.parent)
    home.write_private(path, msgspec.json.encode(what).decode())
