"""The five levels of recovery (§9.1): what each would do, step by step, before anything is done. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from resilience.core.orders import RESTORE, can
from resilience.core.presence import AgentKey
from resilience.degradation.levels import DegradationLevel
from resilience.healing.diagnosis import troubles
from resilience.healing.policy import HealingActionType
from resilience.processes.policy import start_order
from resilience.recovery.checkpoint import CheckpointHead

if TYPE_CHECKING:
    from resilience.core.state import State

MOST_RECOVERIES: Final = 100
"""Recoveries that are remembered."""


class RecoveryLevel(StrEnum):
    """How much is brought back (§9.1)."""

    OPERATION = "operation"
    SESSION = "session"
    COMPONENT = "component"
    SYSTEM = "system"
    DISASTER = "disaster"

    @property
    def number(self) -> int:
        """1 for an operation, 5 for a disaster."""
        return [*RecoveryLevel].index(self) + 1


class Doing(StrEnum):
    """What a step does."""

    SAVE = "save"
    RELOAD_CONFIG = "reload_config"
    RESTART = "restart"
    RESET_CONNECTIONS = "reset_connections"
    RESTORE = "restore"
    VERIFY = "verify"


class StepState(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(Struct, frozen=True, kw_only=True):
    """One step: ``what`` it does, as a sentence for people, and what came of it; ``checkpoint`` is the one to restore from."""

    do: Doing
    target: str
    what: str
    checkpoint: str = ""
    state: StepState = StepState.PLANNED
    result: str = ""


class RecoveryState(StrEnum):
    """Where a recovery stands."""

    RUNNING = "running"
    RECOVERED = "recovered"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Recovery(Struct, frozen=True, kw_only=True):
    """One recovery, for people and programs; ``actor`` asked for it, and ``result`` says in the end how it went."""

    id: int
    level: RecoveryLevel
    target: str
    actor: str
    at: datetime
    steps: tuple[Step, ...]
    state: RecoveryState = RecoveryState.RUNNING
    ended: datetime | None = None
    result: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state is RecoveryState.RUNNING

    def view(self) -> dict[str, Any]:
        """It as the API gives it; ``done`` says how many of its steps are over."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        over = sum(one.state not in (StepState.PLANNED, StepState.RUNNING) for one in self.steps)
        return {**seen, "number": self.level.number, "done": over}


Recoveries = Mapping[int, Recovery]
NO_RECOVERIES: Final[Recoveries] = MappingProxyType({})


def digest_of(steps: Iterable[Step]) -> str:
    """Names a plan by what it would do, so that what is begun is what was shown."""
    told = [(one.do.value, one.target, one.what, one.checkpoint) for one in steps]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]


class NothingToRecoverError(LookupError):
    """There is nothing that could be done; the message says why."""


def with_recovery(recoveries: Recoveries, one: Recovery) -> Recoveries:
    """The recoveries with ``one`` as it is now; the oldest that have ended make room."""
    after = {**recoveries, one.id: one}
    ended = [old.id for old in after.values() if not old.is_open]
    for number in ended[: max(len(after) - MOST_RECOVERIES, 0)]:
        del after[number]
    return MappingProxyType(after)


def plan(level: RecoveryLevel, target: str, state: State, saved: Sequence[CheckpointHead]) -> tuple[Step, ...]:
    """What a recovery would do now.

    Args:
        target: an operation's or a session's component, a component's name, an export's file; of the system: nothing.
        saved: the checkpoints that there are, the newest first.

    Raises:
        NothingToRecoverError: there is nothing to be done, and why.
    """
    match level:
        case RecoveryLevel.OPERATION | RecoveryLevel.SESSION:
            return _restored(level, target, state, saved)
        case RecoveryLevel.COMPONENT:
            return _component(target, state, saved)
        case RecoveryLevel.SYSTEM:
            return tuple(_system(state, saved))
        case RecoveryLevel.DISASTER:
            return tuple(disaster(target))


def names_at(level: RecoveryLevel, target: str) -> tuple[str, ...]:
    """The components that ``target`` may be: of a session, it is a name or an id."""
    return (target, f"session_{target}") if level is RecoveryLevel.SESSION else (target,)


def restorers(state: State, component: str) -> tuple[AgentKey, ...]:
    """The processes of agents that are there and can restore ``component``."""
    return _able(state, RESTORE, component)


def resetters(state: State, component: str) -> tuple[AgentKey, ...]:
    """The processes of agents that are there and can reset the connections to ``component``."""
    return _able(state, HealingActionType.RESET_CONNECTIONS, component)


def names_of(processes: Iterable[AgentKey]) -> tuple[str, ...]:
    """The agents whose processes these are."""
    return tuple(sorted({name for name, _ in processes}))


def _able(state: State, action: str, component: str) -> tuple[AgentKey, ...]:
    able = {key for key, one in state.agents.items() if one.alive and can(one.healers, action, component)}
    return tuple(sorted(able, key=lambda key: (key[0], key[1] or 0)))


def _restored(level: RecoveryLevel, target: str, state: State, saved: Sequence[CheckpointHead]) -> tuple[Step, ...]:
    """Levels 1 and 2: back to what was saved, of this level."""
    found = next((one for one in saved if one.component in names_at(level, target) and one.level == level.value), None)
    if found is None:
        raise NothingToRecoverError(f"there is no checkpoint of {target} at the level {level.value}")
    if not restorers(state, found.component):
        raise NothingToRecoverError(f"no agent that is connected can restore {found.component}")
    return (_restore(found),)


def _component(target: str, state: State, saved: Sequence[CheckpointHead]) -> tuple[Step, ...]:
    """Level 3: start it again, connect anew, restore what it knew, and look whether it is well."""
    steps = tuple(_of_component(target, state, saved))
    if not steps:
        raise NothingToRecoverError(
            f"nothing can be done for {target}: it is no supervised process that may run now, no agent that is connected can "
            "reset its connections, and none can restore it from a checkpoint"
        )
    return (*steps, _verify(target))


def _of_component(target: str, state: State, saved: Sequence[CheckpointHead]) -> Iterator[Step]:
    process = state.settings.process_of(target)
    policy = state.settings.processes.get(process)
    may_run = policy is not None and (state.standing.level is not DegradationLevel.SAFE_MODE or policy.in_safe_mode != "stop")
    if may_run:
        yield Step(do=Doing.RESTART, target=process, what=f"Start the process {process} again, and clear its failures.")
    if agents := resetters(state, target):
        what = f"Have {', '.join(names_of(agents))} reset the connections to {target}."
        yield Step(do=Doing.RESET_CONNECTIONS, target=target, what=what)
    found = next((one for one in saved if one.component == target and one.level != "operation"), None)
    if found is not None and (may_run or restorers(state, target)):
        yield _restore(found)


def _system(state: State, saved: Sequence[CheckpointHead]) -> Iterator[Step]:
    """Level 4: the causes are removed, what others need first; circuits and level are left to their probes and rules."""
    yield Step(do=Doing.SAVE, target="winclaw", what="Save how things stand, to compare with later.")
    yield Step(do=Doing.RELOAD_CONFIG, target="config", what="Read the configuration again.")
    unwell, begun = _unwell(state), set[tuple[Doing, str]]()
    for name in unwell:
        for step in _of_component(name, state, saved):
            if (step.do, step.target) not in begun:
                begun.add((step.do, step.target))
                yield step
    for name in unwell:
        yield _verify(name)


def _unwell(state: State) -> list[str]:
    """What is known to be unwell, each behind what it needs."""
    found = list(dict.fromkeys(one.component for one in troubles(state)))
    needs = {name: (*one.depends_on, *((one.process,) if one.process else ())) for name, one in state.settings.services.items()}
    needs.update({name: one.depends_on for name, one in state.settings.processes.items() if name not in needs})
    return _ordered(found, needs)


def _ordered(found: Iterable[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    found = list(found)
    try:
        places = {name: place for place, name in enumerate(start_order(needs))}
    except ValueError:  # a service and a process of one name that need each other
        places = {}
    return sorted(found, key=lambda name: places.get(name, len(places)))


def disaster(target: str) -> Iterator[Step]:
    """Level 5: everything from an export, while WinClaw does not run."""
    file = target or "FILE.zip"
    yield Step(do=Doing.VERIFY, target=file, what=f"Look whether {file} is an export, and whole.")
    yield Step(do=Doing.SAVE, target="winclaw", what="Refuse, if there is something already where it is to be restored to.")
    yield Step(do=Doing.RESTORE, target=file, what="Put journal, configuration and checkpoints in their places.")
    yield Step(do=Doing.VERIFY, target=file, what="Compare what stands there with what was exported, row by row.")


def _restore(found: CheckpointHead) -> Step:
    what = f"Restore {found.component} from its checkpoint of {found.at:%Y-%m-%d %H:%M:%S} UTC, and check it."
    return Step(do=Doing.RESTORE, target=found.component, what=what, checkpoint=found.id)


def _verify(target: str) -> Step:
    return Step(do=Doing.VERIFY, target=target, what=f"Look whether {target} is well, and stays so.")
