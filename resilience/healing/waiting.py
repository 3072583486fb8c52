"""Calls that wait until their service is healed, before they are tried a last time (§6, §10.1)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from resilience.clock import Clock

_HOPELESS: Final = frozenset({"escalated", "rejected", "expired", "interrupted"})


class EndedHeals:
    """Which heals of this machine have ended, as WinClaw tells.

    Args:
        is_told: whether WinClaw is there to tell; where nobody heals, nobody waits.
    """

    def __init__(self, is_told: Callable[[], bool], clock: Clock) -> None:
        self.clock = clock
        self._is_told = is_told
        self._ended: Sequence[Mapping[str, Any]] = ()
        self._waiting: set[HealWait] = set()
        self._changing = threading.Lock()

    def begin_anew(self) -> None:
        """In a forked child: the calls that wait are its parent's."""
        self._waiting, self._changing = set(), threading.Lock()

    def take(self, ended: Sequence[Mapping[str, Any]]) -> None:
        """Takes in the heals that have ended lately, as the state has them."""
        with self._changing:
            self._ended = ended
            settled = [one for one in self._waiting if one.hear(ended)]
        for one in settled:
            try:
                one.wake()
            except RuntimeError:  # its event loop has been closed under it
                self.leave(one)

    def begin(self, service: str) -> HealWait:
        """A wait for heals of ``service`` that end from now on; begun before its error is reported, so that none is missed."""
        return HealWait(service, frozenset(one["id"] for one in self._ended), self)

    def enter(self, one: HealWait) -> bool:
        """Has ``one`` hear from now on; False where it need not wait."""
        with self._changing:
            if not self._is_told() or one.hear(self._ended):
                return False
            self._waiting.add(one)
        return True

    def leave(self, one: HealWait) -> None:
        """Has ``one`` hear no more."""
        with self._changing:
            self._waiting.discard(one)


class HealWait:
    """One call's wait. ``wait`` and ``wait_async`` say whether its service was healed."""

    def __init__(self, service: str, known: frozenset[Any], heals: EndedHeals) -> None:
        self._service, self._known, self._heals = service, known, heals
        self._healed = False
        self.wake: Callable[[], object] = lambda: None

    def hear(self, ended: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these heals settle it: the service was healed, or left to a person. After a failed one another may come."""
        new = [one for one in ended if one["id"] not in self._known]
        outcomes = {one["outcome"] for one in new if self._service in (one["component"], one["root_cause"], one["target"])}
        self._healed = "healed" in outcomes
        return self._healed or not outcomes.isdisjoint(_HOPELESS)

    def wait(self, seconds: float) -> bool:
        """Waits in this thread, ``seconds`` at most."""
        settled = threading.Event()
        self.wake = settled.set
        if self._heals.enter(self):
            settled.wait(seconds)
            self._heals.leave(self)
        return self._healed

    async def wait_async(self, seconds: float) -> bool:
        """Waits in this task, ``seconds`` at most."""
        import asyncio  # noqa: PLC0415 -- who is here has it

        loop = asyncio.get_running_loop()
        settled = asyncio.Event()
        self.wake = lambda: loop.call_soon_threadsafe(settled.set)
        if self._heals.enter(self):
            timer = self._heals.clock.call_later(seconds, settled.set)
            try:
                await settled.wait()
            finally:
                self._heals.leave(self)
                if hasattr(timer, "cancel"):
                    timer.cancel()
        return self._healed
