"""The versions of the configuration on disk: a checkpoint each (§9.1), with the text of the file exactly as it was."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from resilience import home
from resilience.clock import Clock, SystemClock
from resilience.config.file import ConfigError, parse
from resilience.config.settings import Settings
from resilience.config.version import ConfigVersion
from resilience.recovery.checkpoint import CheckpointDamagedError
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing, CheckpointLevel

COMPONENT: Final = "config"
LEVEL: Final[CheckpointLevel] = "system"
KEPT: Final = 100
"""So many versions are kept, whatever the configuration says of other checkpoints."""
_log = logging.getLogger("winclaw.config")


class Kept(NamedTuple):
    """A version as it stands on disk: when it was made, and the checkpoint that it is."""

    version: ConfigVersion
    at: datetime
    checkpoint: str


class Usable(NamedTuple):
    """A version that can be in force: its text, and the settings that this gives."""

    version: ConfigVersion
    text: str
    settings: Settings


class Versions:
    """The versions in a home folder, the newest first. Any thread and process may read; who holds its lock adds.

    Args:
        folder: WINCLAW_HOME.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        policy = Checkpointing(max_checkpoints=KEPT)
        self._manager = CheckpointManager(folder / home.VERSIONS, policy, clock or SystemClock(), damaged=_tell)

    def kept(self) -> list[Kept]:
        """Every version, by what its file says of itself; one that says nothing is left out."""
        found = []
        for head in self._manager.checkpoints(COMPONENT, LEVEL):
            with contextlib.suppress(msgspec.ValidationError):
                found.append(Kept(msgspec.convert(head.metadata, ConfigVersion), head.at, head.id))
        return sorted(found, key=_number, reverse=True)  # one that the disk would not take came later

    def text(self, number: int) -> str | None:
        """The text of a version, proven; None: there is none of that number, or it is damaged.

        Raises:
            CheckpointError: it cannot be read just now.
        """
        texts = (self._text_of(one) for one in self.kept() if one.version.number == number)
        return next((text for text in texts if text is not None), None)

    def usable(self) -> Iterator[Usable]:
        """The versions that this WinClaw understands, each read only when it is asked for.

        Raises:
            CheckpointError: one cannot be read just now.
        """
        for one in self.kept():
            text = self._text_of(one)
            if text is not None:
                with contextlib.suppress(ConfigError):  # it was for another WinClaw
                    yield Usable(one.version, text, parse(text))

    def next_number(self, known: int = 0) -> int:
        """The number of the next version: above ``known``, and of all that there are."""
        return max([known, *(one.version.number for one in self.kept())]) + 1

    def add(self, version: ConfigVersion, text: str) -> None:
        """Keeps a version; it is on disk when this returns, and the oldest makes room.

        Raises:
            CheckpointError: the disk takes nothing. CheckpointTooLargeError: so much changed that no version can say it.
        """
        told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(version))
        self._manager.create_checkpoint(LEVEL, COMPONENT, {"text": text}, told)

    def _text_of(self, one: Kept) -> str | None:
        with contextlib.suppress(CheckpointDamagedError):  # which has been told
            found = self._manager.load_checkpoint(one.checkpoint)
            text = found.state.get("text") if found is not None and isinstance(found.state, dict) else None
            return text if isinstance(text, str) and digest(text) == one.version.sha256 else None
        return None


def _number(one: Kept) -> int:
    return one.version.number


def digest(text: str | bytes) -> str:
    """By which a text is known."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def _tell(damage: CheckpointDamagedError) -> None:
    _log.warning("a version of the configuration cannot be used: %s", damage)
