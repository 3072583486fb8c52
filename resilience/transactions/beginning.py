"""How a transaction begins: it is written down; what stands in its key's way is undone, waited for, or gone through again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from resilience.transactions.driving import Idle, Pause, Plan
from resilience.transactions.file import Row, TransactionBusyError
from resilience.transactions.ground import Ground
from resilience.transactions.replaying import Replay
from resilience.transactions.steps import failure

_WHO_S: Final = (0.01, 0.1)
"""Between the looks at who has it: whoever lists what is unfinished holds the lock of a dead process for a moment."""


def beginning(ground: Ground, row: Row) -> Plan[Replay | None]:
    """Writes ``row`` down; if it is committed under its key already, gives what it did then.

    Raises:
        TransactionBusyError: somebody has it. CompensationFailedError: what was left under its key cannot be undone wholly.
    """
    pauses = iter(_WHO_S)
    while (found := ground.file.begin(row, ground.known_since())) is not None:
        if found.state == "committed":
            loaded = ground.file.load(found.id)
            return Replay(found.id, str(found.settled_at), loaded[1] if loaded is not None else ())
        yield from _finish(ground, found, pauses)
    return None


def _finish(ground: Ground, found: Row, pauses: Iterator[float]) -> Plan[None]:
    """Undoes what a dead process left, or waits until another thread has done so."""
    ground.pay()
    behind = [(row, steps) for row, steps in ground.left_behind() if row.id == found.id]
    if behind:
        [(row, steps)] = behind
        if left := ground.missing_for(row, steps):
            raise failure(row.name, row.id, left)
        resumed = yield from ground.resuming(row)
        if resumed is not None and resumed.left:
            raise failure(resumed.transaction, resumed.id, resumed.left)
        return
    here = ground.under_way(found.id)
    if not isinstance(here, bool):
        yield Idle(here)
    elif (now := ground.file.load(found.id)) is not None and now[0].is_open:  # else it ended meanwhile
        if here or (pause_s := next(pauses, None)) is None:
            raise TransactionBusyError(f"the transaction {found.name!r} with the key {found.key!r} is under way already")
        yield Pause(pause_s)
