"""What saves the states of a program's components, and restores them (§9.2). It works alone, without a WinClaw.

"Restored" is said only where a restorer ran and its check passed; nothing else counts as recovered.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from resilience.clock import Clock, as_text
from resilience.context import message_of
from resilience.exact import exact_json
from resilience.recovery.checkpoint import Checkpoint, CheckpointHead
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.critical import Before
from resilience.recovery.policy import CheckpointLevel
from resilience.recovery.saving import Report, SavedStates, digest, plain, settled

if TYPE_CHECKING:
    from resilience.context import ErrorContext

F = TypeVar("F", bound=Callable[..., Any])
_MOST_REMEMBERED: Final = 100
_log = logging.getLogger("winclaw.recovery")


class NotRestoredError(RuntimeError):
    """A state was not restored; the message says why."""


class _Restorer(NamedTuple):
    restore: Callable[[Any], object]
    check: Callable[[], object] | None


class RecoveryManager(SavedStates):
    """Saves states and restores them, by the functions that a program registers for its components (§9.2).

    For the arguments see ``SavedStates``.
    """

    def __init__(
        self, checkpoints: CheckpointManager | None = None, clock: Clock | None = None, report: Report | None = None
    ) -> None:
        super().__init__(checkpoints, clock, report)
        self._restorers: dict[str, _Restorer] = {}
        self.recovery_history: deque[dict[str, Any]] = deque(maxlen=_MOST_REMEMBERED)
        """What was restored, or was not, the newest last (§9.2)."""

    def register_recovery_handler(
        self, component: str, handler: Callable[[Any], object], check: Callable[[], object] | None = None
    ) -> None:
        """Has ``handler(state)`` called to restore ``component``.

        Args:
            component: a name; one that ends with ``*`` stands for all that begin so, e.g. ``session_*``.
            handler: a plain function; where it returns False, or raises, nothing was restored.
            check: asked afterwards; only if it gives something true the component counts as restored. Without it, a
                snapshotter's state must be what was restored.

        Raises:
            TypeError: one of them is a coroutine function, which nobody could await.
        """
        for function in (handler, check):
            plain(function)
        with self._changing:
            self._restorers[component] = _Restorer(handler, check)

    @property
    def restorable(self) -> tuple[str, ...]:
        """The components for which there is a restorer."""
        with self._changing:
            return tuple(self._restorers)

    # Restoring.

    def restore(
        self, component: str, level: CheckpointLevel | None = None, checkpoint_id: str | None = None
    ) -> Checkpoint:
        """Restores the newest good state of ``component``, or that of one checkpoint; returns what was restored.

        Args:
            level: of this level only; None: of any but ``operation``. checkpoint_id: this one, and no other.

        Raises:
            NotRestoredError: there is no checkpoint, no restorer, or it did not work; it says which.
            CheckpointError: the checkpoint that was asked for is damaged, or none can be read.
        """
        restorer = self._restorer_of(component)
        if checkpoint_id is not None:
            found = self.checkpoint_manager.load_checkpoint(checkpoint_id)
        else:
            found = self.checkpoint_manager.get_latest_checkpoint(
                component, level, is_wanted=lambda head: level is not None or head.level != "operation"
            )
        if found is None or found.component != component:
            which = f" {checkpoint_id}" if checkpoint_id is not None else f" of level {level}" if level else ""
            raise NotRestoredError(f"there is no checkpoint{which} of {component}")
        return self._restored(restorer, found)

    def _restorer_of(self, component: str) -> _Restorer:
        with self._changing:
            name = _named(self._restorers, component)
            if name is None:
                raise NotRestoredError(f"nothing here can restore {component}; register a restorer for it")
            return self._restorers[name]

    def _restored(self, restorer: _Restorer, found: Checkpoint) -> Checkpoint:
        component = found.component
        before = digest(exact_json(found.state, "state"))
        try:
            if settled(restorer.restore(found.state)) is False:
                raise NotRestoredError(f"the restorer of {component} says that it could not")
            self._prove(restorer, component, before)
        except Exception as error:
            self._remember(found, False, message_of(error))
            if isinstance(error, NotRestoredError):
                raise
            raise NotRestoredError(f"{component} was not restored: {type(error).__name__}: {message_of(error)}") from error
        if found.id:
            self._stems[component, found.level] = (found.id, before if self._is_newest(found) else b"")
        self._remember(found, True, "")
        return found

    def _is_newest(self, found: Checkpoint) -> bool:
        """Whether this is what the component would be restored from next; else what it holds has to be saved again for that."""
        if found.level == "operation":
            return True
        saved = (head.id for head in self.checkpoint_manager.checkpoints(found.component) if head.level != "operation")
        return next(saved, "") == found.id

    def _prove(self, restorer: _Restorer, component: str, wanted: bytes) -> None:
        if restorer.check is not None:
            if not settled(restorer.check()):
                raise NotRestoredError(f"{component} was restored, but its check did not pass")
            return
        snapshotter = self.snapshotter_of(component)
        if snapshotter is not None and digest(exact_json(settled(snapshotter.take()), "state")) != wanted:
            raise NotRestoredError(f"{component} was restored, but its state is not what was to be restored")

    # The document's methods (§9.2): whether it has worked.

    async def recover_operation(self, operation_id: str | None, error_context: ErrorContext) -> bool:
        """Restores what was saved before the operation of that id; None: before the last one of the error's component."""

        def is_of_it(head: CheckpointHead) -> bool:
            return operation_id is None or head.metadata.get("operation_id") == operation_id

        component = error_context.component
        found = self.checkpoint_manager.get_latest_checkpoint(component, "operation", is_wanted=is_of_it)
        if found is None:
            _log.warning("there is no checkpoint of %s from before the operation %s", component, operation_id)
            return False
        return self._worked(component, "operation", found.id)

    async def recover_session(self, session_id: str) -> bool:
        """Restores the newest state of the component ``session_ID`` at the level ``session``."""
        return self._worked(f"session_{session_id}", "session")

    async def recover_component(self, component: str) -> bool:
        """Restores the newest state of a component."""
        return self._worked(component)

    async def system_recovery(self) -> bool:
        """Restores every component that can be, each from its newest state; True if there were such, and all of them were.

        Neither circuits nor the level are touched: what is well again shows by itself.
        """
        saved = {head.component for head in self.checkpoint_manager.checkpoints()}
        known = self.restorable
        outcomes = [self._worked(one) for one in sorted(saved) if _named(known, one) is not None]
        return bool(outcomes) and all(outcomes)

    def _worked(self, component: str, level: CheckpointLevel | None = None, checkpoint_id: str | None = None) -> bool:
        try:
            self.restore(component, level, checkpoint_id)
        except (NotRestoredError, OSError) as error:
            _log.warning("%s", error)
            return False
        return True

    def roll_back(self, before: Before) -> None:
        """Restores what was before a critical call, as far as there are restorers; never raises.

        A component that another critical call has used meanwhile stays as it is, and that is told: nobody can say whose
        changes are whose.
        """
        for component, state in before.states.items():
            with self._changing:
                name = _named(self._restorers, component)
            if name is None:
                continue
            try:
                if component in before.shared:
                    other = "another critical call was under way at the same time"
                    raise NotRestoredError(f"{component} stays as {before.operation} left it, for {other}")
                found = Checkpoint(
                    id=before.saved.get(component, ""), at=self.clock.now(), level="operation", component=component,
                    state=json.loads(state),
                )  # fmt: skip
                self._restored(self._restorer_of(component), found)
            except Exception as error:
                self._told(error, component, "roll back")

    def _remember(self, found: Checkpoint, success: bool, message: str) -> None:
        self.recovery_history.append(
            {
                "timestamp": as_text(self.clock.now()), "level": found.level, "target": found.component, "success": success,
                "checkpoint_id": found.id, "message": message,
            }
        )  # fmt: skip


def _named(known: Iterable[str], component: str) -> str | None:
    """Under which of the names that are ``known`` a component stands: its own, or the longest beginning."""
    fitting = [one for one in known if one == component or (one.endswith("*") and component.startswith(one[:-1]))]
    return max(fitting, key=lambda one: (one == component, len(one)), default=None)
