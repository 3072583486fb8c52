"""What an earlier WinClaw has left running: found by record and token, taken over or ended, never started twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from resilience.processes import records
from resilience.processes.identity import Identity, carriers, end_carriers, identity_of
from resilience.processes.records import ProcessRecord
from resilience.processes.spawning import Running, take_over


class Left(Struct, frozen=True):
    """What is left of a process: what was recorded, and (None: nothing) what still runs."""

    record: ProcessRecord
    running: Running | None


def left_behind(folder: Path, owner: str, configured: Collection[str]) -> dict[str, Left]:
    """Each configured process as it was left, in their order, and behind them those that still run, but are no longer
    configured. What has lost its head is ended.

    Args:
        folder: with a folder for each process. owner: what the tokens begin with.
    """
    found: dict[str, Left] = {}
    carrying: dict[str, dict[str, list[Identity]]] = {}
    for token, some in carriers(f"{owner}:").items():
        identities = [one for process in some if (one := identity_of(process, token)) is not None]
        carrying.setdefault(records.name_in(token), {})[token] = identities
    known = {path.parent.name for path in folder.glob(f"*/{records.RECORD}")}
    for name in [*configured, *sorted((known | carrying.keys()) - set(configured))]:
        record = records.load(folder / name)
        running = take_over(record.identity) if record.identity is not None else None
        chosen, leftovers = _sorted_out(record.identity, running is not None, carrying.get(name, {}))
        if running is None and chosen is not None:
            running = take_over(chosen)
        for token in leftovers:
            end_carriers(token)
        if name in configured or running is not None:
            found[name] = Left(record, running)
        else:
            (folder / name / records.RECORD).unlink(missing_ok=True)
    return found


def _sorted_out(
    recorded: Identity | None, recorded_lives: bool, carrying: Mapping[str, Sequence[Identity]]
) -> tuple[Identity | None, tuple[str, ...]]:
    """Which process to take over, and the tokens of what is to be ended.

    The recorded one, if it lives. Else one that was started, but WinClaw died before it could record it: the oldest of
    those with a token that is not the record's. What else carries a token of this process has lost its head, and goes.

    Args:
        recorded_lives: whether the recorded process still runs. carrying: those that carry a token of this process, by
            token, the oldest first.
    """
    if recorded is not None and recorded_lives:
        return (recorded, tuple(token for token in carrying if token != recorded.token))
    unrecorded = [some[0] for token, some in carrying.items() if some and (recorded is None or token != recorded.token)]
    chosen = min(unrecorded, key=lambda one: one.started, default=None)
    return (chosen, tuple(token for token in carrying if chosen is None or token != chosen.token))
