"""What saves the states of a program's components (§9.2): when it is told to, now and then, and before what is critical."""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from resilience.clock import Clock, SystemClock
from resilience.exact import exact_json
from resilience.recovery.checkpoint import Checkpoint
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import CheckpointLevel

Report = Callable[[Exception, str, str], Any]
"""Told of what went wrong, unasked: the error, the component, and what was tried."""
_log = logging.getLogger("winclaw.recovery")


class _Snapshotter(NamedTuple):
    take: Callable[[], Any]
    level: CheckpointLevel


class SavedStates:
    """Saves states, and knows what those that are now stem from. Any thread may call.

    Args:
        checkpoints: where they are kept; by default in a folder ``checkpoints`` here.
        report: told of what goes wrong while nobody waits for it; by default the log is.
    """

    def __init__(
        self, checkpoints: CheckpointManager | None = None, clock: Clock | None = None, report: Report | None = None
    ) -> None:
        self.clock = clock or SystemClock()
        self.checkpoint_manager = checkpoints or CheckpointManager(clock=self.clock)
        self._report = report or _logged
        self._snapshotters: dict[str, _Snapshotter] = {}
        self._stems: dict[tuple[str, CheckpointLevel], tuple[str, bytes]] = {}  # the checkpoint, and what it holds
        self._changing = threading.RLock()

    def register_snapshotter(
        self, component: str, take: Callable[[], Any], level: CheckpointLevel = "component"
    ) -> None:
        """Has ``take()`` called for the state of ``component``: every few minutes, and before critical operations.

        Raises:
            TypeError: it is a coroutine function.
        """
        plain(take)
        with self._changing:
            self._snapshotters[component] = _Snapshotter(take, level)

    def snapshotter_of(self, component: str) -> _Snapshotter | None:
        """What gives the state of ``component``; None: nothing does."""
        with self._changing:
            return self._snapshotters.get(component)

    def save(
        self,
        state: Any,
        component: str,
        level: CheckpointLevel = "component",
        *,
        metadata: Mapping[str, Any] | None = None,
        parent: str | None = None,
    ) -> Checkpoint | None:
        """Saves ``state``; it is on disk when this returns. None: checkpoints are turned off (``checkpoint.enabled``).

        Args:
            parent: what the state stems from; by default what this process saved or restored last of it.

        Raises:
            ValueError, CheckpointError: as ``CheckpointManager.create_checkpoint``.
        """
        if not self.checkpoint_manager.policy.enabled:
            return None
        key = (component, level)
        stem = parent or self._stems.get(key, (None, b""))[0]
        saved = self.checkpoint_manager.create_checkpoint(level, component, state, metadata, parent=stem)
        self._stems[key] = (saved.id, digest(saved.state))
        return saved

    def save_all(
        self, level: CheckpointLevel | None = None, *, only: Collection[str] | None = None, **metadata: Any
    ) -> dict[str, str]:
        """Saves the state of every component that has a snapshotter; one that fails is told of, and holds up no other.

        Args:
            level: instead of each one's own, which is only saved where it has changed. only: of these components alone.

        Returns:
            By component, the id of what was saved.
        """
        with self._changing:
            chosen = {name: one for name, one in self._snapshotters.items() if only is None or name in only}
        policy, saved = self.checkpoint_manager.policy, dict[str, str]()
        for component, (take, own) in chosen.items():
            if (level or own) not in policy.levels:
                continue
            try:
                state = take()
                if level is None and self._stems.get((component, own), ("", None))[1] == digest(state):
                    continue
                made = self.save(state, component, level or own, metadata=metadata)
            except Exception as error:
                self._told(error, component, "checkpoint")
            else:
                if made is not None:
                    saved[component] = made.id
        return saved

    def _told(self, error: Exception, component: str, what: str) -> None:
        try:
            self._report(error, component, what)
        except Exception:
            _log.exception("an error of %s could not be reported", component)


def plain(function: Callable[..., Any] | None) -> None:
    if inspect.iscoroutinefunction(function):
        what = f"{getattr(function, '__qualname__', function)} is a coroutine function"
        raise TypeError(f"{what}; it is called on a thread that has no loop, so make it a plain one")


def digest(state: Any) -> bytes:
    return hashlib.sha256(exact_json(state, "state").encode()).digest()


def _logged(error: Exception, component: str, what: str) -> None:
    _log.warning("%s of %s failed: %s", what, component, error)
