"""What is kept of a supervised process, so that the next WinClaw finds it: which one it is, and what people wanted."""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from resilience import home
from resilience.processes.identity import Identity

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
    """What is kept in a process's folder; nothing known if there is none, or it cannot be read."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=ProcessRecord)
    except FileNotFoundError:
        return ProcessRecord()
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("%s cannot be read, and is begun anew: %s", folder / RECORD, error)
        return ProcessRecord()


def save(folder: Path, record: ProcessRecord) -> None:
    """Keeps ``record``, in one step.

    Raises:
        OSError: the disk refuses.
    """
    home.write_private(home.make_private_folder(folder) / RECORD, msgspec.json.encode(record).decode())
