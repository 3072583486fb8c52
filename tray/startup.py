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
    def notice(self) -> Notice | None:
        """What the user is told, if the file was refused."""
        if self.refused is None:
            return None
        return Notice(
            name="config",
            what=f"The configuration has errors; {self.instead} in force.",
            cause=" · ".join(str(problem) for problem in self.refused.problems[:5]),
            action=f"Mend {home.CONFIG}, and look at it with: winclaw config check. It is read as soon as it is saved.",
        )


def settings_at_start(folder: Path) -> Startup:
    """Reads the configuration in ``folder``, making one on the first run; a bad one never keeps the app from starting."""
    write_default(folder / home.CONFIG)
    content: bytes | None = None
    try:
        content = read(folder / home.CONFIG)
        settings = settings_in(folder, content)
    except ConfigError as refused:
        try:
            return Startup(load(folder / LAST_GOOD), refused, "the last good one is", content)
        except ConfigError:
            return Startup(parse(""), refused, "the defaults are", content)
    remember_good(folder, content)
    return Startup(settings, content=content)


def settings_in(folder: Path, content: bytes) -> Settings:
    """The settings in ``content`` of the file in ``folder``.

    Raises:
        ConfigError: it cannot be used.
    """
    return parse(content, str(folder / home.CONFIG))


def remember_good(folder: Path, content: bytes) -> None:
    """Keeps what is in force, for the day on which the user's file cannot be used."""
    home.write_private(folder / LAST_GOOD, content.decode("utf-8-sig"))
