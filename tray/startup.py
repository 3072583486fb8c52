"""What the app starts with: the configuration as it stands, or the newest good version of it, or the defaults."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resilience import home
from resilience.config.file import ConfigError, parse, read, write_default
from resilience.config.settings import Settings
from resilience.config.version import ConfigVersion
from resilience.config.versions import Usable, Versions, digest
from resilience.core.notices import Notice

FIRST_RUN: Final = "first run"
SAVED: Final = "saved in the file"


@dataclass(frozen=True, slots=True)
class Startup:
    """What is in force: ``settings``, given by ``text``, which is ``version`` of the configuration, or (None) no version yet.

    ``refused`` is why they are not those of the user's file, and ``instead`` which they are; ``content`` is what stands there.
    ``rolled_back``: that was rolled back, and has not been saved since. ``author``: who made what is no version yet.
    """

    settings: Settings
    refused: ConfigError | None = None
    instead: str = ""
    content: bytes | None = None
    text: str | None = None
    version: ConfigVersion | None = None
    rolled_back: bool = False
    author: str = SAVED

    @property
    def problems(self) -> list[str]:
        """What is wrong with the user's file."""
        return [] if self.refused is None else [str(problem) for problem in self.refused.problems]

    @property
    def notice(self) -> Notice | None:
        """What the user is told, if what is in force is not what the file says."""
        if self.rolled_back and self.version is not None:
            return of_roll_back(self.version)
        if self.refused is None:
            return None
        return Notice(
            name="config",
            what=f"The configuration has errors; {self.instead} in force.",
            cause=" · ".join(self.problems[:5]),
            action=f"Mend {home.CONFIG}, and look at it with: winclaw config check. It is read as soon as it is saved.",
        )


def settings_at_start(folder: Path) -> Startup:
    """Reads the configuration in ``folder``, making one on the first run; a bad one never keeps the app from starting."""
    path = folder / home.CONFIG
    is_first = not path.exists()
    with contextlib.suppress(OSError):  # a full disk; then it is read as one that is missing, and the next start makes it
        write_default(path)
    return what_is_in_force(folder, author=FIRST_RUN if is_first else SAVED)


def what_is_in_force(folder: Path, *, author: str = SAVED) -> Startup:
    """What a WinClaw on ``folder`` starts with; nothing is written.

    Args:
        author: who has made the file, if that is a version yet to be.
    """
    versions, path = Versions(folder), folder / home.CONFIG
    content: bytes | None = None
    try:
        content = read(path)
        newest = _newest(versions)
        if newest is not None and newest[0].file_sha256 == digest(content):
            with contextlib.suppress(ConfigError):  # it was for another WinClaw: then what the file says has to do
                version, text = newest
                return Startup(parse(text), content=content, text=text, version=version, rolled_back=True)
        settings = parse(content, str(path))
    except ConfigError as refused:
        usable = _usable(versions)
        if usable is None:
            return Startup(parse(""), refused, "the defaults are", content)
        version, text, settings = usable
        return Startup(settings, refused, f"version {version.number} is", content, text, version)
    is_known = newest is not None and newest[0].sha256 == digest(content)
    return Startup(
        settings, content=content, text=text_of(content), version=newest[0] if newest is not None and is_known else None,
        author=author if newest is None else SAVED,
    )  # fmt: skip


def text_of(content: bytes) -> str:
    """A file that was understood, as text; nothing of it is lost."""
    return content.decode("utf-8")


def of_roll_back(version: ConfigVersion) -> Notice:
    """What the user is told while the file says something else than what was rolled back to."""
    because = f": {version.because}." if version.because else "."
    return Notice(
        name="config", what=f"The configuration was rolled back to version {version.restores}.", page="/settings",
        cause=f"Trouble followed version {version.replaces}, which is what {home.CONFIG} still says{because}",
        action="Mend the file: it is read again as soon as something in it has changed. Or: winclaw config rollback "
        f"{version.restores}, which has the file say what is in force.",
    )  # fmt: skip


def _newest(versions: Versions) -> tuple[ConfigVersion, str] | None:
    """The newest version and its text, proven."""
    with contextlib.suppress(OSError):
        for one in versions.kept():
            if (text := versions.text(one.version.number)) is not None:
                return one.version, text
    return None


def _usable(versions: Versions) -> Usable | None:
    with contextlib.suppress(OSError):
        return next(versions.usable(), None)
    return None
