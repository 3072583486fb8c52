"""Which checkpoint a recovery goes back to, and what is refused before anything is done."""

from __future__ import annotations

import pytest

from resilience.recovery.choosing import chosen, require_used
from resilience.recovery.plans import Doing, NothingToRecoverError, RecoveryLevel, Step
from tests.resilience.recovery.test_plans import saved

OPERATION, SESSION, COMPONENT, SYSTEM, DISASTER = RecoveryLevel
HEADS = [
    saved("memory", "operation", number=4), saved("session_7", "session", number=3), saved("memory", "memory", number=2),
    saved("memory", number=1),
]  # fmt: skip
OF_OPERATION, OF_SESSION, OF_MEMORY, OLDEST = (one.id for one in HEADS)


@pytest.mark.parametrize(("level", "target"), [(OPERATION, "memory"), (SESSION, "7"), (COMPONENT, "memory"), (SYSTEM, ""), (DISASTER, "")])
def test_where_none_was_asked_for_all_may_be_used(level: RecoveryLevel, target: str) -> None:
    assert chosen(level, target, "", HEADS) is HEADS


@pytest.mark.parametrize(
    ("level", "target", "wanted"),
    [
        (OPERATION, "memory", OF_OPERATION), (SESSION, "7", OF_SESSION), (SESSION, "session_7", OF_SESSION),
        (COMPONENT, "memory", OF_MEMORY), (COMPONENT, "memory", OLDEST), (COMPONENT, "session_7", OF_SESSION),
    ],
)  # fmt: skip
def test_the_one_that_was_asked_for_is_the_only_one(level: RecoveryLevel, target: str, wanted: str) -> None:
    assert [one.id for one in chosen(level, target, wanted, HEADS)] == [wanted]


@pytest.mark.parametrize(
    ("level", "target", "wanted", "said"),
    [
        (COMPONENT, "memory", "chk_00000009_0123456789abcdef", "there is no checkpoint chk_00000009_0123456789abcdef, or it has made room"),
        (COMPONENT, "memory", OF_SESSION, f"the checkpoint {OF_SESSION} is one of session_7, not of memory$"),
        (SESSION, "memory", OF_SESSION, "is one of session_7, not of memory$"),
        (COMPONENT, "7", OF_SESSION, "is one of session_7, not of 7$"),
        (COMPONENT, "memory", OF_OPERATION, "is of the level operation, and cannot be restored at the level component$"),
        (OPERATION, "memory", OLDEST, "is of the level component, and cannot be restored at the level operation$"),
        (SESSION, "memory", OF_MEMORY, "is of the level memory, and cannot be restored at the level session$"),
        (SYSTEM, "", OLDEST, "no single checkpoint can be chosen at the level system$"),
        (DISASTER, "day.zip", OLDEST, "no single checkpoint can be chosen at the level disaster$"),
        (SYSTEM, "memory", "", "the system is recovered as a whole; to recover memory alone, take the level component$"),
        (OPERATION, "", "", "say what is to be recovered: the name of a component, or the id of a session$"),
        (SESSION, "", OF_SESSION, "say what is to be recovered"),
        (COMPONENT, "", "", "say what is to be recovered"),
    ],
)
def test_what_does_not_fit_is_refused_and_never_left_out(level: RecoveryLevel, target: str, wanted: str, said: str) -> None:
    with pytest.raises(NothingToRecoverError, match=said):
        chosen(level, target, wanted, HEADS)


def test_a_plan_has_to_restore_what_was_asked_for() -> None:
    steps = [Step(do=Doing.RESTART, target="memory", what=""), Step(do=Doing.RESTORE, target="memory", what="", checkpoint=OLDEST)]
    require_used(OLDEST, "memory", steps)
    require_used("", "memory", steps[:1])
    with pytest.raises(NothingToRecoverError, match=r"^no agent that is connected can restore memory$"):
        require_used(OLDEST, "memory", steps[:1])
