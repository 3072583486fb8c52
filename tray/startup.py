"""What the app starts with: the configuration as it stands, or the last good one, or the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resilience import home
from resilience.config import ConfigError, load, parse, read, write_default
from resilience.core import Notice
from resilience.settings import Settings

LAST_GOOD: Final = "error_handling_config.last-good.yaml"


@dataclass(frozen=True, slots=True)
class Startup:
    """The settings in force; ``refused`` is why they are not those of the user's file."""

    settings: Settings
    refused: ConfigError | None = None
    instead: str = ""

    @property
    def notice(self) -> Notice | None:
        """What the user is told, if the file was refused."""
        if self.refused is None:
            return None
        return Notice(
            name="config",
            what=f"The configuration has errors; {self.instead} in force.",
            cause=" · ".join(str(problem) for problem in self.refused.problems[:5]),
            action=f"Mend {home.CONFIG}, look at it with: winclaw config check, and start WinClaw again.",
        )


def settings_at_start(folder: Path) -> Startup:
    """Reads the configuration in ``folder``, making one on the first run; a bad one never keeps the app from starting."""
    path = folder / home.CONFIG
    write_default(path)
    try:
        content = read(path)
        settings = parse(content, str(path))
    except ConfigError as refused:
        try:
            return Startup(load(folder / LAST_GOOD), refused, "the last good one is")
        except ConfigError:
            return Startup(parse(""), refused, "the defaults are")
    home.write_private(folder / LAST_GOOD, content.decode("utf-8-sig"))
    return Startup(settings)
