"""Which checkpoint a recovery goes back to: what was asked for and does not fit is refused before anything is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from resilience.recovery.checkpoint import CheckpointHead
from resilience.recovery.plans import NothingToRecoverError, RecoveryLevel, Step, names_at


def chosen(
    level: RecoveryLevel, target: str, checkpoint_id: str, saved: Sequence[CheckpointHead]
) -> Sequence[CheckpointHead]:
    """Those of ``saved`` that may be used: all, or the one that was asked for.

    Args:
        checkpoint_id: what was asked for; empty: nothing was.

    Raises:
        NothingToRecoverError: no target is given, or one where none can be; or that checkpoint cannot be used for it.
    """
    match level:
        case RecoveryLevel.SYSTEM if target:
            said = f"the system is recovered as a whole; to recover {target} alone, take the level component"
            raise NothingToRecoverError(said)
        case RecoveryLevel.SYSTEM | RecoveryLevel.DISASTER:
            if checkpoint_id:
                raise NothingToRecoverError(f"no single checkpoint can be chosen at the level {level.value}")
            return saved
        case _ if not target:
            raise NothingToRecoverError("say what is to be recovered: the name of a component, or the id of a session")
    if not checkpoint_id:
        return saved
    found = next((one for one in saved if one.id == checkpoint_id), None)
    if found is None:
        raise NothingToRecoverError(f"there is no checkpoint {checkpoint_id}, or it has made room for newer ones")
    if found.component not in names_at(level, target):
        raise NothingToRecoverError(f"the checkpoint {checkpoint_id} is one of {found.component}, not of {target}")
    fits = found.level != "operation" if level is RecoveryLevel.COMPONENT else found.level == level.value
    if not fits:
        said = f"the checkpoint {checkpoint_id} is of the level {found.level}"
        raise NothingToRecoverError(f"{said}, and cannot be restored at the level {level.value}")
    return [found]


def require_used(checkpoint_id: str, target: str, steps: Sequence[Step]) -> None:
    """Proves that a plan restores what was asked for, if anything was.

    Raises:
        NothingToRecoverError: it does not, because nobody could.
    """
    if checkpoint_id and not any(one.checkpoint == checkpoint_id for one in steps):
        raise NothingToRecoverError(f"no agent that is connected can restore {target}")
