"""What a transaction did that is committed under its key, as it is gone through once more: nothing is called again. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from resilience.transactions.steps import ReplayedFailureError, Step, failed_before, is_part, replayed


class Replay:
    """The steps of a committed transaction, and where one stands in them.

    Args:
        at: when it was committed.

    Attributes:
        count: how many of them have been gone through.
    """

    def __init__(self, id_: str, at: str, steps: Iterable[Step]) -> None:
        self.id, self._at = id_, at
        self._steps = {step.number: step for step in steps}
        self.count = 0

    @property
    def next_key(self) -> str:
        """The key that the next step had, if there was one."""
        step = self._steps.get(self.count + 1)
        return "" if step is None else step.key

    def do(self, name: str) -> Any:
        """What was kept of the next step, which is to be ``name``.

        Raises:
            TransactionReplayError: it was another one. ReplayedFailureError: it failed then, or its part did there.
        """
        number = self.count + 1
        step = self._steps.get(number)
        if step is not None and step.name == name and not is_part(step):
            self.count = number
        kept = replayed(step, number, name, self._at)
        return None if kept is None else json.loads(kept)

    def failure_of(self, part: str) -> ReplayedFailureError | None:
        """The error of a part that ends here, if it failed then."""
        step = self._steps.get(self.count + 1)
        return failed_before(step, self._at) if step is not None and is_part(step) and step.name == part else None

    def fail(self, part: str) -> None:
        """Goes on behind a part that fails here, as it did then."""
        self.count += self.failure_of(part) is not None
