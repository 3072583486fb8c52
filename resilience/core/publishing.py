"""The state as committed last, who waits for another, and who is told of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from resilience.clock import Clock
from resilience.core.state import State
from resilience.core.totals import Totals
from resilience.events import Event

_SLOW_LISTENER_S: Final = 0.1
_log = logging.getLogger("winclaw.core")

Subscriber = Callable[[tuple[Event, ...], State], None]


class Publishing:
    """What the core shows and tells. Any thread may look, wait and subscribe; only the core's publishes."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.state = state
        """The state as committed last."""
        self.totals = Totals(since=clock.now())
        """What has been counted since this WinClaw started."""
        self.clock = clock
        self._changed = threading.Condition()
        self._ended = False
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Has ``subscriber(events, state)`` called on the core's thread after each commit; it must not block.

        Returns a function that ends it. One that raises is logged, and called again next time.
        """
        self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return unsubscribe

    def wait_for_change(self, version: int, timeout_s: float) -> State:
        """Waits until the state is another than ``version``, or ``timeout_s`` seconds are up, or the core stops.

        Returns the state as it is then, which may be the same.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.state.version != version, timeout_s)
            return self.state

    def _publish(self, state: State, events: tuple[Event, ...]) -> None:
        """Shows ``state``, under another version if it is worth telling, and tells whoever has subscribed."""
        self.totals = self.totals.after(self.state, state, events)
        is_news = _shown(state) != _shown(self.state)
        with self._changed:
            self.state = replace(state, version=self.state.version + is_news)
            self._changed.notify_all()
        if not is_news and not events:
            return
        for subscriber in self._subscribers:
            began_s = self.clock.monotonic()
            try:
                subscriber(events, self.state)
            except Exception:
                _log.exception("a listener of the core failed: %r", subscriber)
            if (took_s := self.clock.monotonic() - began_s) > _SLOW_LISTENER_S:
                _log.warning("a listener held the core up for %.2f s: %r", took_s, subscriber)

    def _end(self) -> None:
        """Lets go of all that wait."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _shown(state: State) -> tuple[Any, ...]:
    """What of the state is worth telling when it changes: not every heartbeat is."""
    circuits = [(one.name, one.state, one.version) for one in state.services.circuits.values()]
    agents = [
        (agent.name, agent.alive, agent.pid, [(one.loop, one.state, one.running) for one in agent.loops])
        for agent in state.agents.values()
    ]
    processes = [(one.name, one.state, one.run, one.ready, one.why) for one in state.processes.values()]
    told = state.waiting, state.services.probes, state.heals, state.orders, state.isolations
    alerts = [(one.id, one.state, one.messages, one.silent, one.tellings) for one in state.alerts.values()]
    channels = state.snoozed_until, state.undelivered, state.offered, state.recoveries
    configuration = state.settings, state.config
    return state.standing, state.notices, state.health, configuration, circuits, agents, processes, told, alerts, channels
