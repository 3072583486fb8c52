"""The blocks of a transaction: which are open, which have ended, and which steps are whose."""

from __future__ import annotations

import threading

from resilience.transactions.undoing import Live


class Scope:
    """The steps of one block: of the transaction itself, or of a part of it. Whoever opens or closes it locks the transaction.

    Attributes:
        name: of the transaction, or of the part. outer: the block around it; None: it is the whole.
        lives: its steps, with those of its parts that are over. parts: those that were entered and are not over.
        is_open: it takes steps. is_cut: the block around it ended first, and has undone what this one had done.
        over: set when nothing of it is under way any more.
    """

    def __init__(self, name: str, outer: Scope | None = None) -> None:
        self.name, self.outer = name, outer
        self.lives: list[Live] = []
        self.parts: list[Scope] = []
        self.is_open = self.is_cut = False
        self.over = threading.Event()

    def open(self) -> None:
        """Takes steps from now on."""
        self.is_open = True
        if self.outer is not None:
            self.outer.parts.append(self)

    def close(self) -> list[Scope]:
        """Takes no more steps, nor do the parts that are open still; they are given back, and end with it."""
        self.is_open = False
        found = [part for part in self.tree() if part.is_open]
        for part in found:
            part.is_open, part.is_cut = False, True
        return found

    def end(self) -> None:
        """Says that it is over; whatever of its steps is not undone is up to the block around it."""
        if self.outer is not None and self in self.outer.parts:
            self.outer.lives += self.lives
            self.outer.parts.remove(self)
        self.over.set()

    def under_way(self, doing: Scope | None, idle: threading.Event) -> threading.Event | None:
        """What is set when something of it has ended that is under way in another task or thread; None where nothing is.

        Args:
            doing: the block whose step is under way. idle: set when that step has ended.
        """
        tree = self.tree()
        return idle if doing in tree else next((part.over for part in tree[1:] if not part.is_cut), None)

    def cut(self, transaction: str) -> RuntimeError:
        """The error of a part that would go on although the block around it is over."""
        told = f"the block around the part {self.name!r} of the transaction {transaction!r} ended before it"
        return RuntimeError(f"{told}, so what it had done is undone")

    def ends_before(self, parts: list[Scope]) -> RuntimeError:
        """The error of a block that would succeed while parts of it are open."""
        told = f"the block {self.name!r} ends before {', '.join(repr(part.name) for part in parts)}, a part of it that is open"
        return RuntimeError(f"{told} in another task or thread, so it is undone; wait for its end within the block")

    def tree(self) -> list[Scope]:
        """It, and all parts within it that are not over."""
        return [self, *(one for part in self.parts for one in part.tree())]
