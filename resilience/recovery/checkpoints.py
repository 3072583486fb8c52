"""Checkpoints on disk (§9.2): a folder a component, one in it a level, a file a checkpoint. msgspec and the standard library.

Any number of threads and processes may save and load there: each file has a name of its own, and appears whole.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from resilience import home
from resilience.clock import Clock, SystemClock
from resilience.exact import exact_json
from resilience.recovery.checkpoint import (
    HEAD_BYTES,
    Checkpoint,
    CheckpointDamagedError,
    CheckpointError,
    CheckpointHead,
    decoded,
    encoded,
    head_of,
    proven,
    with_state,
)
from resilience.recovery.policy import LEVELS, Checkpointing, CheckpointLevel

_ENDING: Final = ".checkpoint"
_DAMAGED: Final = ".damaged"
_ID: Final = re.compile(r"chk_(\d{8,15})_[0-9a-f]{16}", re.ASCII)
_MOST_COMPONENTS: Final = 1_000
_MOST_DAMAGED: Final = 5
_BEFORE_IT: Final = "; the one before it is used"
_MAX_NAME: Final = 200
_LEFT_AFTER_S: Final = 600.0
_MOST_HEADS: Final = 4_096
"""In so much of a file most heads stand."""
_Head = TypeVar("_Head", bound=CheckpointHead)


class CheckpointManager:
    """Saves states, and finds them again (§9.2). Any thread may call.

    Args:
        folder: where they lie; made when the first is saved, for this user alone.
        policy: how many are kept, and how large each may be; ``policy`` may be replaced at any time.
        damaged: told of each that proves damaged; such a file is kept under another name. It may be replaced, too.
    """

    def __init__(
        self,
        folder: Path | str = home.CHECKPOINTS,
        policy: Checkpointing | None = None,
        clock: Clock | None = None,
        damaged: Callable[[CheckpointDamagedError], Any] = lambda _: None,
    ) -> None:
        self.folder, self.policy = Path(folder), policy or Checkpointing()
        self._clock, self.damaged = clock or SystemClock(), damaged

    def create_checkpoint(
        self,
        level: CheckpointLevel,
        component: str,
        state: Any,
        metadata: Mapping[str, Any] | None = None,
        *,
        parent: str | None = None,
    ) -> Checkpoint:
        """Saves ``state``; it is on disk when this returns, and the oldest of its component and level make room.

        Args:
            component: what it is of. state, metadata: what JSON can hold exactly.
            parent: the id of the checkpoint that the state stems from, if any.

        Raises:
            ValueError: there is no such level, the name is unfit, JSON cannot hold it, or it is too large; it says which.
            CheckpointError: the disk takes nothing, or there are too many components.
        """
        body = exact_json(state, "state")
        return with_state(self.save_json(level, component, body, metadata, parent=parent), body)

    def save_json(
        self,
        level: CheckpointLevel,
        component: str,
        state: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        parent: str | None = None,
    ) -> CheckpointHead:
        """The same of a state that is exact JSON already (``exact_json``); gives what is known of the checkpoint without it."""
        folder = self._folder(component, level)
        places = [folder.parent / one for one in LEVELS]  # one row of numbers for all levels: it says which came later
        number = max((number for place in places for number, _ in _files(place)), default=0) + 1
        head = CheckpointHead(
            id=f"chk_{number:08d}_{secrets.token_hex(8)}", at=self._clock.now(), level=level, component=component,
            metadata=dict(metadata or {}), parent_checkpoint=parent,
        )  # fmt: skip
        saved, content = encoded(head, state, self.policy.max_state_mb * 1_000_000)
        path = folder / f"{saved.id}{_ENDING}"
        try:
            self._make(folder)
            home.write_private(path, content)
            if path.read_bytes() != content:
                raise CheckpointError(f"{path} does not hold what was written to it")
        except OSError as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"no checkpoint of {component} can be saved in {self.folder}: {error}") from error
        self._prune(folder, saved.id)
        return saved

    def load_checkpoint(self, checkpoint_id: str) -> Checkpoint | None:
        """The checkpoint of that id; None if there is none.

        Raises:
            CheckpointDamagedError: it is damaged; its file is kept under another name. CheckpointError: it cannot be read.
        """
        path = self._path_of(checkpoint_id)
        return None if path is None else self._load(path)

    def is_whole(self, checkpoint_id: str) -> bool:
        """Whether there is a checkpoint of that id, with every byte as it was written; a damaged one is set aside, and told of.

        Raises:
            CheckpointError: it cannot be read.
        """
        path = self._path_of(checkpoint_id)
        try:
            return path is not None and self._read(path, proven) is not None
        except CheckpointDamagedError:
            return False

    def get_latest_checkpoint(
        self,
        component: str | None = None,
        level: CheckpointLevel | None = None,
        *,
        is_wanted: Callable[[CheckpointHead], bool] = lambda _: True,
    ) -> Checkpoint | None:
        """The newest good one of a component, of a level, or of all; damaged ones are skipped, and told of.

        Raises:
            ValueError: there is no such level. CheckpointError: one cannot be read, though it may be good.
        """
        for head, path in self._found(component, level):
            with contextlib.suppress(CheckpointDamagedError):
                if is_wanted(head) and (found := self._load(path, _BEFORE_IT)) is not None:
                    return found
        return None

    def checkpoints(self, component: str | None = None, level: CheckpointLevel | None = None) -> list[CheckpointHead]:
        """What is saved, the newest first: those of a component, of a level, or all. Unproven; loading proves.

        Raises:
            ValueError: there is no such level.
        """
        return [head for head, _ in self._found(component, level)]

    def _found(self, component: str | None, level: CheckpointLevel | None) -> list[tuple[CheckpointHead, Path]]:
        found: list[tuple[Any, CheckpointHead, Path]] = []
        for folder in self._folders(component, level):
            for number, path in _files(folder):
                try:
                    head = _own(_head(path), path)
                except CheckpointDamagedError as error:
                    self._set_aside(path, error, _BEFORE_IT)
                except OSError:  # it has just gone
                    continue
                else:
                    found.append((number if component is not None else (head.at, number), head, path))  # they know of no clock
        return [(head, path) for _, head, path in sorted(found, key=itemgetter(0), reverse=True)]

    def _load(self, path: Path, then: str = "") -> Checkpoint | None:
        return self._read(path, decoded, then)

    def _read(self, path: Path, read: Callable[[bytes], _Head], then: str = "") -> _Head | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # it has just made room
            return None
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        try:
            return _own(read(content), path)
        except CheckpointDamagedError as error:
            raise self._set_aside(path, error, then) from error

    def _set_aside(self, path: Path, error: CheckpointDamagedError, then: str) -> CheckpointDamagedError:
        """Gives a damaged file another name, and tells of it, and what is done ``then``."""
        told = CheckpointDamagedError(f"the checkpoint {path} is damaged: {error}{then}")
        with contextlib.suppress(OSError):  # on Windows, while somebody reads it
            path.replace(path.with_suffix(_DAMAGED))
            old = sorted(path.parent.glob(f"*{_DAMAGED}"))[:-_MOST_DAMAGED]
            for one in old:
                one.unlink(missing_ok=True)
        self.damaged(told)
        return told

    def _path_of(self, checkpoint_id: str) -> Path | None:
        if not _ID.fullmatch(checkpoint_id):
            return None
        return next(self.folder.glob(f"*/*/{checkpoint_id}{_ENDING}"), None)

    def _folder(self, component: str, level: str) -> Path:
        if level not in LEVELS:
            raise ValueError(f"there is no level {level!r} of checkpoints; there are {', '.join(LEVELS)}")
        if not isinstance(component, str) or not 1 <= len(component) <= _MAX_NAME:
            raise ValueError(f"a component is a text of 1 to {_MAX_NAME} characters, not {str(component)[:40]!r}")
        try:
            component.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the component {component!r} holds half a character (a lone surrogate), which is no text") from None
        return self._home_of(component) / level

    def _folders(self, component: str | None, level: CheckpointLevel | None) -> Iterator[Path]:
        if level is not None and level not in LEVELS:
            raise ValueError(f"there is no level {level!r} of checkpoints; there are {', '.join(LEVELS)}")
        levels = LEVELS if level is None else (level,)
        try:
            components = [*self.folder.iterdir()] if component is None else [self._home_of(component)]
        except OSError:
            return
        for one in components:
            yield from (one / name for name in levels)

    def _home_of(self, component: str) -> Path:
        return self.folder / home.file_name(component, "component")

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        home.make_private_folder(self.folder)
        if not folder.parent.is_dir() and len(known := [*self.folder.iterdir()]) >= _MOST_COMPONENTS:
            self._make_room(known)
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, exist_ok=True)

    def _make_room(self, known: list[Path]) -> None:
        """Deletes the session that nobody has saved for longest; of what else there is, none makes room for another."""
        sessions = [one for one in known if [place.name for place in one.iterdir()] == ["session"]]
        if not sessions:
            said = f"there are checkpoints of {_MOST_COMPONENTS} components already, and no more are taken"
            raise CheckpointError(f"{said}; delete folders that you need no more in {self.folder}")
        shutil.rmtree(min(sessions, key=lambda one: (one / "session").stat().st_mtime))

    def _prune(self, folder: Path, newest: str) -> None:
        """Deletes the oldest, and what killed processes left; ``newest``, which has just proven good, stays."""
        files = sorted(_files(folder))
        too_many = [path for _, path in files[: max(len(files) - self.policy.max_checkpoints, 0)] if path.stem != newest]
        now_s = self._clock.now().timestamp()
        for path in (*too_many, *folder.glob(f"*{_ENDING}?*")):
            with contextlib.suppress(OSError):  # on Windows, while somebody reads it
                if path.suffix == _ENDING or now_s - path.stat().st_mtime > _LEFT_AFTER_S:
                    path.unlink()


def _head(path: Path) -> CheckpointHead:
    with path.open("rb") as file:
        beginning = file.read(_MOST_HEADS)
        return head_of(beginning if beginning.count(b"\n") > 1 else beginning + file.read(HEAD_BYTES))


def _own(found: _Head, path: Path) -> _Head:
    if found.id != path.stem:
        raise CheckpointDamagedError(f"it says that it is {found.id}")
    return found


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    """The checkpoints in a folder, each with its number."""
    try:
        paths = [*folder.iterdir()]
    except OSError:
        return
    for path in paths:
        if path.suffix == _ENDING and (found := _ID.fullmatch(path.stem)) is not None:
            yield int(found[1]), path
