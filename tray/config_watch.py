"""The configuration that is in force, and how it follows the user's file while the app runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from resilience import home
from resilience.config import ConfigError, read
from resilience.core import Core
from resilience.events import EventType
from resilience.repeating import Repeating
from resilience.settings import Settings, call_policies
from tray.startup import Startup, settings_in

_LOOK_S: Final = 1.0
_AT_ONCE: Final = frozenset(
    {
        "circuit_breaker", "retry", "bulkhead", "services", "agents", "degradation", "loops", "outbox", "processes", "retention",
        "detection", "self_healing", "isolation", "zones",
    }
)
"""Sections that hold at once, here and as soon as agents have heard; the others hold from the next start on."""


class ConfigWatch:
    """Looks at the file now and then; what is good in it agents are told at once, what is bad changes nothing.

    Args:
        folder: WINCLAW_HOME. startup: what the app started with.
    """

    def __init__(self, folder: Path, startup: Startup, core: Core) -> None:
        self._folder, self._core = folder, core
        self._settings, self._policy = startup.settings, policy_of(startup.settings)
        self._content = startup.content
        repeating = Repeating("config", _LOOK_S, self.look)
        self.start, self.stop = repeating.start, repeating.stop

    def policy(self) -> Mapping[str, Any]:
        """What agents are told of the settings in force."""
        return self._policy

    def look(self) -> None:
        """Takes over what has changed in the file since the last look; a file that is gone changes nothing."""
        try:
            content = read(self._folder / home.CONFIG)
        except ConfigError:
            return
        if content == self._content:
            return
        self._content = content
        try:
            settings = settings_in(self._folder, content)
        except ConfigError as refused:
            startup = Startup(self._settings, refused, "the one before is")
            self._core.configure(None, self._policy["settings_id"], startup.notice)
            problems = [str(problem) for problem in refused.problems]
            self._core.announce(EventType.CONFIG_REFUSED, "config", problems=problems, instead=startup.instead)
            return
        changed = [name for name in Settings.__struct_fields__ if getattr(settings, name) != getattr(self._settings, name)]
        self._settings, self._policy = settings, policy_of(settings)
        self._core.configure(settings, self._policy["settings_id"], None)
        later = [name for name in changed if name not in _AT_ONCE]
        self._core.announce(EventType.CONFIG_CHANGED, "config", changed=changed, from_next_start=later)


def policy_of(settings: Settings) -> dict[str, Any]:
    """What agents are told of ``settings``."""
    return {
        "gates": {name: service.feature for name, service in settings.services.items()},
        "heartbeat_s": settings.agents.heartbeat_s,
        **call_policies(settings),
    }
