"""What is to happen when this process forks. Standard library only."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def at_fork(**hooks: Callable[[], None]) -> None:
    """Has methods called ``before`` a fork, ``in_parent`` and ``in_child``, as long as their objects live."""
    if hasattr(os, "register_at_fork"):
        names = {"before": "before", "in_parent": "after_in_parent", "in_child": "after_in_child"}
        os.register_at_fork(**{names[when]: _weakly(hook) for when, hook in hooks.items()})


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    found = weakref.WeakMethod(method)

    def call() -> None:
        if (living := found()) is not None:
            living()

    return call
