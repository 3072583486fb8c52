"""A core and a watch over one configuration file, for tests, which look instead of a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock
from resilience.config.version import ConfigTrouble
from resilience.core.core import Core
from resilience.core.inputs import ConfigTroubled
from resilience.events import EventType
from resilience.home import CONFIG
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor
from tray.config_taking import CHECKS, Check
from tray.config_watch import ConfigWatch, _policy_of
from tray.startup import settings_at_start

KEEPS = "error_handling: {processes: {agent: {command: [sleeper]}}}\n"
OTHER = KEEPS.replace("agent", "other")


class World:
    """A core and a watch over one file, which is looked at when the test says so."""

    def __init__(self, folder: Path, owner: Core, checks: Mapping[str, Check] = CHECKS) -> None:
        self.folder, self.core = folder, owner
        (folder / CONFIG).write_text(KEEPS, newline="\n")
        self.watch = ConfigWatch(folder, settings_at_start(folder), owner, checks=checks)
        self.watch.begin()

    def save(self, content: str, looks: int = 2) -> None:
        (self.folder / CONFIG).write_text(content, encoding="utf-8", newline="\n")
        for _ in range(looks):
            self.watch.look()

    @property
    def processes(self) -> list[str]:
        return list(self.core.state.settings.processes)

    @property
    def notices(self) -> list[str]:
        return [notice.name for notice in self.core.state.notices]

    @property
    def versions(self) -> list[tuple[int, str, str]]:
        """Number, author and outcome of each version, the newest first."""
        return [(one["version"], one["author"], one["outcome"]) for one in self.watch.listed()]

    @property
    def newest(self) -> str | None:
        return self.watch.versions.text(self.watch.listed()[0]["version"])

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        self.core.announce(EventType.APP_STARTED, "after all that was announced before").result(10)
        return [(one.type, one.body) for one in self.core.history.events(0, 100) if one.type.startswith("config.")]

    @property
    def told(self) -> bool:
        """Whether agents hear of the settings that are in force, and of no others."""
        return self.watch.policy() == _policy_of(self.core.state.settings)


def again(world: World, at: Clock | None = None, **how: Any) -> None:
    """The next WinClaw on the same home, begun as the composition root does; ``at``: by another clock."""
    clock = at or world.core.clock
    world.core.stop()
    world.core.history.close()
    startup, journal = settings_at_start(world.folder), Journal(world.folder / "journal.db", clock.now())
    notices = [startup.notice] if startup.notice is not None else []
    world.core = Core(
        journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock, settings=startup.settings, notices=notices
    )
    world.core.start()
    world.watch = ConfigWatch(world.folder, startup, world.core)
    world.watch.begin(**how)


def refuse(error: Exception) -> Callable[..., Any]:
    """What does nothing but raise ``error``."""

    def refuses(*_: object) -> Any:
        raise error

    return refuses


def beside(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*.yaml") if one.name != CONFIG)


def trouble(world: World, number: int, what: str = "it burns") -> None:
    world.core.tell(ConfigTroubled(ConfigTrouble(number, what))).result(10)
