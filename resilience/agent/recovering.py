"""An agent's states: saved every few minutes on a thread of its own, and restored when WinClaw asks for it (§9)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from resilience.clock import Clock
from resilience.recovery.checkpoint import CheckpointDamagedError
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import LEVELS, Checkpointing, CheckpointLevel
from resilience.recovery.restoring import RecoveryManager
from resilience.recovery.saving import Report

F = TypeVar("F", bound=Callable[..., Any])
_END_S: Final = 2.0
_log = logging.getLogger("winclaw.agent")


class AgentRecovery(RecoveryManager):
    """The states of one agent process.

    Args:
        checkpoints: where all agents of this machine keep theirs. news: called when there is another restorer to tell of.
    """

    def __init__(self, checkpoints: CheckpointManager, clock: Clock, report: Report, news: Callable[[], None]) -> None:
        super().__init__(checkpoints, clock, report)
        checkpoints.damaged = self._damaged
        self._news = news
        self._saved_s = clock.monotonic()
        self._woken = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = self._is_news = False

    def begin_anew(self) -> None:
        """In a forked child: its parent saves what both have; the child does from its own first snapshotter on."""
        self._changing, self._woken, self._thread = threading.RLock(), threading.Condition(), None
        self._critical = {}  # calls of its parent

    def configure(self, policy: Checkpointing) -> None:
        """Takes what the configuration says from now on."""
        with self._woken:
            self._is_news = self._is_news or policy != self.checkpoint_manager.policy
            self.checkpoint_manager.policy = policy
            self._woken.notify_all()

    def register_recovery_handler(
        self, component: str, handler: Callable[[Any], object], check: Callable[[], object] | None = None
    ) -> None:
        """As above, and WinClaw hears that this process can restore ``component``."""
        super().register_recovery_handler(component, handler, check)
        self._news()

    def register_snapshotter(self, component: str, take: Callable[[], Any], level: CheckpointLevel = "component") -> None:
        """As above, and the thread begins that asks it every few minutes."""
        super().register_snapshotter(component, take, level)
        with self._woken:
            if self._thread is None and not self._ending:
                self._saved_s = self.clock.monotonic()
                self._thread = threading.Thread(target=self._save_forever, name="winclaw-checkpoints", daemon=True)
                self._thread.start()

    def look(self) -> float:
        """Saves what has changed, if it is time to; returns the seconds until it is again."""
        policy, now_s = self.checkpoint_manager.policy, self.clock.monotonic()
        left_s = self._saved_s + policy.auto_checkpoint_interval - now_s
        if left_s > 0:
            return left_s
        self._saved_s = now_s
        self.save_all(made="automatically")
        return policy.auto_checkpoint_interval

    def obey(self, component: str, parameters: Mapping[str, Any]) -> str:
        """Restores ``component`` as WinClaw orders: ``checkpoint`` (its id) or ``level`` say from what. Says what it did.

        Raises:
            NotRestoredError, CheckpointError: as ``restore``.
        """
        level = next((one for one in LEVELS if one == parameters.get("level")), None)
        found = self.restore(component, level, parameters.get("checkpoint"))
        return f"{component} is as it was at {found.at:%Y-%m-%d %H:%M:%S} UTC ({found.id}), and was looked at"

    def close(self) -> None:
        """Ends the thread; what it is about to save may take two seconds."""
        with self._woken:
            self._ending = True
            self._woken.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_END_S)

    def _save_forever(self) -> None:
        while True:
            self._is_news = False
            try:
                pause_s = self.look()
            except Exception:  # a defect of ours must not end saving
                _log.exception("an unexpected fault while saving states")
                pause_s = self.checkpoint_manager.policy.auto_checkpoint_interval
            with self._woken:
                self._woken.wait_for(lambda: self._ending or self._is_news, pause_s)
                if self._ending:
                    return

    def _damaged(self, error: CheckpointDamagedError) -> None:
        self._told(error, "checkpoints", "load")
