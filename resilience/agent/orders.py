"""What an agent can do to heal (§6), and how it obeys WinClaw's orders: on a thread of its own, one after the other."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from resilience.agent.texts import checked_name, cut
from resilience.context import message_of
from resilience.core.orders import ANY, RESTORE, can
from resilience.healing.memory import give_back
from resilience.healing.policy import HealingActionType

if TYPE_CHECKING:
    from resilience.agent.recovering import AgentRecovery

_MOST_KNOWN: Final = 1000
_MOST_TOLD: Final = 200
_POSSIBLE: Final = frozenset(HealingActionType) - {HealingActionType.SCALE_RESOURCES, HealingActionType.ESCALATE_TO_HUMAN}
_log = logging.getLogger("winclaw.agent")


class AgentOrders:
    """The healers of one process.

    Args:
        scale: multiplies how many calls to a service run at once for so many seconds, and says what it did.
        news: called when there is something to tell: another healer, or an answer.
        recovery: gives what restores this process's states; None where it saves none.
    """

    def __init__(
        self,
        scale: Callable[[str, float, float], str],
        news: Callable[[], None],
        recovery: Callable[[], AgentRecovery | None] = lambda: None,
    ) -> None:
        self._scale, self._news, self._recovery = scale, news, recovery
        self._healers: dict[tuple[str, str], list[Callable[[], object]]] = {}
        self._seen: deque[str] = deque(maxlen=_MOST_KNOWN)
        self._answers: list[dict[str, Any]] = []
        self._changing = threading.Lock()
        self._waiting: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._has_warned = False

    def begin_anew(self) -> None:
        """In a forked child: the orders that its parent has got, its parent obeys and answers."""
        self._changing, self._waiting = threading.Lock(), queue.SimpleQueue()
        self._answers, self._thread = [], None

    def register(self, action: str, component: str, healer: Callable[[], object]) -> None:
        """Has ``healer()`` called when ``action`` is ordered for ``component``; several are called in order.

        Raises:
            ValueError: there is no such action, it is not one for agents, or the component has no fitting name.
        """
        if action not in _POSSIBLE:
            raise ValueError(f"{action!r} is no healing action that an agent can do; there are {', '.join(sorted(_POSSIBLE))}")
        checked_name("a component's", component, 150)
        with self._changing:
            self._healers.setdefault((action, component), []).append(healer)
        self._news()

    def reports(self) -> list[str]:
        """What this process can do, as ``events.Heartbeat`` has it, which holds 200; that there is more is logged once."""
        with self._changing:
            own = [f"{action}:{component}" for action, component in self._healers]
        recovery = self._recovery()
        for component in recovery.restorable if recovery is not None else ():
            own += [f"{action}:{component}" for action in (RESTORE, HealingActionType.ROLLBACK_VERSION)]
        told = [f"{HealingActionType.GARBAGE_COLLECT}:{ANY}", f"{HealingActionType.SCALE_RESOURCES}:{ANY}", *own]
        if len(told) > _MOST_TOLD and not self._has_warned:
            self._has_warned = True
            left = len(told) - _MOST_TOLD
            said = "WinClaw is not told of %d of this process's healers, from %s on; one whose name ends with * may do for many"
            _log.warning(said, left, told[_MOST_TOLD])
        return told[:_MOST_TOLD]

    def take_answers(self) -> list[dict[str, Any]]:
        """What became of orders since this was asked last."""
        with self._changing:
            answers, self._answers = self._answers[:200], self._answers[200:]
        return answers

    def give_back(self, answers: Sequence[dict[str, Any]]) -> None:
        """Puts back what could not be told."""
        with self._changing:
            self._answers[:0] = answers

    def take(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Obeys those that are new; never waits."""
        for order in orders:
            if order["id"] in self._seen:
                continue
            self._seen.append(order["id"])
            self._waiting.put(order)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._obey_forever, name="winclaw-orders", daemon=True)
                self._thread.start()

    def _obey_forever(self) -> None:
        while True:
            order = self._waiting.get()
            if not self._is_for_this_process(order):
                continue
            try:
                what, done = self._obey(str(order["action"]), str(order["component"]), order["parameters"]), True
            except Exception as error:  # a healer that fails is an answer like any other
                what, done = f"{type(error).__name__}: {message_of(error)}", False
                _log.warning("the order %s for %s failed: %s", order["action"], order["component"], what, exc_info=True)
            with self._changing:
                self._answers.append({"id": order["id"], "done": done, "what": cut(what, 1000)})
            self._news()

    def _is_for_this_process(self, order: Mapping[str, Any]) -> bool:
        """Whether this process is to answer: several of one name get the same orders, and one of them may restore it."""
        if os.getpid() not in order.get("pids", [os.getpid()]):
            return False
        if order["action"] != RESTORE:
            return True
        recovery = self._recovery()
        mine = recovery.restorable if recovery is not None else ()
        return can(tuple(f"{RESTORE}:{one}" for one in mine), RESTORE, str(order["component"]))

    def _obey(self, action: str, component: str, parameters: Mapping[str, Any]) -> str:
        if action == HealingActionType.SCALE_RESOURCES:
            return self._scale(component, float(parameters["scale"]), float(parameters["for_s"]))
        if action == RESTORE:
            return self._restore(component, parameters)
        with self._changing:
            found = [
                healer
                for (one, of), healers in self._healers.items()
                if one == action and (of in (component, ANY) or component == ANY)
                for healer in healers
            ]
        said = [message_of(result) for healer in found if (result := healer()) is not None]
        if action == HealingActionType.GARBAGE_COLLECT:
            said.append(f"{give_back()} objects collected")
        elif not found and action == HealingActionType.ROLLBACK_VERSION and self._recovery() is not None:
            return self._restore(component, parameters)
        elif not found:
            raise LookupError(f"nothing here can do {action} for {component}")
        return "; ".join(said) or f"{len(found)} done"

    def _restore(self, component: str, parameters: Mapping[str, Any]) -> str:
        recovery = self._recovery()
        if recovery is None:
            raise LookupError(f"nothing here can restore {component}")
        return recovery.obey(component, parameters)
