"""The configuration that is in force, and how it follows the user's file while the app runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from resilience import home
from resilience.config.file import ConfigError, parse, read
from resilience.config.settings import Settings, call_policies
from resilience.core.core import Core
from resilience.core.inputs import Configuration
from resilience.core.notices import Notice
from resilience.events import EventType
from resilience.repeating import Repeating
from tray.startup import Startup, remember_good

_LOOK_S: Final = 1.0
_COMMIT_S: Final = 10.0
AT_ONCE: Final = frozenset(
    {
        "circuit_breaker", "retry", "bulkhead", "services", "agents", "degradation", "loops", "outbox", "processes", "retention",
        "detection", "self_healing", "isolation", "zones", "checkpoint", "recovery",
    }
)
"""Sections that hold at once, here and as soon as agents have heard; the others hold from the next start on."""


class ConfigWatch:
    """Looks at the file now and then; what is good in it agents are told at once, what is bad changes nothing.

    What is in force, the core's state says, and nothing else; so all that has changed has changed at the same moment.

    Args:
        folder: WINCLAW_HOME. startup: what the app started with.
    """

    def __init__(self, folder: Path, startup: Startup, core: Core) -> None:
        self._folder, self._core = folder, core
        self._content = self._seen = startup.content
        self._before: Settings | None = None
        self._policy: tuple[Settings, dict[str, Any]] = (startup.settings, _policy_of(startup.settings))
        self._looking = threading.Lock()
        repeating = Repeating("config", _LOOK_S, self.look)
        self.start, self.stop = repeating.start, repeating.stop

    def policy(self) -> Mapping[str, Any]:
        """What agents are told of the settings in force."""
        settings = self._core.state.settings
        if settings is not self._policy[0]:
            self._policy = (settings, _policy_of(settings))
        return self._policy[1]

    def look(self) -> None:
        """Takes over what has changed in the file; a file that is gone, or was only half written just now, changes nothing.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing just now; the next look tries again.
        """
        try:
            content = read(self._folder / home.CONFIG)
        except ConfigError:
            return
        with self._looking:
            seen, self._seen = self._seen, content
            if content != self._content and content == seen:  # believed when two looks see the same
                with suppress(ConfigError):  # which has been told
                    self._follow(content)

    def reload(self) -> str:
        """Reads the file again, whether it has changed or not, and puts it in force; says what changed with it.

        Raises:
            ConfigError: the file cannot be read or used; what was in force stays. Else as ``look``.
        """
        with self._looking:
            changed = self._follow(read(self._folder / home.CONFIG))
        return f"the file is in force; {changed}"

    def roll_back(self) -> str:
        """Puts the settings in force that were before the present ones, until the file is saved again; it is not touched.

        Raises:
            LookupError: there have been no others since WinClaw started. Else as ``look``.
        """
        with self._looking:
            if self._before is None:
                raise LookupError("no other configuration has been in force since WinClaw started")
            notice = Notice(
                name="config", what="The configuration was rolled back.",
                cause="What the file says led to trouble; the settings before it are in force.",
                action=f"Mend {home.CONFIG}. It is read again as soon as it is saved.",
            )  # fmt: skip
            changed = self._take(self._before, notice)
        return f"the settings before are in force again; {changed}"

    def _follow(self, content: bytes) -> str:
        try:
            settings = parse(content, str(self._folder / home.CONFIG))
        except ConfigError as refused:
            self._refuse(refused)
            self._content = content
            raise
        changed = self._take(settings)
        self._content = content  # it is in force, whatever the disk says to the copy
        remember_good(self._folder, content)
        return changed

    def _refuse(self, refused: ConfigError) -> None:
        startup = Startup(self._core.state.settings, refused, "the one before is")
        self._core.tell(Configuration(None, startup.notice)).result(_COMMIT_S)
        self._core.announce(EventType.CONFIG_REFUSED, "config", problems=startup.problems, instead=startup.instead)

    def _take(self, settings: Settings, notice: Notice | None = None) -> str:
        before = self._core.state.settings
        changed = [name for name in Settings.__struct_fields__ if getattr(settings, name) != getattr(before, name)]
        self._core.tell(Configuration(settings, notice)).result(_COMMIT_S)
        if changed:  # else a comment was
            self._before = before
            later = [name for name in changed if name not in AT_ONCE]
            self._core.announce(EventType.CONFIG_CHANGED, "config", changed=changed, from_next_start=later)
        return f"changed with it: {', '.join(changed) or 'nothing'}"


def _policy_of(settings: Settings) -> dict[str, Any]:
    """What agents are told of ``settings``."""
    return {
        "gates": {name: service.feature for name, service in settings.services.items()},
        "heartbeat_s": settings.agents.heartbeat_s,
        **call_policies(settings),
    }
