"""The document's ``FaultIsolator`` (§7.2), for a program of its own: calls to what is isolated are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable

from resilience.clock import Clock, SystemClock
from resilience.degradation.gate import IsolatedError
from resilience.listeners import Done


class FaultIsolator:
    """Which components of a program are cut off. May be used from any thread; nothing in it waits.

    ``Resilience(gate=isolator.gate)`` obeys it; ``restore_component``, or the time that was given, ends it.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._isolated: dict[str, tuple[str, float | None]] = {}
        self._changing = threading.Lock()

    def isolate_component(self, component: str, reason: str, duration_seconds: float | None = None) -> Done:
        """Refuses calls to ``component`` from now on; one that is isolated already gets the new reason and time.

        Args:
            duration_seconds: for how long; None: until it is restored.

        Raises:
            ValueError: the time is not above 0.
        """
        if duration_seconds is not None and not duration_seconds > 0:
            raise ValueError(f"duration_seconds={duration_seconds!r} is not possible: seconds above 0, or None")
        until_s = self._clock.monotonic() + duration_seconds if duration_seconds is not None else None
        with self._changing:
            self._isolated[component] = reason, until_s
        return Done()

    def restore_component(self, component: str) -> Done:
        """Lets calls to ``component`` pass again; its circuit decides what becomes of them."""
        with self._changing:
            self._isolated.pop(component, None)
        return Done()

    def is_isolated(self, component: str) -> bool:
        """Whether calls to ``component`` are refused now."""
        return self._refusal(component) is not None

    def get_isolated_components(self) -> set[str]:
        """What is isolated now."""
        return {component for component in list(self._isolated) if self.is_isolated(component)}

    def gate(self, service: str, read_only: bool) -> Callable[[str], None]:  # noqa: ARG002 -- reading is refused, too
        """What each call to ``service`` has to ask; see ``Resilience``."""

        def ask(_: str) -> None:
            if (refusal := self._refusal(service)) is not None:
                raise refusal

        return ask

    def _refusal(self, component: str) -> IsolatedError | None:
        found = self._isolated.get(component)
        if found is None:
            return None
        reason, until_s = found
        left_s = until_s - self._clock.monotonic() if until_s is not None else None
        if left_s is not None and left_s <= 0:
            with self._changing:
                if self._isolated.get(component) is found:
                    del self._isolated[component]
            return None
        return IsolatedError(component, reason, left_s)
