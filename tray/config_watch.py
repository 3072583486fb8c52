"""The configuration that is in force, and how it follows the user's file while the app runs."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from resilience import home
from resilience.config.file import ConfigError, parse, read
from resilience.config.rewriting import rewrite
from resilience.config.settings import Settings, call_policies
from resilience.config.shown import as_shown, described, listed
from resilience.config.version import ConfigTrouble, ConfigVersion, has_crashed
from resilience.config.versions import Versions, digest
from resilience.core.core import Core
from resilience.core.inputs import ConfigTroubled, Configuration
from resilience.events import EventType
from resilience.repeating import Repeating
from tray.config_explaining import ConfigExplaining
from tray.config_taking import CHECKS, COMMIT_S, Check, ConfigTaking
from tray.startup import FIRST_RUN, SAVED, Startup, of_roll_back, text_of

_LOOK_S: Final = 1.0
_SAVING_S: Final = 0.1
"""Who saves a file may have emptied it, and be about to write it; so long at most."""


class ConfigWatch:
    """Looks at the file now and then; what is good in it agents are told at once, what is bad changes nothing.

    Each configuration that was accepted is a version, with author and differences, and can be rolled back to.

    Args:
        folder: WINCLAW_HOME. startup: what the app started with.
        checks: what is asked before anything is in force.
    """

    def __init__(self, folder: Path, startup: Startup, core: Core, *, checks: Mapping[str, Check] = CHECKS) -> None:
        self.versions = Versions(folder, core.clock)
        self._path, self._startup, self._core = folder / home.CONFIG, startup, core
        self._taking = ConfigTaking(self._path, self.versions, core, checks)
        self._content = self._seen = startup.content
        self._expected: dict[str, dict[str, Any]] = {}
        self._policy: tuple[Settings, dict[str, Any]] = (startup.settings, _policy_of(startup.settings))
        self._explaining = ConfigExplaining(self._path, self.versions, core, startup.settings, self._taking.ask_all)
        self._looking = threading.RLock()
        repeating = Repeating("config", _LOOK_S, self.look)
        self.start, self.stop = repeating.start, repeating.stop

    def policy(self) -> Mapping[str, Any]:
        """What agents are told of the settings in force."""
        settings = self._core.state.settings
        if settings is not self._policy[0]:
            self._policy = (settings, _policy_of(settings))
        return self._policy[1]

    # At the start.

    def begin(self, *, crashed: bool = False, away_s: float | None = None) -> None:
        """Has the core know which version is in force; what was saved while WinClaw was away is a new one.

        Args:
            crashed: whether the WinClaw before this one did. away_s: for how long there was none.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing.
        """
        known = self._core.state.config
        with self._looking:
            self._settle(known.version if known is not None and known.holds else None)
        now, at = self._core.state.config, self._core.clock.now()
        if crashed and now is not None and known is not None and now.blamed == known.blamed:
            crashed_at = at - timedelta(seconds=away_s or 0.0)
            if what := has_crashed(now, crashed_at, self._core.state.settings.recovery.config_trouble_within_s):
                self._core.tell(ConfigTroubled(ConfigTrouble(now.blamed.number, what, at))).result(COMMIT_S)

    def _settle(self, known: ConfigVersion | None) -> None:
        """Brings together what the file says, what is kept, and what the journal knows of (``known``)."""
        startup = self._startup
        if startup.text is None:  # the defaults are in force, for want of anything else
            self._core.tell(Configuration(startup.settings, startup.notice, is_no_version=True)).result(COMMIT_S)
            return
        if known is not None and self._must_be_restored(known):
            return
        version = startup.version
        if version is not None:
            if startup.refused is not None:  # for want of a better one, and no change that trouble could follow
                version = replace(version, changed=())
            if known is None or (known.number, known.sha256) != (version.number, version.sha256):
                self._core.tell(Configuration(startup.settings, startup.notice, version)).result(COMMIT_S)
        elif known is not None and known.sha256 == digest(startup.text):
            self._taking.keep(known, startup.text)  # killed before it could
        else:
            before = next(self.versions.usable(), None)
            settings = before.settings if before is not None else startup.settings
            origin = "" if startup.author == FIRST_RUN else f"{_owner(self._path)}, while WinClaw was away".removeprefix(", ")
            new = self._taking.next_version(startup.settings, startup.text, startup.author, origin, settings)
            if known is None and before is not None:
                new = replace(new, replaces=before.version.number)
            self._taking.take(startup.settings, startup.text, new, startup.notice, settings)

    def _must_be_restored(self, known: ConfigVersion) -> bool:
        """Whether what is in force was rolled back, by a WinClaw that was killed before it had kept that; it is, now."""
        if self._taking.is_kept(known.number) or known.restores is None or self._content is None:
            return False
        if known.file_sha256 != digest(self._content):
            return False
        text = self.versions.text(known.restores)
        try:
            settings = parse(text) if text is not None else None
        except ConfigError:
            return False
        if text is None or settings is None:
            return False
        self._core.tell(Configuration(settings, of_roll_back(known))).result(COMMIT_S)
        self._taking.keep(known, text)
        return True

    # While it runs.

    def look(self) -> None:
        """Takes over what has changed in the file; a file that is gone, or was only half written just now, changes nothing.

        Raises:
            CoreBusyError, JournalError, TimeoutError: the core takes nothing just now; the next look tries again.
        """
        with self._looking:
            self._taking.keep_unkept()
            try:
                content = read(self._path)
            except ConfigError:
                return
            seen, self._seen = self._seen, content
            if content != self._content and content == seen:  # believed when two looks see the same
                with suppress(ConfigError):  # which has been told
                    self._follow(content)

    def reload(self) -> str:
        """Reads the file again, whether it has changed or not, and puts it in force; says what changed with it.

        What was rolled back, and not saved since, stays so.

        Raises:
            ConfigError: the file cannot be read or used, or is just being saved; what was in force stays. Else as ``look``.
        """
        with self._looking:
            content, known = self._read_whole(), self._core.state.config
            if known is not None and known.holds and known.version.file_sha256 == digest(content):
                return f"version {known.version.restores} stays in force, to which it was rolled back, until the file is saved"
            changed = self._follow(content)
        return f"the file is in force; {changed}"

    def _read_whole(self) -> bytes:
        """What the file holds, unless somebody seems to be in the midst of saving it; what that will be, the looks will see."""
        content = read(self._path)
        if content == self._content:
            return content
        self._core.clock.sleep(_SAVING_S)
        if read(self._path) != content:
            raise ConfigError.of_file(str(self._path), "it is just being saved; it is read as soon as that is done")
        if not content.strip() and self._core.state.settings != Settings():
            raise ConfigError.of_file(str(self._path), "it is empty, and what is in force is not; nothing was taken from it")
        return content

    def expect(self, content: bytes, author: str, origin: str = "", **more: Any) -> None:
        """Has the version that the file makes, once it holds ``content``, be by ``author`` and not by who saves files.

        Args:
            more: what else that version has of its own.
        """
        self._expected = {digest(content): {"author": author, "origin": origin, **more}}

    def _follow(self, content: bytes) -> str:
        try:
            settings = parse(content, str(self._path))
            self._taking.ask_all(settings)
        except ConfigError as refused:
            before, self._content = self._content, content  # first, so that who sees the notice is told what is wrong
            try:
                self._refuse(refused)
            except Exception:
                self._content = before  # so that the next look tries again
                raise
            raise
        text, known = text_of(content), self._core.state.config
        is_said = known is not None and known.version.file_sha256 is None  # else the file said something else until now
        if known is not None and known.holds and is_said and known.version.sha256 == digest(text):
            self._core.tell(Configuration(settings)).result(COMMIT_S)
            if not self._taking.is_kept(known.version.number):  # the core took it after nobody had waited for that any more
                self._taking.keep(known.version, text)
            changed = "nothing changed"
        else:
            version = self._taking.next_version(settings, text, SAVED, _owner(self._path), self._core.state.settings)
            version = replace(version, **self._expected.get(digest(content), {}))
            changed = self._taking.take(settings, text, version)
            self._expected.clear()
        self._content = content
        return changed

    def _refuse(self, refused: ConfigError) -> None:
        startup = Startup(self._core.state.settings, refused, "the one before is")
        self._core.tell(Configuration(None, startup.notice)).result(COMMIT_S)
        self._core.announce(EventType.CONFIG_REFUSED, "config", problems=startup.problems, instead=startup.instead)

    # What people and healing ask for.

    def in_force(self) -> dict[str, Any]:
        """The settings in force, without secrets, which version they are (None: none), and what is not as by default."""
        return as_shown(self._core.state.settings, self._taking.known[0])

    def explained(self) -> dict[str, Any]:
        """Each setting in force: where it comes from, and what it means; see ``ConfigExplaining``."""
        return self._explaining(self._content)

    def listed(self) -> list[dict[str, Any]]:
        """Every version, the newest first."""
        return listed(self.versions, self._core.state.settings, self._core.state.config)

    def described(self, number: int, against: int | None = None) -> dict[str, Any]:
        """One version, with its text and differences, without secrets; to the one before, or to the version ``against``.

        Raises:
            LookupError: there is none of that number, or it is damaged. OSError: it cannot be read just now.
        """
        return described(self.versions, number, self._core.state.settings, self._core.state.config, against)

    def roll_back(self, number: int, *, author: str, origin: str, because: str = "") -> str:
        """Puts a version in force for a person, as a new one, and into the file; what the file said is kept beside it.

        Raises:
            LookupError: there is none of that number, or it is damaged. ConfigError: it cannot be used any more.
            OSError: the file cannot be written. What was in force stays.
            CoreBusyError, JournalError, TimeoutError: the file says it, and a look has it in force once the core takes it.
        """
        with self._looking:
            found, known = self._taking.usable(number), self._core.state.config
            kept = rewrite(self._path, found.text, self._core.clock.now())
            content = found.text.encode()
            beside = f"; what {home.CONFIG} said before is kept as {kept.name}" if kept is not None else ""
            if known is not None and known.holds and (known.version.sha256, self._content) == (found.version.sha256, content):
                return f"version {number} is in force already{beside}"
            self._content = None  # so that it is taken like a saved file, if the core takes nothing now
            self.expect(content, author, origin, restores=number, because=because)
            self._taking.restore(found, author, origin, because)
            self._expected.clear()
            self._content = self._seen = content
        return f"version {number} is in force again{beside}"

    def heal(self, asked: Mapping[str, float | str]) -> str:
        """Goes back to a version that was well, for healing; says what it did.

        Where a person has approved that (``approved_by``), as ``roll_back`` does. Else the file is not touched: the former
        settings are in force until it is saved again, also over a restart.

        Args:
            asked: ``of``: the version that is to be left. Without it, whatever is in force. ``heal``: the number of the heal.

        Raises:
            LookupError: another one is in force, or there is none to go back to. Else as ``roll_back``.
        """
        with self._looking:
            known = self._core.state.config
            if known is None or asked.get("of", known.blamed.number) != known.blamed.number:
                raise LookupError("another configuration is in force meanwhile; nothing was done")
            is_kept = self._taking.is_kept(known.before)
            back_to = known.before if "of" in asked and known.before is not None and is_kept else self._taking.earlier()
            origin, approved_by = f"heal {asked.get('heal', '')}".strip(), str(asked.get("approved_by", ""))
            if approved_by:
                return self.roll_back(back_to, author=approved_by, origin=origin, because=known.trouble)
            found = self._taking.usable(back_to)
            says = digest(self._content) if self._content is not None else ""
            changed = self._taking.restore(found, "healing", origin, known.trouble, file_sha256=says)
        return f"version {back_to} is in force again, until {home.CONFIG} is saved; {changed}"


def _policy_of(settings: Settings) -> dict[str, Any]:
    """What agents are told of ``settings``."""
    return {
        "gates": {name: service.feature for name, service in settings.services.items()},
        "heartbeat_s": settings.agents.heartbeat_s,
        **call_policies(settings),
    }


def _owner(path: Path) -> str:
    """Whose file it is, where that is known; on Windows the home is this user's alone."""
    with suppress(OSError, KeyError, NotImplementedError, ImportError):
        return getpass.getuser() if sys.platform == "win32" else path.owner()
    return ""
