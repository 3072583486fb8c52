"""How a configuration comes into force: asked of all parts, taken by all at once, and kept as a version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from resilience import home
from resilience.alerting.addresses import require_understood
from resilience.config.difference import changed_settings
from resilience.config.file import ConfigError, parse
from resilience.config.settings import Settings, call_policies, understood
from resilience.config.shown import redactor_of
from resilience.config.version import ConfigVersion
from resilience.config.versions import Usable, Versions, digest
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import Configuration, Noticed
from resilience.core.notices import Notice
from resilience.core.state import State, with_settings
from resilience.journal.journal import JournalError
from resilience.processes.policy import start_order
from resilience.recovery.checkpoint import CheckpointTooLargeError
from tray.startup import of_roll_back

COMMIT_S: Final = 10.0
AT_ONCE: Final = frozenset(
    {
        "circuit_breaker", "retry", "bulkhead", "services", "agents", "degradation", "loops", "outbox", "processes", "retention",
        "detection", "self_healing", "isolation", "zones", "checkpoint", "recovery", "alerting",
    }
)
"""Sections that hold at once, here and as soon as agents have heard; the others hold from the next start on."""
Check = Callable[[State, Settings], object]
CHECKS: Final[Mapping[str, Check]] = {
    "the level's rules": with_settings,
    "processes": lambda _, settings: start_order({name: one.depends_on for name, one in settings.processes.items()}),
    "agents": lambda _, settings: understood(call_policies(settings)["settings"]),
    "alerts": lambda state, settings: require_understood(settings.alerting.channels, state.settings.alerting.channels),
}
"""The parts that could refuse settings, each asked before any takes them: it raises ValueError, and says why it cannot."""
_UNKEPT: Final = "config_version"
"""The name of the notice that versions cannot be kept."""
_LONGEST_PAUSE_S: Final = 60.0
_log = logging.getLogger("winclaw.config")


class ConfigTaking:
    """Puts configurations in force, one after the other; belongs to one thread at a time.

    What is in force, the core's state says, and nothing else; so all that has changed has changed at the same moment.

    Args:
        path: the user's file, which is only named here.
        checks: what is asked before anything is in force.
    """

    def __init__(self, path: Path, versions: Versions, core: Core, checks: Mapping[str, Check] = CHECKS) -> None:
        self._path, self._versions, self._core, self._checks = path, versions, core, checks
        self._unkept: dict[int, tuple[ConfigVersion, str]] = {}
        self._again_s = self._pause_s = 0.0

    @property
    def known(self) -> tuple[int | None, Mapping[int, str]]:
        """The number of the version in force (None: none is), and what trouble followed which version."""
        known = self._core.state.config
        return (None, {}) if known is None else (known.version.number if known.holds else None, known.of_versions)

    def ask_all(self, settings: Settings) -> None:
        """Asks every part that could refuse ``settings``, before any takes them.

        Raises:
            ConfigError: one does.
        """
        for part, check in self._checks.items():
            try:
                check(self._core.state, settings)
            except ValueError as error:
                raise ConfigError.of_file(str(self._path), f"{part} cannot take it: {error}") from error

    def next_version(self, settings: Settings, text: str, author: str, origin: str, before: Settings) -> ConfigVersion:
        """What ``settings`` would be a version of, if they came into force now, after ``before``."""
        known = self._core.state.config
        return ConfigVersion(
            number=self._versions.next_number(known.highest if known is not None else 0), sha256=digest(text), author=author,
            origin=origin, changed=changed_settings(before, settings, redactor_of(before, settings)), replaces=self.known[0],
        )  # fmt: skip

    def take(
        self, settings: Settings, text: str, version: ConfigVersion, notice: Notice | None = None, before: Settings | None = None
    ) -> str:
        """Has all parts take them at once, and keeps the version; says what changed.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing; what was in force stays.
        """
        before = before or self._core.state.settings
        changed = [name for name in Settings.__struct_fields__ if getattr(settings, name) != getattr(before, name)]
        told = {
            "changed": changed, "from_next_start": [name for name in changed if name not in AT_ONCE], "version": version.number,
            "author": version.author, "origin": version.origin, "settings": list(version.changed),
        }  # fmt: skip
        if version.restores is not None:
            told |= {"replaces": version.replaces, "restores": version.restores, "because": version.because}
        is_news = changed or version.restores is not None  # else a comment was
        self._core.tell(Configuration(settings, notice, version, told if is_news else {})).result(COMMIT_S)
        self.keep(version, text)
        return f"changed with it: {', '.join(changed) or 'nothing'}"

    def restore(self, found: Usable, author: str, origin: str, because: str, *, file_sha256: str | None = None) -> str:
        """Puts an earlier version in force, as a new one.

        Args:
            file_sha256: what the user's file still says, where that was left alone; the user is told.
        """
        new = self.next_version(found.settings, found.text, author, origin, self._core.state.settings)
        new = replace(new, restores=found.version.number, because=because, file_sha256=file_sha256)
        return self.take(found.settings, found.text, new, of_roll_back(new) if file_sha256 is not None else None)

    def keep(self, version: ConfigVersion, text: str) -> None:
        """Writes a version down that is in force; where the disk takes nothing it is so all the same, and that is said."""
        try:
            self._versions.add(version, text)
        except (OSError, CheckpointTooLargeError) as error:
            if version.number not in self._unkept:
                _log.error("version %d of the configuration cannot be kept: %s", version.number, error)
                self._unkept[version.number] = (version, text)
                self._note(
                    Notice(
                        name=_UNKEPT, what="A version of the configuration cannot be kept.", cause=f"{error}.",
                        action="It is in force all the same. Free some disk space; until then nobody can roll back to it.",
                    )
                )  # fmt: skip
        else:
            if self._unkept.pop(version.number, None) is not None and not self._unkept:
                self._note(None)

    def is_kept(self, number: int | None) -> bool:
        """Whether a version of that number is on disk."""
        return any(one.version.number == number for one in self._versions.kept())

    def keep_unkept(self) -> None:
        """Tries again to write down what the disk would not take; at once, and then in ever longer pauses, up to a minute."""
        now_s = self._core.clock.monotonic()
        if not self._unkept or now_s < self._again_s:
            return
        for version, text in list(self._unkept.values()):
            self.keep(version, text)
        self._pause_s = min(max(2 * self._pause_s, 1.0), _LONGEST_PAUSE_S) if self._unkept else 0.0
        self._again_s = now_s + self._pause_s

    def usable(self, number: int) -> Usable:
        """The version of that number.

        Raises:
            LookupError: there is none, or it is damaged. ConfigError: it cannot be used any more, or a part refuses it.
        """
        version = next((one.version for one in self._versions.kept() if one.version.number == number), None)
        text = self._versions.text(number)
        if version is None or text is None:
            raise LookupError(f"there is no version {number} of the configuration, or it is damaged")
        settings = parse(text, f"version {number} of {home.CONFIG}")
        self.ask_all(settings)
        return Usable(version, text, settings)

    def earlier(self) -> int:
        """The newest version before the one in force that has other settings, and was not left because of trouble.

        Raises:
            LookupError: there is none.
        """
        number, troubles = self.known
        kept = [one.version for one in self._versions.kept()]
        left = {one.replaces for one in kept if one.restores is not None} | troubles.keys()
        unwanted = [self._core.state.settings]
        for found in self._versions.usable():
            if found.version.number in left:
                unwanted.append(found.settings)
            elif number is not None and found.version.number < number and found.settings not in unwanted:
                return found.version.number
        raise LookupError("no other configuration that was well is known")

    def _note(self, notice: Notice | None) -> None:
        with suppress(CoreBusyError, JournalError, TimeoutError):  # the disk of both: the journal's own notice says so
            self._core.tell(Noticed(_UNKEPT, notice)).result(COMMIT_S)
