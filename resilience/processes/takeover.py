"""What an earlier WinClaw has left running: found by record and token, taken over or ended, never started twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from resilience.processes import records
from resilience.processes.identity import Identity, carriers, end_carriers, identity_of
from resilience.processes.records import ProcessRecord
from resilience.processes.spawning import Running, take_over


def left_behind(
    folder: Path, owner: str, configured: Collection[str]
) -> dict[str, tuple[ProcessRecord, Running | None]]:
    """Each configured process as it was left, in their order, and behind them those that still run, but are no longer
    configured: what was recorded, and what still runs. What has lost its head is ended.

    Args:
        folder: with a folder for each process. owner: what the tokens begin with.
    """
    found: dict[str, tuple[ProcessRecord, Running | None]] = {}
    heads: dict[str, dict[str, Identity | None]] = {}
    for token, some in carriers(f"{owner}:").items():  # the oldest first; one that ends just now is no head any more
        head = next((one for process in some if (one := identity_of(process, token)) is not None), None)
        heads.setdefault(records.name_in(token), {})[token] = head
    known = {path.parent.name for path in folder.glob(f"*/{records.RECORD}")}
    for name in [*configured, *sorted((known | heads.keys()) - set(configured))]:
        record, carrying = records.load(folder / name), heads.get(name, {})
        running = _going_on(record.identity, carrying)
        for token in carrying:
            if running is None or token != running.identity.token:
                end_carriers(token)
        if name in configured or running is not None:
            found[name] = record, running
        else:
            (folder / name / records.RECORD).unlink(missing_ok=True)
    return found


def _going_on(recorded: Identity | None, carrying: Mapping[str, Identity | None]) -> Running | None:
    """The recorded process, if it lives. Else one that was started, but WinClaw died before it could record it: the oldest
    of those with a token that is not the record's.
    """
    if recorded is not None and (running := take_over(recorded)) is not None:
        return running
    unrecorded = [one for token, one in carrying.items() if one is not None and (recorded is None or token != recorded.token)]
    oldest = min(unrecorded, key=lambda one: one.started, default=None)
    return take_over(oldest) if oldest is not None else None
