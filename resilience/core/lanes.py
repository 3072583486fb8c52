"""Bounded queues side by side: a flood in one delays another by no more than its turn (§7.1). Guarded by its owner."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """A queue for each name, made when it is first used; each call is atomic, none waits."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[T]] = {}

    def __len__(self) -> int:
        return sum(map(len, list(self._lanes.values())))

    def put(self, lane: str, one: T, most: int) -> bool:
        """Puts ``one`` at the end of its lane; False if ``most`` wait there already."""
        waiting = self._lanes.setdefault(lane, deque())
        if len(waiting) >= most:
            return False
        waiting.append(one)
        return True

    def take(self, most: int) -> list[T]:
        """Takes up to ``most`` from the fronts of all lanes in turn, in the order in which the lanes were made."""
        taken: list[T] = []
        filled = [waiting for waiting in list(self._lanes.values()) if waiting]
        while filled and len(taken) < most:
            for waiting in filled:
                if len(taken) < most:
                    taken.append(waiting.popleft())
            filled = [waiting for waiting in filled if waiting]
        return taken
