"""The configuration in force, setting by setting, and what is wrong with the user's file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import to_builtins

from resilience.config.explained import explained
from resilience.config.file import ConfigError, ConfigProblem, parse
from resilience.config.settings import Settings
from resilience.config.shown import redactor_of
from resilience.config.versions import Versions, digest
from resilience.core.core import Core
from tray.config_taking import AT_ONCE
from tray.startup import text_of

_LATER: Final = frozenset(Settings.__struct_fields__) - AT_ONCE


class ConfigExplaining:
    """Explains what is in force.

    Args:
        path: the user's file, which is only named here. started: what was in force when WinClaw started.
        ask_all: raises ConfigError where a part of WinClaw refuses settings.
    """

    def __init__(
        self, path: Path, versions: Versions, core: Core, started: Settings, ask_all: Callable[[Settings], None]
    ) -> None:
        self._path, self._versions, self._core, self._started, self._ask_all = path, versions, core, started, ask_all
        self._known: tuple[Settings, str, list[dict[str, Any]]] | None = None

    def __call__(self, content: bytes | None) -> dict[str, Any]:
        """Each setting in force with its default, source and meaning, and what is wrong with the file, if something is.

        ``version`` is the version whose text the lines are of, where that is not the file's; None: they are the file's.

        Args:
            content: what the file held when it was seen last.
        """
        settings, (text, number) = self._core.state.settings, self._text(content)
        known = self._known
        if known is None or known[0] is not settings or known[1] != text:
            rows = explained(settings, text, redactor_of(settings), os.environ, self._started, _LATER)
            known = self._known = settings, text, [to_builtins(one) for one in rows]
        problems = self._problems(content) if content is not None and (number is not None or not text) else ()
        return {
            "file": str(self._path), "version": number, "each": known[2], "problems": [to_builtins(one) for one in problems],
        }  # fmt: skip

    def _text(self, content: bytes | None) -> tuple[str, int | None]:
        """The text of what is in force, and of which version it is, if the file says something else; empty: the defaults are."""
        known = self._core.state.config
        if known is None or not known.holds:
            return "", None
        if content is not None and digest(content) == known.version.sha256:
            return text_of(content), None
        with suppress(OSError):
            return self._versions.text(known.version.number) or "", known.version.number
        return "", known.version.number

    def _problems(self, content: bytes) -> tuple[ConfigProblem, ...]:
        try:
            self._ask_all(parse(content, str(self._path)))
        except ConfigError as refused:
            return refused.problems
        return ()
