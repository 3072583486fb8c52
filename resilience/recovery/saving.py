"""What saves the states of a program's components (§9.2): when it is told to, now and then, and before what is critical."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from resilience.clock import Clock, SystemClock
from resilience.exact import exact_json
from resilience.recovery.checkpoint import Checkpoint, CheckpointHead, with_state
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.critical import Before
from resilience.recovery.policy import LEVELS, CheckpointLevel
from resilience.wrapping import is_async, name_of

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
        self._critical: dict[str, set[Before]] = {}
        self._unknown: set[str] = set()
        self._changing = threading.RLock()

    def register_snapshotter(
        self, component: str, take: Callable[[], Any], level: CheckpointLevel = "component"
    ) -> None:
        """Has ``take()`` called for the state of ``component``: every few minutes, and before critical operations.

        Raises:
            TypeError: it is a coroutine function. ValueError: there is no such level.
        """
        plain(take)
        if level not in LEVELS:
            raise ValueError(f"there is no level {level!r} of checkpoints; there are {', '.join(LEVELS)}")
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
        body = exact_json(state, "state")
        return with_state(self._save(body, component, level, metadata, parent), body)

    def _save(
        self, state: str, component: str, level: CheckpointLevel, metadata: Mapping[str, Any] | None, parent: str | None = None
    ) -> CheckpointHead:
        key = (component, level)
        stem = parent or self._stems.get(key, (None, b""))[0]
        saved = self.checkpoint_manager.save_json(level, component, state, metadata, parent=stem)
        self._stems[key] = (saved.id, digest(state))
        return saved

    def save_all(self, **metadata: Any) -> dict[str, str]:
        """Saves the state of every component that has a snapshotter, at its level, where it has changed.

        One that fails is told of, and holds up no other.

        Returns:
            By component, the id of what was saved.
        """
        with self._changing:
            chosen = dict(self._snapshotters)
        policy, saved = self.checkpoint_manager.policy, dict[str, str]()
        for component, (take, level) in chosen.items():
            if not policy.enabled or level not in policy.levels:
                continue
            try:
                state = exact_json(settled(take()), "state")
                if not self._is_saved(component, level, digest(state)):
                    saved[component] = self._save(state, component, level, metadata).id
            except Exception as error:
                self._told(error, component, "checkpoint")
        return saved

    def _is_saved(self, component: str, level: CheckpointLevel, wanted: bytes) -> bool:
        """Whether the last checkpoint of it holds just that, and is there, and whole."""
        known = self._stems.get((component, level))
        return known is not None and known[1] == wanted and self.checkpoint_manager.is_whole(known[0])

    # Critical calls: nothing here may keep one from being made, or hide its error.

    def before(
        self, components: Collection[str] | None, operation: str, state: Callable[[], Any] | None = None, *, begins: bool = True
    ) -> Before:
        """Takes what a critical call might spoil, as it is now, in the caller's thread; never raises.

        Args:
            components: of these; None: of all that have a snapshotter. state: gives it, for the one component that is named.
            begins: whether the call begins now; else it may have to wait for its turn, is in nobody's way yet, and of what
                others are changing nothing is taken.
        """
        before, policy = Before(operation), self.checkpoint_manager.policy
        if not policy.enabled or "operation" not in policy.levels:
            return before
        with self._changing:
            takes = {name: one.take for name, one in self._snapshotters.items() if components is None or name in components}
        if state is not None and components:
            takes = dict.fromkeys(components, state)
        if not begins:  # what another call is changing is half done
            takes = {name: take for name, take in takes.items() if name not in self._critical}
        else:  # first, so that what another one changes while states are taken is not taken for this one's
            self._complain_of(set(components or ()) - set(takes), operation)
            self._begin(before, takes)
        for component, take in takes.items():
            try:
                before.states[component] = exact_json(settled(take()), "state")
            except Exception as error:
                if begins:
                    self._told(error, component, "checkpoint")
        return before

    def _begin(self, before: Before, components: Collection[str]) -> None:
        with self._changing:
            for component in components:
                others = self._critical.setdefault(component, set())
                for other in others:
                    other.shared.add(component)
                before.shared |= {component} if others else set()
                others.add(before)

    def _complain_of(self, unknown: set[str], operation: str) -> None:
        """Says once of each that nothing gives its state."""
        for component in unknown - self._unknown:
            self._unknown.add(component)
            said = f"{operation} is critical for {component}, and nothing gives its state; register a snapshotter for it"
            self._told(LookupError(said), component, "checkpoint")

    def keep(self, before: Before, operation_id: str | None = None) -> None:
        """Has that on disk, at the level ``operation``, for the case that this process dies; never raises."""
        metadata = {"operation": before.operation, **({"operation_id": operation_id} if operation_id is not None else {})}
        for component, state in before.states.items():
            try:
                before.saved[component] = self._save(state, component, "operation", metadata).id
            except Exception as error:
                self._told(error, component, "checkpoint")

    def over(self, before: Before) -> None:
        """The critical call has ended."""
        with self._changing:
            for component, others in [*self._critical.items()]:
                others.discard(before)
                if not others:
                    del self._critical[component]

    def _told(self, error: Exception, component: str, what: str) -> None:
        try:
            self._report(error, component, what)
        except Exception:
            _log.exception("an error of %s could not be reported", component)


def plain(function: Callable[..., Any] | None) -> None:
    """Sees that a function can be called on any thread.

    Raises:
        TypeError: it is a coroutine function.
    """
    if function is not None and is_async(function):
        said = "is a coroutine function; it is called on a thread that has no loop, so make it a plain one"
        raise TypeError(f"{name_of(function)} {said}")


def settled(result: Any) -> Any:
    """What a plain function gives.

    Raises:
        TypeError: it is to be awaited, which nobody can do here.
    """
    if hasattr(result, "__await__"):
        if hasattr(result, "close"):
            result.close()
        raise TypeError("it gives something to be awaited; make it a plain function")
    return result


def digest(state: str) -> bytes:
    """Names a state, as exact JSON, by what it is."""
    return hashlib.sha256(state.encode()).digest()


def _logged(error: Exception, component: str, what: str) -> None:
    _log.warning("%s of %s failed: %s", what, component, error)
