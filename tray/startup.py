"""What the app starts with: the configuration as it stands, or the last good one, or the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resilience import home
from resilience.config.file import ConfigError, load, parse, read, write_default
from resilience.config.settings import Settings
from resilience.core.notices import Notice

LAST_GOOD: Final = "error_handling_config.last-good.yaml"


@dataclass(frozen=True, slots=True)
class Startup:
    """The settings in force; ``refused`` is why they are not those of the user's file, and ``content`` what stands there."""

    settings: Settings
    refused: ConfigError | None = None
    instead: str = ""
    content: bytes | None = None

    @property
    def problems(self) -> list[str]:
        """What is wrong with the user's file."""
        return [] if self.refused is None else [str(problem) for problem in self.refused.problems]

    @property
    def notice(self) -> Notice | None:
        """What the user is told, if the file was refused."""
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
    write_default(path)
    content: bytes | None = None
    try:
        content = read(path)
        settings = parse(content, str(path))
    except ConfigError as refused:
        try:
            return Startup(load(folder / LAST_GOOD), refused, "the last good one is", content)
        except ConfigError:
            return Startup(parse(""), refused, "the defaults are", content)
    remember_good(folder, content)
    return Startup(settings, content=content)


def remember_good(folder: Path, content: bytes) -> None:
    """Keeps what is in force, for the day on which the user's file cannot be used."""
    home.write_private(folder / LAST_GOOD, content.decode("utf-8-sig"))
